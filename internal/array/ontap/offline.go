package ontap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"relight/internal/array"
)

const (
	// offMark ends the comment of a LUN that was taken off line here: one that a person
	// took off line is left so. It is the comment of the group whose LUNs were.
	offMark = "[off line by relight]"
	// offline is the state of a LUN that serves nobody.
	offline = "offline"
)

// change is what is changed of a LUN.
type change struct {
	Enabled bool   `json:"enabled"`
	Comment string `json:"comment"`
}

// Offline implements array.Array. A LUN is one epoch's alone, so that nobody else loses
// it. Maps are gone already; that a LUN which reads as offline has no command inside is
// not in the reference, and must be tried on the array itself. The epoch's group is
// marked, for its LUNs are on line again once a later epoch has them.
func (a *Array) Offline(ctx context.Context, r array.Ref, luns []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	wrap := func(err error) error { return fmt.Errorf("LUNs of %s epoch %d off line: %w", r.Server, r.Epoch, err) }
	if len(luns) == 0 {
		return wrap(array.ErrInvalid)
	}
	g, err := a.group(ctx, r)
	if err != nil {
		return wrap(err)
	}
	if g != nil && g.Comment == offMark {
		return nil
	}
	for _, name := range luns {
		if err := a.darken(ctx, name); err != nil {
			return wrap(fmt.Errorf("LUN %s: %w", name, err))
		}
	}
	if g == nil {
		return nil
	}
	if err := a.call(ctx, http.MethodPatch, pathGroups+"/"+g.UUID, nil, igroup{Comment: offMark}, nil); err != nil {
		return wrap(err)
	}
	return nil
}

// darken takes one LUN off line that nobody has mapped, and reads it back.
func (a *Array) darken(ctx context.Context, name string) error {
	l, err := a.unmapped(ctx, name) // one that a later epoch has is not touched
	if errors.Is(err, array.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if l.Enabled {
		if err := a.call(ctx, http.MethodPatch, pathLUNs+"/"+l.UUID, nil, change{Comment: strings.TrimSpace(l.Comment + " " + offMark)}, nil); err != nil {
			return err
		}
		// The request may be answered before it is done; what counts is what is there.
		if l, err = a.lun(ctx, name); err != nil {
			return err
		}
	}
	if l != nil && (l.Enabled || l.Status.State != offline) {
		return fmt.Errorf("it reads as %q: %w", l.Status.State, array.ErrInside)
	}
	return nil
}

// online undoes Offline.
func (a *Array) online(ctx context.Context, l *lun) error {
	comment, ours := strings.CutSuffix(l.Comment, offMark)
	if l.Enabled || !ours {
		return nil
	}
	return a.call(ctx, http.MethodPatch, pathLUNs+"/"+l.UUID, nil, change{Enabled: true, Comment: strings.TrimSpace(comment)}, nil)
}

// dark reports that a group without initiators is what Offline left behind: sessions
// that have no LUN.
func (a *Array) dark(ctx context.Context, g *igroup, r array.Ref) (bool, error) {
	if g.Comment != offMark {
		return false, nil
	}
	have, err := a.maps(ctx, g)
	if err != nil || len(have) > 0 {
		return false, err
	}
	live, err := a.Sessions(ctx, r)
	if errors.Is(err, array.ErrInvalid) {
		return false, nil // no epoch of ours
	}
	return len(live) > 0, err
}
