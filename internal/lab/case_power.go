package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/lab/image"
)

// arrayUnsure has the array shut a zombie out, and a controller that is cut off the storage
// network: it cannot try whether the array lets the old epoch in again, so that the fence is
// not confirmed in its time, and the host is switched off.
func arrayUnsure(ctx context.Context, s *Stage) (Result, error) {
	return s.escalated(ctx,
		func() error { return s.Lab.Cut(ctx, nodeController, Storage) },
		func() error { return s.Lab.Mend(ctx, nodeController, Storage) },
		": login: ",
	)
}

// arrayMute has an array that serves on and whose management answers nobody: it shuts
// nobody out, the zombie writes on, and only the power device ends it.
func arrayMute(ctx context.Context, s *Stage) (Result, error) {
	return s.escalated(ctx,
		func() error { return s.Lab.MuteSAN(ctx, nodeSAN) },
		func() error { return s.Lab.UnmuteSAN(ctx, nodeSAN) },
		"cannot be asked",
	)
}

// escalated has a zombie that its array does not confirm to be shut out. The recovery must
// name the array and what it failed at, and have the host switched off instead. The next
// epoch is let in by the same array: it waits until that has shut the old one out.
func (s *Stage) escalated(ctx context.Context, breaks, mends func() error, complaint string) (Result, error) {
	var old fleet.Status
	at := time.Now()
	r, err := s.strike(ctx, func(b fleet.Status) error {
		old = b
		if err := errors.Join(breaks(), s.Lab.Cut(ctx, b.Host, Management), s.writes(ctx, 5)); err != nil {
			return err
		}
		if err := s.handedToPower(ctx, b, at, complaint); err != nil {
			return err
		}
		if err := s.heldByArray(ctx, complaint, agentAway); err != nil {
			return err
		}
		return mends()
	}, elsewhere)
	if err != nil {
		return r, err
	}
	r.Outcome += "; " + old.Host + " was switched off"
	return r, s.provedBy(ctx, old.Epoch, fleet.PoweredOff, fleet.InitiatorRemoved)
}

// handedToPower waits until the host was switched off because the array had failed, with
// that complaint.
func (s *Stage) handedToPower(ctx context.Context, before fleet.Status, since time.Time, complaint string) error {
	return s.await(ctx, func() (bool, error) {
		events, err := s.events(ctx, since)
		if err != nil {
			return false, err
		}
		shut := slices.IndexFunc(events, func(e event.Event) bool {
			return ended(e, fleet.StepSeal) && e.Step.State != fleet.StepDone && strings.Contains(e.Step.Error, complaint)
		})
		off := slices.IndexFunc(events, func(e event.Event) bool { return ended(e, fleet.StepPowerOff) && e.Step.State == fleet.StepDone })
		proved := slices.IndexFunc(events, func(e event.Event) bool { return e.Kind == event.EpochProved })
		switch {
		case shut < 0 || off < 0 || proved < 0:
			return false, fmt.Errorf("the array has failed: %v, %s was switched off: %v, epoch %d is proved dead: %v", shut >= 0, before.Host, off >= 0, before.Epoch, proved >= 0)
		case off < shut:
			return true, fmt.Errorf("%w: %s was switched off before the array was asked", errOutcome, before.Host)
		}
		on, err := s.Lab.IsOn(before.Host)
		if err != nil || on {
			return true, errors.Join(err, fmt.Errorf("%w: %s was not switched off", errOutcome, before.Host))
		}
		return true, provedAlone(events[proved], before.Epoch, fleet.PoweredOff)
	})
}

func ended(e event.Event, kind fleet.StepKind) bool {
	return e.Kind == event.StepEnded && e.Step != nil && e.Step.Step.Kind == kind
}

// provedAlone wants an epoch to have been proved dead by this method and no other.
func provedAlone(e event.Event, epoch fleet.Epoch, by fleet.Method) error {
	if len(e.Evidence) == 0 || slices.ContainsFunc(e.Evidence, func(ev fleet.Evidence) bool { return ev.Method != by || ev.Epoch != epoch }) {
		return fmt.Errorf("%w: want epoch %d proved dead by %s alone: %+v", errOutcome, epoch, by, e.Evidence)
	}
	return nil
}

// heldByArray sees for a while that no machine runs, and that people are told of what the
// array complains.
func (s *Stage) heldByArray(ctx context.Context, complaint string, span time.Duration) error {
	for until := time.Now().Add(span); time.Now().Before(until); {
		for _, h := range Hosts() {
			if machines, err := s.Lab.VMs(h); err != nil || len(machines) > 0 {
				return errors.Join(err, fmt.Errorf("%w: %s runs %v, and the array has not shut the old epoch out", errOutcome, h, machines))
			}
		}
		why, err := s.api.Why(ctx, s.server)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(why.Events, func(e client.EventRecord) bool { return strings.Contains(e.Event.Message, complaint) }) {
			return fmt.Errorf("%w: people are not told that the array has failed (%s): %s", errOutcome, complaint, why.Now())
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// powerFirst has a server that asks for power before its array: its host is switched off
// while the machine there could still write, and the array shuts the old epoch out
// afterwards, before it lets the new one in.
func powerFirst(ctx context.Context, s *Stage) (r Result, err error) {
	img, err := image.Build(ctx, image.Options{Cache: cache})
	if err != nil {
		return Result{}, err
	}
	if err := s.Lab.Declare(ctx, s.api, s.Lab.Sites(byBeat)+s.Lab.server(img, fleet.BootKernel)+"  fence: powerFirst\n"); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.redeclare(ctx, byBeat, fleet.BootKernel)) }()
	if err := s.Settle(ctx); err != nil {
		return Result{}, err
	}
	var old fleet.Status
	at := time.Now()
	r, err = s.strike(ctx, func(b fleet.Status) error {
		old = b
		return errors.Join(s.Lab.Cut(ctx, b.Host, Management), s.writes(ctx, 5))
	}, elsewhere)
	if err != nil {
		return r, err
	}
	if on, err := s.Lab.IsOn(old.Host); err != nil || on {
		return r, errors.Join(err, fmt.Errorf("%w: %s was not switched off", errOutcome, old.Host))
	}
	if err := s.toldOfPower(ctx, at, old); err != nil {
		return r, err
	}
	return r, s.provedBy(ctx, old.Epoch, fleet.PoweredOff, fleet.InitiatorRemoved)
}

// toldOfPower wants relight why to tell that the epoch was proved dead by its host's power
// alone, before the array was asked for anything.
func (s *Stage) toldOfPower(ctx context.Context, since time.Time, old fleet.Status) error {
	why, err := s.api.Why(ctx, s.server)
	if err != nil {
		return err
	}
	for _, r := range why.Events {
		switch e := r.Event; {
		case e.At.Before(since):
		case ended(e, fleet.StepSeal):
			return fmt.Errorf("%w: the array was asked before %s was switched off: %s", errOutcome, old.Host, e.Message)
		case e.Kind == event.EpochProved:
			if want := fmt.Sprintf("host %s read back as powered off", old.Host); !strings.Contains(e.Message, want) {
				return fmt.Errorf("%w: people are told %q, want %q", errOutcome, e.Message, want)
			}
			return provedAlone(e, old.Epoch, fleet.PoweredOff)
		}
	}
	return fmt.Errorf("%w: people are not told how epoch %d was proved dead", errOutcome, old.Epoch)
}
