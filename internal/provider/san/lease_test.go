package san

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// leaseOf lets so many requests pass that change something.
type leaseOf struct {
	array.Array
	left *int
}

func (l leaseOf) Unmap(ctx context.Context, r array.Ref) error {
	*l.left--
	return l.Array.Unmap(ctx, r)
}

// The controller's lease ends in the middle of a fence: an array knows no terms, so that
// nothing more may be asked of it. Its successor has let the next epoch in by then (S10).
func TestFenceEndsWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced, left := arraytest.NewShelf(), fleet.Epoch(1), 1
		old := array.Ref{Server: "a", Epoch: 1}
		s.Made[old] = array.Map{Ref: old, Initiator: "i1"}
		s.Login(old)
		h := newRig(t, s, &fenced)
		h.Arrays.opt.Open = func(fleet.Array) (array.Array, error) { return leaseOf{s, &left}, nil }
		h.SetSites(nil)
		h.SetSites(sites)
		lost := errors.New("the lease has ended")
		p := provider.WithAuthority(whole{h}, func(context.Context) error {
			if left <= 0 {
				return lost
			}
			return nil
		})
		_, err := p.Do(t.Context(), sanCall(fleet.StepSeal, 1))
		if !errors.Is(err, lost) || !errors.Is(err, provider.ErrLeaseOver) {
			t.Errorf("the fence: %v", err)
		}
		if !s.Closed[old] || s.Live[old] != 1 {
			t.Errorf("unmapped: %v; %d sessions: one was killed without the lease", s.Closed[old], s.Live[old])
		}
		left = 1
		out, err := p.Do(t.Context(), sanCall(fleet.StepSeal, 1))
		if err == nil {
			t.Errorf("a fence for which one more request was allowed: %+v", out)
		}
		left = 100
		if out, err = p.Do(t.Context(), sanCall(fleet.StepSeal, 1)); err != nil || s.Live[old] != 0 {
			t.Errorf("with the lease: %+v, %v", out, err)
		}
		_, missing := fence.Prove(sanServer(), 1, "", out.Evidence, out.Evidence[0].At)
		if len(missing) > 0 {
			t.Error(missing)
		}
	})
}

// whole is the rig as a provider.
type whole struct{ rig }

func (whole) Traits() fleet.Traits { return fleet.Traits{} }
func (whole) Observe(context.Context, []fleet.Server) (provider.Sweep, error) {
	return provider.Sweep{}, nil
}
func (whole) Wakes() <-chan string { return nil }
