package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"time"

	api "relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/demo/phases"
	"relight/internal/dev"
	"relight/internal/rack"
)

// fault is one thing that the demo breaks.
type fault struct {
	name, title string
	// play breaks it, waits until all is healed, and mends what is the demo's to
	// mend.
	play func(context.Context, *stage) (phases.Result, []phases.Healing, error)
}

// faults are the demo's cases, in order.
func faults() []fault {
	return []fault{
		{"app-killed", "SIGKILL of an application", appKilled},
		{"app-mute", "SIGSTOP of an application: alive, but mute", appMute},
		{"app-errors", "an application that answers 500", appErrors},
		{"host-killed", "SIGKILL of a whole host", hostKilled},
		{"host-cut-off", "a host is cut off, its servers run on", hostCutOff},
		{"controller-killed", "SIGKILL of the controller in the middle of a recovery", controllerKilled},
		{"maintenance", "a maintenance window in which nothing may be done", maintenance},
		{"controller-away", "no controller for three leases: nothing stops", controllerAway},
	}
}

// one plays a fault on one server's application. floor says, from when on the
// finding counted, what the policy's timings make necessary.
func one(ctx context.Context, s *stage, name, server string, strike func(fleet.Status) error, floor func(seen time.Duration) time.Duration) (phases.Result, []phases.Healing, error) {
	before, err := s.status(ctx, server)
	if err != nil {
		return phases.Result{}, nil, err
	}
	at := time.Now()
	if err := strike(before); err != nil {
		return phases.Result{}, nil, err
	}
	h, err := s.healed(ctx, before, at)
	if err != nil {
		return phases.Result{}, nil, err
	}
	// What was seen before the fault, or later than one check, is not the policy's.
	seen := min(max(h.Recovery.DownSince.Sub(at), 0), dev.CheckInterval+dev.CheckTimeout)
	h.Floor = floor(seen)
	return h.Result(name), []phases.Healing{h}, nil
}

func appKilled(ctx context.Context, s *stage) (phases.Result, []phases.Healing, error) {
	return one(ctx, s, "app-killed", "web-1", func(b fleet.Status) error {
		return s.signal(ctx, b.Server, b.Host, syscall.SIGKILL)
	}, func(time.Duration) time.Duration { return 0 })
}

func appMute(ctx context.Context, s *stage) (phases.Result, []phases.Healing, error) {
	return one(ctx, s, "app-mute", "web-2", func(b fleet.Status) error {
		return s.signal(ctx, b.Server, b.Host, syscall.SIGSTOP)
	}, muteFloor)
}

// muteFloor: the failing check must last, and a mute process uses up its grace.
func muteFloor(seen time.Duration) time.Duration { return seen + dev.ImpairedAfter + dev.StopGrace }

func appErrors(ctx context.Context, s *stage) (phases.Result, []phases.Healing, error) {
	return one(ctx, s, "app-errors", "web-3", func(b fleet.Status) error {
		_, err := s.load.clients[b.Server].ask(ctx, http.MethodPost, "/fail")
		return err
	}, func(seen time.Duration) time.Duration { return seen + dev.ImpairedAfter })
}

func hostKilled(ctx context.Context, s *stage) (phases.Result, []phases.Healing, error) {
	first, err := s.status(ctx, "web-4")
	if err != nil {
		return phases.Result{}, nil, err
	}
	before, err := s.on(ctx, first.Host)
	if err != nil {
		return phases.Result{}, nil, err
	}
	at := time.Now()
	if err := s.fleet.KillHost(ctx, first.Host); err != nil {
		return phases.Result{}, nil, err
	}
	h, err := s.slowest(ctx, before, at)
	if err != nil {
		return phases.Result{}, nil, err
	}
	// All of these count from the last sign of life, and a host is not down before
	// the last of them has said no.
	h.Floor = max(h.Recovery.DownSince.Add(max(dev.SuspectAfter, dev.DownAfter, dev.StorageStale)).Sub(at), 0)
	return h.Result("host-killed"), []phases.Healing{h}, s.fleet.StartHost(first.Host)
}

var (
	errTouched = errors.New("something was done that must not be done")
	errStopped = errors.New("a server stopped that must run on")
)

// hostCutOff cuts the cable between a host and the controller.
func hostCutOff(ctx context.Context, s *stage) (phases.Result, []phases.Healing, error) {
	first, err := s.status(ctx, "web-5")
	if err != nil {
		return phases.Result{}, nil, err
	}
	before, err := s.on(ctx, first.Host)
	if err != nil {
		return phases.Result{}, nil, err
	}
	at := time.Now()
	s.relays[first.Host].Cut()
	defer s.relays[first.Host].Restore()
	if err := s.isolated(ctx, before, at); err != nil {
		return phases.Result{}, nil, err
	}
	h, err := s.slowest(ctx, before, at)
	if err != nil {
		return phases.Result{}, nil, err
	}
	h.Floor = max(h.Recovery.DownSince.Add(dev.IsolatedFor).Sub(at), 0)
	if left, err := dev.Pids(s.fleet.ID, first.Host); err != nil || len(left) > 0 {
		return phases.Result{}, nil, errors.Join(err, fmt.Errorf("%d processes of %s were not fenced", len(left), first.Host))
	}
	s.relays[first.Host].Restore()
	return h.Result("host-cut-off"), []phases.Healing{h}, s.fleet.StartHost(first.Host)
}

// isolated waits for the verdict and sees that the servers run on and answer their
// clients until the policy's time for that is over.
func (s *stage) isolated(ctx context.Context, before []fleet.Status, at time.Time) error {
	for _, b := range before {
		err := s.await(ctx, b, at, func(st fleet.Status) (bool, error) {
			return st.Verdict == fleet.Isolated, fmt.Errorf("%s is %s and not isolated", b.Server, st.Verdict)
		})
		if err != nil {
			return err
		}
	}
	// The fence may come once the beats were silent for so long; a beat was at most
	// one suspicion old when the cable was cut.
	until := at.Add(dev.IsolatedFor - dev.SuspectAfter)
	for _, b := range before {
		if err := s.untouched(ctx, b, at, until); err != nil {
			return err
		}
		if pause := s.load.LongestPause(b.Server, at, until); pause > longestPause {
			return fmt.Errorf("%s, isolated: %w: no answer for %s", b.Server, errStopped, pause)
		}
	}
	return nil
}

// longestPause is how long a healthy server may keep a client waiting.
const longestPause = time.Second

// await waits until a server's status is as wanted.
func (s *stage) await(ctx context.Context, b fleet.Status, at time.Time, want func(fleet.Status) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	return rack.Poll(ctx, func() (bool, error) {
		s.show.news(ctx, s.api(), b.Server, at)
		st, err := s.status(ctx, b.Server)
		if err != nil {
			return false, err
		}
		return want(st)
	})
}

// untouched sees until a time that nothing is done to a server.
func (s *stage) untouched(ctx context.Context, b fleet.Status, at, until time.Time) error {
	return s.await(ctx, b, at, func(st fleet.Status) (bool, error) {
		if now := time.Now(); now.Before(until) && (st.Epoch != b.Epoch || st.Recovery != nil) {
			return true, fmt.Errorf("%s: %w: %s before its time", b.Server, errTouched, until.Sub(now))
		}
		return !time.Now().Before(until), nil
	})
}

// controllerKilled kills the controller while it waits for a mute application to
// stop, and starts it again.
func controllerKilled(ctx context.Context, s *stage) (phases.Result, []phases.Healing, error) {
	return one(ctx, s, "controller-killed", "web-6", func(b fleet.Status) error {
		at := time.Now()
		if err := s.signal(ctx, b.Server, b.Host, syscall.SIGSTOP); err != nil {
			return err
		}
		err := s.await(ctx, b, at, func(st fleet.Status) (bool, error) {
			return st.Recovery != nil, fmt.Errorf("the recovery of %s has not begun", b.Server)
		})
		if err != nil {
			return err
		}
		if err := s.fleet.KillController(); err != nil {
			return err
		}
		s.show.say(at, "the controller is killed; a new one starts")
		return s.fleet.StartController(ctx)
	}, muteFloor)
}

// window is the length of the maintenance window.
const window = 2500 * time.Millisecond

func maintenance(ctx context.Context, s *stage) (phases.Result, []phases.Healing, error) {
	var until time.Time
	r, h, err := one(ctx, s, "maintenance", "web-1", func(b fleet.Status) error {
		m, err := s.api().StartMaintenance(ctx, api.MaintenanceRequest{
			Scope: "server " + b.Server, Reason: "the demo kills it; nobody is to help", For: fleet.Duration(window),
		})
		if err != nil {
			return err
		}
		until = m.Until
		at := time.Now()
		if err := s.signal(ctx, b.Server, b.Host, syscall.SIGKILL); err != nil {
			return err
		}
		return s.untouched(ctx, b, at, until)
	}, func(time.Duration) time.Duration { return 0 })
	if err != nil {
		return r, h, err
	}
	if begun := h[0].Recovery.Begun; begun.Before(until) {
		return r, h, fmt.Errorf("%s: %w: its recovery began %s before the window's end", h[0].Server, errTouched, until.Sub(begun))
	}
	h[0].Floor = max(until.Sub(h[0].Fault), 0)
	return h[0].Result("maintenance"), h, nil
}

// controllerAway leaves the fleet without a controller for three leases of its
// agents. One server is to stop then unless its agent can ask the other hosts (S16). Nothing needs healing; Heal is the longest time that a client waited.
func controllerAway(ctx context.Context, s *stage) (phases.Result, []phases.Healing, error) {
	before := map[string]fleet.Status{}
	for _, srv := range s.fleet.Servers {
		st, err := s.status(ctx, srv.Name)
		if err != nil {
			return phases.Result{}, nil, err
		}
		before[srv.Name] = st
	}
	// Without a server that may stop, this would show less than it says.
	view, err := s.api().Server(ctx, dev.Cautious)
	if err != nil || view.Server.Spec.OnIsolation != fleet.IsolationStop {
		return phases.Result{}, nil, errors.Join(err, fmt.Errorf("%s has onIsolation: %s", dev.Cautious, view.Server.Spec.OnIsolation))
	}
	at := time.Now()
	if err := s.fleet.KillController(); err != nil {
		return phases.Result{}, nil, err
	}
	s.show.say(at, "the controller is killed; "+dev.Cautious+" is to stop unless other hosts can tell that they were not given it")
	select {
	case <-time.After(3 * dev.BeatLease):
	case <-ctx.Done():
		return phases.Result{}, nil, ctx.Err()
	}
	s.show.say(at, "three leases are over; a new controller starts")
	if err := s.fleet.StartController(ctx); err != nil {
		return phases.Result{}, nil, err
	}
	if err := s.settled(ctx); err != nil {
		return phases.Result{}, nil, err
	}
	var longest time.Duration
	for name, b := range before {
		st, err := s.status(ctx, name)
		if err != nil {
			return phases.Result{}, nil, err
		}
		if st.Epoch != b.Epoch {
			return phases.Result{}, nil, fmt.Errorf("%s: %w: epoch %d became %d", name, errTouched, b.Epoch, st.Epoch)
		}
		longest = max(longest, s.load.LongestPause(name, at, time.Now()))
	}
	if longest > longestPause {
		return phases.Result{}, nil, fmt.Errorf("%w: a client waited for %s", errStopped, longest)
	}
	s.show.say(at, fmt.Sprintf("all six served on; the longest that a client waited is %s", longest.Round(time.Millisecond)))
	s.show.say(at, fmt.Sprintf("so did %s: without a lease, its agent asked the other hosts; none was given a later epoch", dev.Cautious))
	return phases.Result{Name: "controller-away", Healed: true, Times: phases.Times{Heal: phases.MillisOf(longest)}, Overhead: phases.MillisOf(longest)}, nil, nil
}
