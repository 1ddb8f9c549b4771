package san

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"relight/internal/array"
	"relight/internal/array/examine"
	"relight/internal/provider"
)

// Orphans lists the maps on all declared arrays of servers that have no LUN there, by
// array. An array that cannot be asked is told as an Err.
func (a *Arrays) Orphans(ctx context.Context) []provider.Orphan {
	sans := a.all()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	found := make([][]provider.Orphan, len(sans))
	var asking sync.WaitGroup
	for i, n := range sans {
		asking.Go(func() { found[i] = a.orphansOn(ctx, n) })
	}
	asking.Wait()
	return slices.Concat(found...)
}

// orphansOn lists the maps of an array that no server of the fleet has LUNs for.
func (a *Arrays) orphansOn(ctx context.Context, n *declared) []provider.Orphan {
	blind := func(err error) []provider.Orphan { return []provider.Orphan{{On: n.decl.Name, Err: err}} }
	if n.err != nil {
		return blind(n.err)
	}
	lister, ok := n.bare.(array.Lister)
	if !ok {
		return blind(fmt.Errorf("array %s cannot list the maps of servers that it is not asked about", n.decl.Name))
	}
	now := a.opt.Now()
	all, err := lister.AllMaps(ctx)
	if err != nil {
		return blind(err)
	}
	// After the array was asked: a server that was declared meanwhile is no orphan.
	owners := a.serversOn(n.decl.Name)
	out, err := holdersLeft(ctx, n, owners, now)
	if err != nil {
		return blind(err)
	}
	for _, m := range all {
		if slices.Contains(owners, m.Server) || anothers(m, array.Prefix(n.decl)) {
			continue
		}
		o := provider.Orphan{Kind: provider.OrphanMap, Server: m.Server, Epoch: m.Epoch, On: n.decl.Name, At: now, Detail: "lets nobody in; the rest of a map"}
		if len(m.Initiators) > 0 {
			o.What, o.Detail = m.Initiators[0], "may log in"
		}
		o.Next = "take the map away at the array's own console"
		if r, ok := n.bare.(array.Remover); ok {
			o.Next = r.RemoveBy(m.Ref)
		}
		sessions, err := n.bare.Sessions(ctx, m.Ref)
		switch {
		case err != nil:
			o.Detail += "; its sessions are not known: " + err.Error()
		case len(sessions) > 0:
			o.Detail += fmt.Sprintf("; %d logged in, and may write", len(sessions))
			o.Next = "end the instance that is logged in; then: " + o.Next
		}
		out = append(out, o)
	}
	return out
}

// holdersLeft lists the holders on an array whose servers have no LUN there any more.
func holdersLeft(ctx context.Context, n *declared, owners []string, now time.Time) ([]provider.Orphan, error) {
	k, ok := n.bare.(array.Reserver)
	if !ok {
		return nil, nil
	}
	all, err := k.Holders(ctx)
	var out []provider.Orphan
	for _, server := range all {
		if server != examine.Server && !slices.Contains(owners, server) {
			out = append(out, provider.Orphan{
				Kind: provider.OrphanMap, Server: server, On: n.decl.Name, At: now, What: "holder of " + server,
				Detail: "keeps others from writing to its LUNs", Next: k.DropHolderBy(server),
			})
		}
	}
	return out, err
}

// anothers reports whether a map is that of another fleet, which shares the array and
// has a prefix of its own.
func anothers(m array.Mapped, prefix string) bool {
	for _, name := range m.Initiators {
		if _, ours := array.ParseIQN(prefix, name); ours {
			return false
		}
	}
	return len(m.Initiators) > 0
}
