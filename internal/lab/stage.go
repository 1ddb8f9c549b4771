package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/lab/check"
	"relight/internal/lab/image"
)

// Stage is a lab in which a server runs and writes, a client listens, and the
// LUN's file is watched. Cases are played on it one after the other.
type Stage struct {
	Lab *Lab

	server string
	api    *client.Client
	ears   *Ears
	watch  *check.Watcher
	stop   context.CancelFunc
	fences []check.Fence
	// within bounds what a case waits for; healWithin if 0.
	within time.Duration
}

// healWithin bounds everything that a case waits for: emulated machines on a busy
// computer take their time.
const healWithin = 90 * time.Second

// Enter populates a lab and waits until its server writes. Close it.
func Enter(ctx context.Context, l *Lab) (*Stage, error) {
	s := &Stage{Lab: l, server: Server}
	var err error
	if s.ears, err = l.Listen(ctx); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	if err := l.Populate(bounded); err != nil {
		return nil, errors.Join(err, s.ears.Close())
	}
	if s.api, err = l.Client(); err != nil {
		return nil, errors.Join(err, s.ears.Close())
	}
	if err := s.look(); err != nil {
		return nil, errors.Join(err, s.ears.Close())
	}
	if err := s.Settle(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// look begins to watch the file behind the server's LUN.
func (s *Stage) look() (err error) {
	if s.watch, err = check.Open(s.Lab.LUNFile(s.server+"-"+volume), time.Now); err != nil {
		return err
	}
	watching, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.watch.Run(watching)
	return nil
}

// Close ends the client and the watch; the lab goes on.
func (s *Stage) Close() error {
	s.stop()
	s.api.Close()
	return errors.Join(s.ears.Close(), s.watch.Close())
}

// redeclare changes how the server's health is told and how its machine starts, and
// returns once it works so.
func (s *Stage) redeclare(ctx context.Context, check string, boot fleet.Boot) error {
	img, err := image.Build(ctx, image.Options{Cache: cache})
	if err != nil {
		return err
	}
	if err := s.Lab.declare(ctx, s.api, img, check, boot); err != nil {
		return err
	}
	return s.Settle(ctx)
}

// status returns the server's status.
func (s *Stage) status(ctx context.Context) (fleet.Status, error) {
	view, err := s.api.Server(ctx, s.server)
	return view.Status, err
}

// await polls with the stage's bound.
func (s *Stage) await(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.within, healWithin))
	defer cancel()
	return poll(ctx, done)
}

// Settle mends all that is broken and waits until the server runs verified and
// writes, all hosts are in contact, and no host has a machine of an old epoch: one
// fault must not be blamed for what another one did.
func (s *Stage) Settle(ctx context.Context) error {
	if err := s.mend(ctx); err != nil {
		return fmt.Errorf("mend the lab: %w", err)
	}
	for _, h := range Hosts() {
		bounded, cancel := context.WithTimeout(ctx, healWithin)
		err := AwaitHost(bounded, s.api, h)
		cancel()
		if err != nil {
			return err
		}
	}
	return s.works(ctx)
}

// works waits until the server runs verified and writes, and no host has a machine of an
// old epoch of it.
func (s *Stage) works(ctx context.Context) error {
	err := s.await(ctx, func() (bool, error) {
		st, err := s.status(ctx)
		if err != nil {
			return false, err
		}
		if st.Phase != fleet.PhaseRunning || st.Verdict != fleet.Healthy || st.Incident != "" {
			return false, fmt.Errorf("%s is %s, %s: %s", s.server, st.Phase, st.Verdict, st.Message)
		}
		return s.alone(st)
	})
	if err != nil {
		return err
	}
	return s.writes(ctx, 10)
}

// alone reports whether the server's host runs its machine and no other does, but for
// standby guests, which have no LUN.
func (s *Stage) alone(st fleet.Status) (bool, error) {
	for _, h := range Hosts() {
		found, err := processes(s.Lab.namespace(h))
		if err != nil {
			return false, err
		}
		found = slices.DeleteFunc(found, func(p process) bool { return !isVMOf(p, s.server) || h != st.Host && isStandbyOf(p, s.server) })
		want := 0
		if h == st.Host {
			want = 1
		}
		if len(found) != want {
			return false, fmt.Errorf("%s runs %d machines of it, and epoch %d of %s is on %s", h, len(found), st.Epoch, s.server, st.Host)
		}
	}
	return true, nil
}

// mend undoes every fault that is still there.
func (s *Stage) mend(ctx context.Context) error {
	l := s.Lab
	for _, n := range nodes() {
		for _, net := range networksOf(n) {
			cut, err := l.IsCut(ctx, n, net)
			if err == nil && cut {
				err = l.Mend(ctx, n, net)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := l.UnmuteSAN(ctx, nodeSAN); err != nil {
		return err
	}
	if _, err := l.lives(nodeSAN, isTarget); err != nil {
		if err := l.StartSAN(ctx); err != nil {
			return err
		}
	}
	if _, err := l.lives(nodeController, isController); err != nil || l.Controllers > 1 {
		if err := l.StartController(ctx); err != nil {
			return err
		}
	}
	for _, h := range Hosts() {
		if _, err := l.lives(h, isAgent); err != nil {
			if err := l.StartAgent(ctx, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// writes waits until so many more records are on the LUN, of the server's present
// epoch.
func (s *Stage) writes(ctx context.Context, more uint64) error {
	from, _, _ := s.watch.Last()
	return s.await(ctx, func() (bool, error) {
		now, epoch, _ := s.watch.Last()
		st, err := s.status(ctx)
		if err != nil {
			return false, err
		}
		return now >= from+more && epoch == uint64(st.Epoch),
			fmt.Errorf("%s wrote %d records, the last one as epoch %d; its epoch is %d", s.server, now-from, epoch, st.Epoch)
	})
}

// events lists what the controller recorded about the server from a time on.
func (s *Stage) events(ctx context.Context, since time.Time) ([]event.Event, error) {
	var out []event.Event
	q := client.EventQuery{Since: since, Server: s.server}
	for {
		page, err := s.api.Events(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Items {
			out = append(out, e.Event)
		}
		if page.Next == "" || len(page.Items) == 0 {
			return out, nil
		}
		q.After = page.Next
	}
}

// collect remembers when epochs were fenced at the array. Evidence by another
// method says that an instance has ended, and a write of its may still be on its
// way through the array then.
func (s *Stage) collect(events []event.Event) {
	for _, e := range events {
		for _, ev := range e.Evidence {
			f := check.Fence{Epoch: uint64(ev.Epoch), At: ev.At}
			if ev.Method == fleet.InitiatorRemoved && ev.Server == s.server && !slices.Contains(s.fences, f) {
				s.fences = append(s.fences, f)
			}
		}
	}
}

// judge holds the LUN against all that was acknowledged and fenced so far.
func (s *Stage) judge(ctx context.Context, since time.Time) (check.Findings, error) {
	events, err := s.events(ctx, since)
	if err != nil {
		return check.Findings{}, err
	}
	s.collect(events)
	return s.watch.Judge(s.ears.Acked(s.server), s.fences)
}

// Explain tells for people what the engine says of the server, after a case that
// failed.
func (s *Stage) Explain(out io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	why, err := s.api.Why(ctx, s.server)
	if err != nil {
		fmt.Fprintf(out, "  why %s: %v\n", s.server, err)
		return
	}
	fmt.Fprintf(out, "  %s\n  %s\n  %s\n", why.Headline(time.Now()), why.Now(), why.ProofLine())
	for _, e := range why.Events[max(len(why.Events)-12, 0):] {
		fmt.Fprintf(out, "    %s  %s  %s\n", e.Event.At.Format("15:04:05.000"), e.Event.Kind, e.Event.Message)
	}
	fmt.Fprintf(out, "  logs: %s\n", s.Lab.Dir())
}
