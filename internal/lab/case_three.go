package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// activeLost kills the machine's process, and then, once the recovery has begun, the
// controller that carries it out with the member of the store beside it. One of those
// that waited must end that very recovery, with one new epoch.
func activeLost(ctx context.Context, s *Stage) (Result, error) {
	var lost string
	at := time.Now()
	r, err := s.strike(ctx, func(b fleet.Status) error {
		if err := s.Lab.KillVMs(ctx, b.Host); err != nil {
			return err
		}
		err := s.await(ctx, func() (bool, error) {
			now, err := s.status(ctx)
			return err == nil && now.Recovery != nil && now.Recovery.Last != nil, errors.Join(err, fmt.Errorf("the recovery of %s has not begun", Server))
		})
		if err == nil {
			lost, err = s.Lab.KillActive(ctx)
		}
		return err
	}, func(b fleet.Status) func(fleet.Status) error {
		return func(now fleet.Status) error {
			if now.Epoch != b.Epoch+1 {
				return fmt.Errorf("%w: epoch %d became %d, want one new one", errOutcome, b.Epoch, now.Epoch)
			}
			return nil
		}
	})
	if err != nil {
		return r, fmt.Errorf("%s was lost: %w", lost, err)
	}
	next, err := s.Lab.Active()
	if err != nil || next == lost {
		return r, errors.Join(err, fmt.Errorf("%w: %s acts after the loss of %s", errOutcome, next, lost))
	}
	if err := s.oneRecovery(ctx, at); err != nil {
		return r, err
	}
	r.Outcome += fmt.Sprintf("; %s -> %s", lost, next)
	return r, nil
}

// oneRecovery wants the record to have one recovery since a moment, that was begun under
// one term and ended under a later one.
func (s *Stage) oneRecovery(ctx context.Context, since time.Time) error {
	events, err := s.events(ctx, since)
	if err != nil {
		return err
	}
	var begun, ended []event.Event
	for _, e := range events {
		switch e.Kind {
		case event.RecoveryBegun:
			begun = append(begun, e)
		case event.RecoveryHealed:
			ended = append(ended, e)
		default:
		}
	}
	if len(begun) != 1 || len(ended) != 1 || begun[0].Recovery != ended[0].Recovery || begun[0].Term >= ended[0].Term {
		return fmt.Errorf("%w: recoveries begun %+v and ended %+v", errOutcome, begun, ended)
	}
	return nil
}
