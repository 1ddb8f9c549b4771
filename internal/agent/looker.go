package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"relight/internal/beat/app"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// volumePace is the time between two looks at a volume.
const volumePace = 500 * time.Millisecond

// looker is one thing that the agent looks at again and again, in a goroutine of
// its own: a volume on a file server that hangs must not hold up anything else.
type looker struct {
	// what says exactly what is looked at; another one replaces the looker.
	what   string
	cancel context.CancelFunc
	nudge  chan struct{}
	done   chan struct{}
}

// wanted is a looker that should run.
type wanted struct {
	what string
	run  func(ctx context.Context, nudge <-chan struct{})
}

// reconcile starts and ends lookers so that those of the present watch and the
// present instances run. It is called from one goroutine.
func (a *Agent) reconcile(ctx context.Context) {
	want := a.wanted()
	for key, l := range a.lookers {
		if w, ok := want[key]; !ok || w.what != l.what {
			l.cancel()
			// Its last word must not come after its successor's first.
			<-l.done
			delete(a.lookers, key)
		}
	}
	for key, w := range want {
		if a.lookers[key] != nil {
			continue
		}
		lctx, cancel := context.WithCancel(ctx)
		l := &looker{what: w.what, cancel: cancel, nudge: make(chan struct{}, 1), done: make(chan struct{})}
		a.lookers[key] = l
		a.tasks.Go(func() {
			defer close(l.done)
			w.run(lctx, l.nudge)
		})
	}
}

// nudgeVolumes has the volumes looked at now, because instances have changed.
func (a *Agent) nudgeVolumes() {
	for key, l := range a.lookers {
		if key[0] == 'v' {
			select {
			case l.nudge <- struct{}{}:
			default:
			}
		}
	}
}

// wanted lists what is to be looked at.
func (a *Agent) wanted() map[string]wanted {
	out := map[string]wanted{}
	live := map[string]bool{}
	for _, i := range a.opt.Driver.Instances() {
		live[i.Server] = live[i.Server] || i.Alive == fleet.Yes
	}
	watch := a.memory.watched()
	checks := map[string]fleet.Check{}
	for _, w := range watch.Servers {
		checks[w.Server] = w.Check
		a.wantVolumes(out, w)
		if w.Probe != nil && !live[w.Server] {
			s := subject{server: w.Server}
			out["probe "+w.Server] = wanted{what: fmt.Sprint(*w.Probe), run: func(ctx context.Context, _ <-chan struct{}) {
				a.repeat(ctx, a.board.probes, s, *w.Probe, nil)
			}}
		}
	}
	for _, i := range a.opt.Driver.Instances() {
		a.wantRivals(out, i)
		c, known := checks[i.Server]
		if !known || c.IsZero() || i.Alive != fleet.Yes {
			continue
		}
		s := subject{server: i.Server, epoch: i.Epoch}
		run := func(ctx context.Context, _ <-chan struct{}) { a.repeat(ctx, a.board.checks, s, c, a.sureOf(i, c)) }
		if c.Beat {
			run = func(ctx context.Context, _ <-chan struct{}) { a.listen(ctx, s, c) }
		}
		out[fmt.Sprintf("check %s %d", i.Server, i.Epoch)] = wanted{what: fmt.Sprint(c), run: run}
	}
	for _, p := range watch.Portals {
		out["portal "+p.Addr] = wanted{run: func(ctx context.Context, _ <-chan struct{}) { a.tryPortal(ctx, p.Addr) }}
	}
	for _, p := range watch.Peers {
		if p.Ping && p.Addr != "" && a.peers != nil {
			out["host "+p.Host] = wanted{what: fmt.Sprint(p), run: func(ctx context.Context, _ <-chan struct{}) { a.pingOn(ctx, p) }}
		}
	}
	return out
}

func (a *Agent) wantVolumes(out map[string]wanted, w link.WatchedServer) {
	for _, v := range w.Volumes {
		if v.Path == "" {
			continue
		}
		out["volume "+v.Path] = wanted{run: func(ctx context.Context, nudge <-chan struct{}) {
			tick := time.NewTicker(volumePace)
			defer tick.Stop()
			for {
				a.inspect(ctx, v.Path)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				case <-nudge:
				}
			}
		}}
	}
}

// inspect looks at a volume and waits for that until ctx ends. A look at a file
// server that hangs goes on alone, and nobody waits for it.
func (a *Agent) inspect(ctx context.Context, dir string) {
	if dir == "" {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		began := a.opt.Clock()
		st, err := a.opt.Inspect(dir)
		a.board.putVolume(dir, st, err, began)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// repeat makes a check again and again, eagerly until the first yes.
func (a *Agent) repeat(ctx context.Context, on map[subject]sight, s subject, c fleet.Check, sure func() bool) {
	defer a.board.drop(on, s)
	pace := min(eager, interval(c))
	for {
		began := time.Now()
		saw := look(ctx, c)
		if ctx.Err() != nil {
			return
		}
		if saw.works == fleet.Yes && sure != nil && !sure() {
			saw = sight{detail: "it is not known yet whether somebody else answers for its address"}
		}
		a.board.put(on, s, saw)
		if saw.works == fleet.Yes || s.epoch == 0 {
			pace = interval(c)
		}
		if !pause(ctx, pace-time.Since(began)) {
			return
		}
	}
}

// listen takes an application's own heartbeats as its check: it works while they
// come within the check's timeout.
func (a *Agent) listen(ctx context.Context, s subject, c fleet.Check) {
	defer a.board.drop(a.board.checks, s)
	l, err := app.Listen(a.beatSocket(s.server, s.epoch))
	if err != nil {
		a.board.put(a.board.checks, s, sight{detail: "this host cannot listen: " + err.Error()})
		<-ctx.Done()
		return
	}
	beats := make(chan uint64, 1)
	a.tasks.Go(func() {
		_ = l.Run(ctx, func(progress uint64) {
			select {
			case beats <- progress:
			case <-ctx.Done():
			}
		})
	})
	silence := time.NewTimer(timeout(c))
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case progress := <-beats:
			a.board.put(a.board.checks, s, sight{works: fleet.Yes, progress: progress})
		case <-silence.C:
			saw := sight{works: fleet.No, detail: fmt.Sprintf("no heartbeat for %s", timeout(c))}
			if a.unheard(s) {
				saw = sight{detail: saw.detail + ", but it does I/O"}
			}
			a.board.put(a.board.checks, s, saw)
		}
		silence.Reset(timeout(c))
	}
}

// unheard reports whether the instance is silent and works all the same.
func (a *Agent) unheard(s subject) bool {
	return slices.ContainsFunc(a.opt.Driver.Instances(), func(i Instance) bool {
		return i.Server == s.server && i.Epoch == s.epoch && i.Unheard
	})
}

// beatSocket is where an instance's heartbeats come in. Its name is short, because
// a socket's address holds 107 bytes.
func (a *Agent) beatSocket(server string, epoch fleet.Epoch) string {
	return filepath.Join(a.opt.Dir, "beat", shortName(server, epoch)+".sock")
}

// pause waits for d; it returns false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(d, time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
