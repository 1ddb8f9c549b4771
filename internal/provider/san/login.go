package san

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"relight/internal/array"
	"relight/internal/core/fleet"
)

// Errors of Logins, wrapped with the array's name.
var (
	// ErrNotLetIn: the array does not list the epoch's initiator, or lists an older one.
	ErrNotLetIn = errors.New("the array does not let the epoch in")
	// ErrNowhere: the array's driver cannot say where an epoch logs in.
	ErrNowhere = errors.New("the array cannot say where an epoch logs in")
)

// Logins tells where the LUNs of an epoch are and as whom to log in, for a guest that does
// that by itself. It makes nothing: an epoch that its arrays do not let in, or that was
// fenced, is told nothing. Errors: ErrNotLetIn, ErrNowhere, array.ErrFenced.
func (a *Arrays) Logins(ctx context.Context, server string, epoch fleet.Epoch) ([]Disk, error) {
	a.mu.Lock()
	s, known := a.servers[server]
	a.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("there is no server %s", server)
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return disksOf(s, func(v fleet.Volume) (entry, error) {
		e, err := a.login(ctx, s, v, epoch)
		if err != nil {
			return entry{}, fmt.Errorf("array %s: %w", v.LUN.Array, err)
		}
		return e, nil
	})
}

// login is what an epoch logs in to on the array of a volume, if that lets it in.
func (a *Arrays) login(ctx context.Context, s fleet.Server, v fleet.Volume, epoch fleet.Epoch) (entry, error) {
	n, err := a.of(v)
	if err != nil {
		return entry{}, err
	}
	ref := array.Ref{Server: s.Name, Epoch: epoch}
	units, _ := unitsOn(s, n.decl.Name)
	m, err := array.MapOf(a.opt.Key, n.decl, ref, units)
	if err != nil {
		return entry{}, err
	}
	fenced, err := a.opt.Fenced(ctx, s.Name)
	switch {
	case err != nil:
		return entry{}, err
	case epoch <= fenced:
		return entry{}, array.ErrFenced
	}
	maps, err := n.bare.Maps(ctx, s.Name)
	if err != nil {
		return entry{}, err
	}
	own := func(x array.Mapped) bool { return x.Epoch == epoch && slices.Contains(x.Initiators, m.Initiator) }
	older := func(x array.Mapped) bool { return x.Epoch < epoch }
	if !slices.ContainsFunc(maps, own) || slices.ContainsFunc(maps, older) {
		return entry{}, ErrNotLetIn
	}
	at, ok := n.bare.(array.Locator)
	if !ok {
		return entry{}, ErrNowhere
	}
	target, err := at.Locate(ctx, ref)
	return entry{m, target, n.decl.MorePortals}, err
}
