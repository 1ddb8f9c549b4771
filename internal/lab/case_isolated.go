package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/lab/image"
)

// selfFenced cuts a host off the controller and off all hosts that could have its server
// now. The array fences the disk and nothing else: it is the host's own agent that ends
// the machine and takes it off the network, while nobody can tell it to.
func selfFenced(ctx context.Context, s *Stage) (r Result, err error) {
	if err := s.stopsWhenIsolated(ctx); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.redeclare(ctx, byBeat, fleet.BootKernel)) }()
	var ended time.Duration
	var old fleet.Status
	at := time.Now()
	r, err = s.strike(ctx, func(b fleet.Status) error {
		old = b
		ended, err = s.cutUntilSelfFenced(ctx, b)
		return err
	}, elsewhere)
	if err != nil {
		return r, err
	}
	// The controller still reaches nobody there: that the machine has ended it must not
	// have needed.
	if err := s.provedByArray(ctx, at, old.Epoch); err != nil {
		return r, err
	}
	r.Outcome += fmt.Sprintf("; self-fenced after %.1fs", ended.Seconds())
	if err := s.Settle(ctx); err != nil { // mends the cable
		return r, err
	}
	return r, s.await(ctx, func() (bool, error) {
		taps, err := s.Lab.taps(ctx, old.Host)
		return err == nil && len(taps) == 0, errors.Join(err, fmt.Errorf("%s is back, and has %v on its bridge", old.Host, taps))
	})
}

// stopsWhenIsolated declares that the server is stopped where the lease has ended, and
// returns once the agent of its host has been told so.
func (s *Stage) stopsWhenIsolated(ctx context.Context) error {
	img, err := image.Build(ctx, image.Options{Cache: cache})
	if err != nil {
		return err
	}
	if err := s.Lab.Declare(ctx, s.api, s.Lab.Sites(byBeat)+s.Lab.server(img, fleet.BootKernel)+"  onIsolation: stop\n"); err != nil {
		return err
	}
	if err := s.Settle(ctx); err != nil {
		return err
	}
	return s.await(ctx, func() (bool, error) {
		st, err := s.status(ctx)
		if err != nil {
			return false, err
		}
		data, err := os.ReadFile(s.Lab.path(st.Host, "agent", "watch.json"))
		var kept bytes.Buffer
		err = errors.Join(err, json.Compact(&kept, data))
		return err == nil && strings.Contains(kept.String(), `"onIsolation":"stop"`), errors.Join(err, fmt.Errorf("%s does not know that %s stops when it is isolated", st.Host, Server))
	})
}

// cutUntilSelfFenced cuts the management network of the server's host and waits until
// the host runs no machine and has none on its bridge. Its agent must have lived through
// that: a host that lost its power shows the same.
func (s *Stage) cutUntilSelfFenced(ctx context.Context, b fleet.Status) (took time.Duration, err error) {
	agent, err := s.Lab.lives(b.Host, isAgent)
	if err != nil {
		return 0, err
	}
	if taps, err := s.Lab.taps(ctx, b.Host); err != nil || len(taps) != 1 {
		return 0, errors.Join(err, fmt.Errorf("%s has %v on its bridge, want the tap of its machine", b.Host, taps))
	}
	bridge, err := s.Lab.watchBridge(b.Host)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, bridge.close()) }()
	at := time.Now()
	if err := s.Lab.Cut(ctx, b.Host, Management); err != nil {
		return 0, err
	}
	err = s.await(ctx, func() (bool, error) {
		machines, err := s.Lab.VMs(b.Host)
		if err != nil {
			return false, err
		}
		taps, err := s.Lab.taps(ctx, b.Host)
		return err == nil && len(machines)+len(taps) == 0,
			errors.Join(err, fmt.Errorf("%s has no lease, and runs the machines %v with %v on its bridge", b.Host, machines, taps))
	})
	took = time.Since(at)
	if err != nil {
		return took, err
	}
	if !agent.Lives() {
		return took, fmt.Errorf("%w: the agent of %s has ended as well", errOutcome, b.Host)
	}
	all, live, err := bridge.left()
	if err == nil && (all != 1 || live != 1) {
		// A kill may wait for the machine's I/O; what it sends must not.
		err = fmt.Errorf("%w: %d taps left the bridge of %s, %d of them before their machine ended; want 1 and 1", errOutcome, all, b.Host, live)
	}
	return took, err
}

// provedByArray wants an epoch to have been proved dead by the array, and by nobody who
// saw its machine end.
func (s *Stage) provedByArray(ctx context.Context, since time.Time, epoch fleet.Epoch) error {
	events, err := s.events(ctx, since)
	if err != nil {
		return err
	}
	removed := false
	for _, e := range events {
		if e.Kind != event.EpochProved {
			continue
		}
		for _, ev := range e.Evidence {
			if ev.Epoch != epoch || ev.Server != Server {
				continue
			}
			if ev.Method.EndsInstance() {
				return fmt.Errorf("%w: epoch %d is proved dead by %s, while nobody reaches its host", errOutcome, epoch, ev.Method)
			}
			removed = removed || ev.Method == fleet.InitiatorRemoved
		}
	}
	if !removed {
		return fmt.Errorf("%w: the array has not proved epoch %d dead", errOutcome, epoch)
	}
	return nil
}
