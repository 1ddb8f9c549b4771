package san

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relight/internal/array"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// snapshotFence bounds the fence before a snapshot, which has the time of a copy.
const snapshotFence = 20 * time.Second

// snapshot has the array keep a LUN as the step's epoch left it. A snapshot of that
// name is found again after a crash.
func (a *Arrays) snapshot(ctx context.Context, call provider.Call, n *declared, vol fleet.Volume, maps []array.Mapped) (provider.Outcome, error) {
	out, err := a.shutAll(ctx, call, n, maps)
	if err != nil {
		return out, err
	}
	name := array.SnapshotName(array.Ref{Server: call.Step.Server, Epoch: call.Step.Epoch})
	s, err := n.arr.Snapshot(ctx, vol.LUN.Name, name)
	if err != nil {
		return out, classedMap(call, n, err)
	}
	out.Detail = fmt.Sprintf("array %s keeps snapshot %s of LUN %s, %d bytes", n.decl.Name, s.Name, s.LUN, s.Bytes)
	return out, nil
}

// shutAll fences every epoch that the array lists, up to the step's, which must be
// proved dead: what somebody may still write to is of no one moment.
func (a *Arrays) shutAll(ctx context.Context, call provider.Call, n *declared, maps []array.Mapped) (provider.Outcome, error) {
	if !call.Proof.Covers(call.Step.Server, call.Step.Epoch+1) {
		return provider.Outcome{}, provider.Errorf(provider.Refused, call, "no proof that epoch %d is dead", call.Step.Epoch)
	}
	fencing, cancel := context.WithTimeout(ctx, snapshotFence)
	defer cancel()
	return a.shutOlder(fencing, call, n, maps, call.Step.Epoch+1)
}

// restore has the array put a snapshot back on a LUN that no epoch can write to.
func (a *Arrays) restore(ctx context.Context, call provider.Call, n *declared, vol fleet.Volume, maps []array.Mapped) (provider.Outcome, error) {
	out, err := a.shutAll(ctx, call, n, maps)
	if err != nil {
		return out, err
	}
	name := call.Step.Object.Snapshot
	if err := n.arr.RestoreSnapshot(ctx, vol.LUN.Name, name); err != nil {
		return out, classedMap(call, n, err)
	}
	out.Detail = fmt.Sprintf("array %s has put snapshot %s back on LUN %s", n.decl.Name, name, vol.LUN.Name)
	return out, nil
}

// drop has the array delete a snapshot of a LUN.
func (a *Arrays) drop(ctx context.Context, call provider.Call, n *declared, vol fleet.Volume) (provider.Outcome, error) {
	name := call.Step.Object.Snapshot
	if err := n.arr.DeleteSnapshot(ctx, vol.LUN.Name, name); err != nil {
		return provider.Outcome{}, classedMap(call, n, err)
	}
	return provider.Outcome{Detail: fmt.Sprintf("array %s has deleted snapshot %s of LUN %s", n.decl.Name, name, vol.LUN.Name)}, nil
}

// Kept lists the snapshots of servers' LUNs, by volume as their specs have them. An array
// that does not answer is asked once, not for each LUN.
func (a *Arrays) Kept(ctx context.Context, servers ...fleet.Server) []provider.Kept {
	var out []provider.Kept
	silent := map[string]error{}
	for _, s := range servers {
		for _, v := range s.Spec.Identity.Volumes {
			if v.LUN == nil {
				continue
			}
			k := provider.Kept{Server: s.Name, Volume: v.Name, Array: v.LUN.Array, LUN: v.LUN.Name, Err: silent[v.LUN.Array]}
			if k.Err == nil {
				k.Snapshots, k.Err = a.keptOf(ctx, v)
			}
			if k.Err != nil && !errors.Is(k.Err, array.ErrNotFound) {
				silent[v.LUN.Array] = k.Err
			}
			out = append(out, k)
		}
	}
	return out
}

func (a *Arrays) keptOf(ctx context.Context, v fleet.Volume) ([]provider.Snapshot, error) {
	n, err := a.of(v)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	list, err := n.bare.Snapshots(ctx, v.LUN.Name)
	if err != nil {
		return nil, err
	}
	var out []provider.Snapshot
	for _, x := range list {
		out = append(out, provider.Snapshot{Name: x.Name, Bytes: x.Bytes, At: x.At})
	}
	return out, nil
}
