package lio

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"relight/internal/array"
	"relight/internal/array/iscsi"
)

// holds is in the name of the targets of holders, where those of epochs have ":t:".
const holds = ":h:"

// holder is the target of a server's holder.
func (a *Array) holder(server string) string { return a.cfg.Prefix + holds + server }

// isHolder reports whether a target is a holder's.
func (a *Array) isHolder(iqn string) bool {
	_, ours := a.holderOf(iqn)
	return ours
}

// holderOf is the server of a holder's target. Servers' names have no colon, so that a
// prefix that goes on where ours ends is another's.
func (a *Array) holderOf(iqn string) (server string, ours bool) {
	server, ours = strings.CutPrefix(iqn, a.cfg.Prefix+holds)
	return server, ours && !strings.Contains(server, ":")
}

// beside reports whether a target is one of the server's own, or a holder's.
func (a *Array) beside(server string) func(iqn string) bool {
	return func(iqn string) bool {
		r, epoch := array.ParseIQN(a.cfg.Prefix+":t", iqn)
		return a.isHolder(iqn) || epoch && r.Server == server
	}
}

// LetHolder implements array.Reserver. The holder has a target of its own, which stays while
// those of the epochs come and go: a reservation ends with its holder's directory.
func (a *Array) LetHolder(ctx context.Context, m array.Map) (array.Target, error) {
	if err := array.CheckHolder(m); err != nil {
		return array.Target{}, err
	}
	return alter(ctx, a, func() (array.Target, error) { return a.letHolder(m) })
}

func (a *Array) letHolder(m array.Map) (array.Target, error) {
	name := a.holder(m.Server)
	if err := a.unique(m.Initiator, name); err != nil {
		return array.Target{}, err
	}
	if err := a.alone(m.Units, a.beside(m.Server)); err != nil {
		return array.Target{}, err
	}
	if err := a.releaseOf(m.Units, name); err != nil {
		return array.Target{}, fmt.Errorf("holder of %s: %w", m.Server, err)
	}
	stale, err := a.serves(name, m.Units)
	if err == nil && stale {
		err = a.release(name) // the server's LUNs are others now
	}
	if err != nil {
		return array.Target{}, fmt.Errorf("holder of %s: %w", m.Server, err)
	}
	for _, n := range slices.Sorted(maps.Keys(m.Units)) {
		if err := a.back(m.Units[n]); err != nil {
			return array.Target{}, fmt.Errorf("holder of %s: %w", m.Server, err)
		}
	}
	if err := a.build(m, "iscsi/"+name, "iscsi/"+name+"/tpgt_1"); err != nil {
		return array.Target{}, fmt.Errorf("holder of %s: %w", m.Server, err)
	}
	return array.Target{Portal: a.cfg.Portal, IQN: name}, nil
}

// serves reports whether a target is there and has other units than these.
func (a *Array) serves(name string, units map[int]string) (others bool, err error) {
	is, err := a.unitsOf(name)
	want := map[string]string{}
	for n, l := range units {
		want[fmt.Sprintf("lun_%d", n)] = l
	}
	return len(is) > 0 && !maps.Equal(is, want), err
}

// unitsOf lists the LUNs of a target by unit.
func (a *Array) unitsOf(iqn string) (map[string]string, error) {
	dir := "iscsi/" + iqn + "/tpgt_1/lun"
	served, err := a.list(dir)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, u := range served {
		if out[u], err = a.served(dir + "/" + u); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Holder implements array.Reserver.
func (a *Array) Holder(ctx context.Context, server string) (array.Target, bool, error) {
	name := a.holder(server)
	on, err := ask(ctx, a, func() (string, error) { return a.tree.Read("iscsi/" + name + "/tpgt_1/enable") })
	if errors.Is(err, fs.ErrNotExist) {
		return array.Target{}, false, nil
	}
	return array.Target{Portal: a.cfg.Portal, IQN: name}, on == "1", err
}

// DropHolder implements array.Reserver.
func (a *Array) DropHolder(ctx context.Context, server string) error {
	return a.do(ctx, func() error { return a.release(a.holder(server)) })
}

func (a *Array) release(name string) error {
	group := "iscsi/" + name + "/tpgt_1"
	if err := a.shutGroup(group); err != nil {
		return fmt.Errorf("release %s: %w", name, err)
	}
	return a.removeGroup("iscsi/"+name, group)
}

// releaseOf releases the holders, but for one, that have any of the LUNs.
func (a *Array) releaseOf(units map[int]string, but string) error {
	targets, err := a.targets()
	if err != nil {
		return err
	}
	wanted := slices.Collect(maps.Values(units))
	for _, t := range targets {
		if t == but || !a.isHolder(t) {
			continue
		}
		served, err := a.unitsOf(t)
		if err != nil {
			return err
		}
		for _, lun := range served {
			if slices.Contains(wanted, lun) {
				if err := a.release(t); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// Holders implements array.Reserver.
func (a *Array) Holders(ctx context.Context) ([]string, error) {
	targets, err := ask(ctx, a, a.targets)
	var out []string
	for _, t := range targets {
		if server, ours := a.holderOf(t); ours {
			out = append(out, server)
		}
	}
	return out, err
}

// Explain implements array.Reserver. The kernel refuses each registration that it cannot
// write down.
func (a *Array) Explain(err error) error {
	var status *iscsi.StatusError
	if errors.As(err, &status) && status.Reply.Key == 2 && status.Reply.ASC == 0x08 {
		return fmt.Errorf(`the kernel has nowhere to write registrations down; on the array: mkdir -p "$(cat /sys/kernel/config/target/dbroot)/pr" (%w)`, err)
	}
	return err
}

// DropHolderBy implements array.Reserver.
func (a *Array) DropHolderBy(server string) string {
	return "targetcli /iscsi delete " + a.holder(server)
}
