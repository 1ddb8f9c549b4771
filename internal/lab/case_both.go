package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/lab/image"
)

// fencedByBoth has a server that wants two proofs of its old epoch's death: shut out of
// its LUNs, and its host switched off. While the power device does not answer, the array's
// word alone starts nothing.
func fencedByBoth(ctx context.Context, s *Stage) (r Result, err error) {
	img, err := image.Build(ctx, image.Options{Cache: cache})
	if err != nil {
		return Result{}, err
	}
	sites := s.Lab.Sites(byBeat)
	server := s.Lab.server(img, fleet.BootKernel) + "  fence: both\n"
	broken := strings.ReplaceAll(sites, "{lab: "+s.Lab.Name+"}", "{lab: nosuch}")
	if err := s.Lab.Declare(ctx, s.api, broken+server); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.redeclare(ctx, byBeat, fleet.BootKernel)) }()
	if err := s.Settle(ctx); err != nil {
		return Result{}, err
	}
	var old fleet.Status
	r, err = s.strike(ctx, func(b fleet.Status) error {
		old = b
		if err := errors.Join(s.Lab.Cut(ctx, b.Host, Management), s.writes(ctx, 5)); err != nil {
			return err
		}
		if err := s.heldByPower(ctx, b); err != nil {
			return err
		}
		return s.Lab.Declare(ctx, s.api, sites+server)
	}, elsewhere)
	if err != nil {
		return r, err
	}
	if on, err := s.Lab.IsOn(old.Host); err != nil || on {
		return r, errors.Join(err, fmt.Errorf("%w: %s was not switched off", errOutcome, old.Host))
	}
	return r, s.provedBy(ctx, old.Epoch, fleet.InitiatorRemoved, fleet.PoweredOff)
}

// heldByPower waits until the array has shut the epoch out, and the recovery waits for the
// power device alone.
func (s *Stage) heldByPower(ctx context.Context, before fleet.Status) error {
	return s.await(ctx, func() (bool, error) {
		why, err := s.api.Why(ctx, s.server)
		if err != nil {
			return false, err
		}
		if st := why.Status; st.Epoch != before.Epoch {
			return true, fmt.Errorf("%w: epoch %d is followed by %d, and %s is not off", errOutcome, before.Epoch, st.Epoch, before.Host)
		}
		shut := shownBy(why.Status, before.Epoch, fleet.InitiatorRemoved)
		off := slices.ContainsFunc(why.Events, func(e client.EventRecord) bool {
			return e.Event.Kind == event.StepEnded && e.Event.Step != nil && e.Event.Step.Step.Kind == fleet.StepPowerOff && e.Event.Step.State != fleet.StepDone
		})
		return shut && off, fmt.Errorf("shut out of its LUNs: %v, the power device has failed: %v: %s", shut, off, why.Decision.Reason)
	})
}

// shownBy reports that there is evidence of that method about an epoch.
func shownBy(st fleet.Status, epoch fleet.Epoch, m fleet.Method) bool {
	return slices.ContainsFunc(st.Evidence, func(e fleet.Evidence) bool { return e.Method == m && e.Epoch == epoch })
}

// provedBy wants an epoch to have been proved dead by all of these methods.
func (s *Stage) provedBy(ctx context.Context, epoch fleet.Epoch, methods ...fleet.Method) error {
	st, err := s.status(ctx)
	if err != nil {
		return err
	}
	for _, m := range methods {
		if !shownBy(st, epoch, m) {
			return fmt.Errorf("%w: epoch %d is not proved dead by %s: %+v", errOutcome, epoch, m, st.Evidence)
		}
	}
	return nil
}
