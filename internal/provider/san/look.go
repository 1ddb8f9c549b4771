package san

import (
	"context"
	"reflect"
	"slices"
	"time"

	"relight/internal/array"
	"relight/internal/core/fleet"
)

const (
	// sanEvery is the least time between two looks at an array; one that answers
	// slowly is asked seldom, see due.
	sanEvery = time.Second
	// sanWithin bounds one look.
	sanWithin = 5 * time.Second
	// sanFresh is for how long what was seen still says something.
	sanFresh = 8 * time.Second
)

// Look has the arrays of the servers looked at that are due. It waits, for as long as is
// given, only for those of which nothing present is known.
func (a *Arrays) Look(ctx context.Context, servers []fleet.Server, wait time.Duration) {
	var looks []<-chan struct{}
	for _, n := range a.arraysOf(servers) {
		if ended := a.lookAt(ctx, n); ended != nil {
			looks = append(looks, ended)
		}
	}
	if len(looks) == 0 {
		return
	}
	limit := time.NewTimer(wait)
	defer limit.Stop()
	for _, ended := range looks {
		select {
		case <-ended:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (a *Arrays) arraysOf(servers []fleet.Server) []*declared {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*declared
	for i := range servers {
		for _, v := range servers[i].Spec.Identity.Volumes {
			if v.LUN == nil {
				continue
			}
			if n := a.sans[v.LUN.Array]; n != nil && n.err == nil && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// lookAt begins a look if one is due. It returns when the look will have ended if
// what is known is not the present.
func (a *Arrays) lookAt(ctx context.Context, n *declared) <-chan struct{} {
	now := a.opt.Now()
	running, begins := n.begin(now)
	if begins {
		asked := a.serversOn(n.decl.Name)
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), sanWithin)
		go func() {
			defer cancel()
			a.finishLook(look, n, now, asked)
		}()
	}
	return running
}

// begin takes a look up if one is due. It also returns when the look that is under way
// will have ended, or nil if what is known is the present.
func (n *declared) begin(now time.Time) (running <-chan struct{}, begins bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if begins = n.running == nil && n.due(now); begins {
		n.running = make(chan struct{})
	}
	if n.running == nil || now.Sub(n.at) <= sanFresh && !n.overtaken() {
		return nil, begins
	}
	return n.running, begins
}

// due says whether a look should begin; mu is held. Looks take a tenth of the time at
// most, whatever an array needs for one; what was done is looked at soon.
func (n *declared) due(now time.Time) bool {
	return now.Sub(n.at) >= max(sanEvery, 9*n.took) || n.overtaken() && now.Sub(n.at) >= n.took
}

func (n *declared) overtaken() bool {
	for _, at := range n.effects { // any one will do
		if !at.Before(n.at) {
			return true
		}
	}
	return false
}

// finishLook asks the array and notes what it said.
func (a *Arrays) finishLook(ctx context.Context, n *declared, began time.Time, servers []string) {
	seen, err := mapsOn(ctx, n.bare, servers)
	a.wake(n.note(servers, seen, err, began, a.opt.Now())...)
}

// note keeps what a look at some servers saw and returns those of which that is news.
func (n *declared) note(asked []string, seen map[string][]array.Mapped, err error, began, ended time.Time) (news []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range asked {
		was, known := n.seen[s]
		if (err == nil) != (n.failed == nil) || err == nil && (!known || !reflect.DeepEqual(seen[s], was)) {
			news = append(news, s)
		}
	}
	n.at, n.took, n.failed = began, ended.Sub(began), err
	if err == nil {
		n.seen = seen
	}
	close(n.running)
	n.running = nil
	return news
}

// mapsOn lists the maps of the servers.
func mapsOn(ctx context.Context, a array.Array, servers []string) (map[string][]array.Mapped, error) {
	out := make(map[string][]array.Mapped, len(servers))
	for _, s := range servers {
		out[s] = nil
	}
	if l, ok := a.(array.Lister); ok {
		all, err := l.AllMaps(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range all {
			if _, ours := out[m.Server]; ours {
				out[m.Server] = append(out[m.Server], m)
			}
		}
		return out, nil
	}
	for _, s := range servers {
		maps, err := a.Maps(ctx, s)
		if err != nil {
			return nil, err
		}
		out[s] = maps
	}
	return out, nil
}

// Show adds what the arrays show of a server's LUNs to what is observed of it. An array that
// cannot be asked says nothing, which is not "none" (S4).
func (a *Arrays) Show(s *fleet.Server, o *fleet.Observed) {
	for _, v := range s.Spec.Identity.Volumes {
		if v.LUN == nil {
			continue
		}
		n, err := a.of(v)
		if err != nil {
			o.Complete = false
			continue
		}
		maps, at, ok := n.mapsOf(s.Name, a.opt.Now())
		if !ok {
			o.Complete = false
			continue
		}
		if len(maps) == 0 {
			o.Volumes = append(o.Volumes, fleet.VolumeState{Volume: v.Name, Held: fleet.No, At: at})
		}
		for _, m := range maps {
			state := fleet.VolumeState{Volume: v.Name, Epoch: m.Epoch, Held: fleet.Yes, At: at}
			if len(m.Initiators) > 0 {
				state.Holder = m.Epoch
			}
			o.Volumes = append(o.Volumes, state)
		}
	}
}

// mapsOf returns what was seen of a server, if that is the present.
func (n *declared) mapsOf(server string, now time.Time) ([]array.Mapped, time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps, known := n.seen[server]
	if !known || n.failed != nil || now.Sub(n.at) > sanFresh {
		return nil, time.Time{}, false
	}
	if done, any := n.effects[server]; any && !done.Before(n.at) {
		return nil, time.Time{}, false
	}
	return maps, n.at, true
}

// did notes that something was done for a server, or may have been.
func (n *declared) did(server string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.effects[server] = now
}
