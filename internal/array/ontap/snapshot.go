package ontap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"relight/internal/array"
)

// Snapshot implements array.Array. It is a clone of the LUN, which takes no time and
// no copy: a snapshot of the volume would be one of other servers' LUNs too, and could
// not be put back without theirs.
func (a *Array) Snapshot(ctx context.Context, lun, name string) (array.Snapshot, error) {
	kept, err := array.SnapshotLUN(lun, name)
	if err != nil {
		return array.Snapshot{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, err := a.kept(ctx, lun, kept)
	if err == nil && s == nil {
		if err = a.clone(ctx, lun, kept); err == nil {
			// The request may be answered before it is done; what counts is what is there.
			s, err = a.kept(ctx, lun, kept)
		}
		if err == nil && s == nil {
			err = errors.New("it is asked for and not there yet")
		}
	}
	if err != nil {
		return array.Snapshot{}, fmt.Errorf("snapshot %s of LUN %s: %w", name, lun, err)
	}
	return *s, nil
}

// kept returns a snapshot, or nil if there is none of that name.
func (a *Array) kept(ctx context.Context, lun, kept string) (*array.Snapshot, error) {
	found, err := a.snapshots(ctx, lun, a.lunPath(kept))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func (a *Array) clone(ctx context.Context, from, to string) error {
	l, err := a.unmapped(ctx, from)
	if err != nil {
		return err
	}
	// The clone shares the LUN's blocks until that is written to again, which must not
	// fail for want of room then.
	if err := a.room(ctx, l.Space.Size); err != nil {
		return err
	}
	return a.call(ctx, http.MethodPost, pathLUNs, nil, cloned{
		named: named{Name: a.lunPath(to)}, SVM: a.svm(), Clone: clone{Source: named{Name: a.lunPath(from)}},
	}, nil)
}

// unmapped returns a LUN that no group has: without a map it has no session either.
func (a *Array) unmapped(ctx context.Context, name string) (*lun, error) {
	l, err := a.lun(ctx, name)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, array.ErrNotFound
	}
	have, err := all[lunMap](ctx, a, pathMaps, a.query("lun.uuid", l.UUID, "fields", "igroup.name"))
	if err != nil {
		return nil, err
	}
	if len(have) > 0 {
		return nil, fmt.Errorf("group %s has it: %w", have[0].Igroup.Name, array.ErrMapped)
	}
	return l, nil
}

// Snapshots implements array.Array.
func (a *Array) Snapshots(ctx context.Context, name string) ([]array.Snapshot, error) {
	prefix, err := array.SnapshotPrefix(name)
	if err != nil {
		return nil, err
	}
	wrap := func(err error) error { return fmt.Errorf("snapshots of LUN %s: %w", name, err) }
	if l, err := a.lun(ctx, name); err != nil || l == nil {
		if err == nil {
			err = array.ErrNotFound
		}
		return nil, wrap(err)
	}
	out, err := a.snapshots(ctx, name, a.lunPath(prefix)+"*")
	if err != nil {
		return nil, wrap(err)
	}
	return out, nil
}

// snapshots lists those of a LUN whose paths match.
func (a *Array) snapshots(ctx context.Context, name, paths string) ([]array.Snapshot, error) {
	found, err := all[lun](ctx, a, pathLUNs, a.query("name", paths, "fields", "space.size,create_time", "order_by", "name"))
	if err != nil {
		return nil, err
	}
	var out []array.Snapshot
	for _, l := range found {
		out = append(out, array.Snapshot{
			LUN: name, Name: strings.TrimPrefix(l.Name, a.lunPath(name)+"."), Bytes: l.Space.Size, At: l.Created,
		})
	}
	return out, nil
}

// RestoreSnapshot implements array.Array: the LUN is overwritten as a clone of what
// keeps the snapshot, and stays the same LUN.
func (a *Array) RestoreSnapshot(ctx context.Context, lun, name string) error {
	kept, err := array.SnapshotLUN(lun, name)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	wrap := func(err error) error { return fmt.Errorf("restore %s to LUN %s: %w", name, lun, err) }
	s, err := a.kept(ctx, lun, kept)
	if err == nil && s == nil {
		err = fmt.Errorf("the snapshot: %w", array.ErrNotFound)
	}
	if err != nil {
		return wrap(err)
	}
	l, err := a.unmapped(ctx, lun)
	if err != nil {
		return wrap(err)
	}
	body := struct {
		Clone clone `json:"clone"`
	}{clone{Source: named{Name: a.lunPath(kept)}}}
	if err := a.call(ctx, http.MethodPatch, pathLUNs+"/"+l.UUID, nil, body, nil); err != nil {
		return wrap(err)
	}
	return nil
}

// DeleteSnapshot implements array.Array.
func (a *Array) DeleteSnapshot(ctx context.Context, lun, name string) error {
	kept, err := array.SnapshotLUN(lun, name)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	l, err := a.unmapped(ctx, kept)
	if errors.Is(err, array.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = a.call(ctx, http.MethodDelete, pathLUNs+"/"+l.UUID, nil, nil, nil)
	}
	if err := without(err, codeNotFound); err != nil {
		return fmt.Errorf("delete snapshot %s of LUN %s: %w", name, lun, err)
	}
	return nil
}
