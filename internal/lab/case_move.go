package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

func moveAndBack(ctx context.Context, s *Stage) (Result, error) {
	before, err := s.status(ctx)
	if err != nil {
		return Result{}, err
	}
	to := Hosts()[0]
	if before.Host == to {
		to = Hosts()[1]
	}
	begun := time.Now()
	there, err := s.move(ctx, client.MoveRequest{To: to}, to)
	if err != nil {
		return there, fmt.Errorf("there: %w", err)
	}
	back, err := s.move(ctx, client.MoveRequest{Back: true}, before.Host)
	if err != nil {
		return back, fmt.Errorf("back: %w", err)
	}
	if n, err := s.quiesced(ctx, begun); err != nil || n != 2 {
		return back, errors.Join(err, fmt.Errorf("%w: the guest has said %d times that it holds still, want 2", errOutcome, n))
	}
	back.Outcome = fmt.Sprintf("%s -> %s -> %s, epoch %d -> %d", before.Host, to, before.Host, before.Epoch, back.EpochTo)
	return back, nil
}

func (s *Stage) move(ctx context.Context, req client.MoveRequest, to string) (Result, error) {
	return s.strike(ctx, func(fleet.Status) error {
		_, err := s.api.Move(ctx, s.server, req)
		return err
	}, func(before fleet.Status) func(fleet.Status) error {
		return func(now fleet.Status) error {
			if now.Host != to || now.Epoch <= before.Epoch {
				return fmt.Errorf("%w: epoch %d on %s", errOutcome, now.Epoch, now.Host)
			}
			return nil
		}
	})
}

// quiesced counts how often the guest has said before its stop that it holds still, as the
// journal has it.
func (s *Stage) quiesced(ctx context.Context, since time.Time) (int, error) {
	events, err := s.events(ctx, since)
	n := 0
	for _, e := range events {
		if e.Kind == event.StepEnded && e.Step != nil && e.Step.Step.Kind == fleet.StepStop && strings.Contains(e.Message, "the guest holds still") {
			n++
		}
	}
	return n, err
}
