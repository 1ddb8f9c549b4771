package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"relight/internal/api/client"
	"relight/internal/controller"
	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/sim"
	"relight/internal/simulate/oracle"
	"relight/internal/spec"
)

// brain is one controller process: the real controller, with its own clock, its
// own links and its own death.
type brain struct {
	e    *engine
	name string
	// life counts its starts: what was meant for an older life is dropped.
	life   int
	solo   *controller.Solo
	up     bool
	begun  bool
	frozen bool
	// stalls is true while a fault lets it freeze at its next call; see perform.
	stalls bool
	// waiting is what came while it was frozen; it is taken up at the thaw.
	waiting []func()
	busy    map[string]bool
	// heard is when a beat of each host last reached it.
	heard     map[string]time.Time
	noHosts   bool // its links to hosts and platforms are cut
	noStore   bool // its link to the store is cut
	drift     int64
	day       day  // its machine's time of day
	killed    bool // a fault killed it inside of a call; see armed
	armed     string
	takenOver bool
}

func newBrain(e *engine, name string) *brain {
	b := &brain{e: e, name: name}
	if e.sc.Drift > 0 {
		b.drift = e.rng.Int64N(2*e.sc.Drift+1) - e.sc.Drift
	}
	return b
}

// Now implements controller.Clock: the world's time on a clock that drifts, and may jump.
func (b *brain) Now() time.Time { return b.local(b.e.clock.Now()) }

func (b *brain) local(t time.Time) time.Time {
	steady := t.Add(time.Duration(int64(t.Sub(Start)) / 1e6 * b.drift))
	if !b.e.jumps || t.IsZero() {
		return steady
	}
	return reading(steady.Add(b.day.off(t)), steady.Sub(Start))
}

func (b *brain) reigns() bool { return b.up && b.begun && !b.takenOver }

// later runs f in d, if this life lasts, and not while the process is frozen.
func (b *brain) later(d time.Duration, f func()) {
	life := b.life
	b.e.world.After(d, func() { b.run(life, f) })
}

func (b *brain) run(life int, f func()) {
	switch {
	case b.life != life || !b.up:
	case b.frozen:
		b.waiting = append(b.waiting, func() { b.run(life, f) })
	default:
		f()
	}
}

// boot starts the process. It reads the store, waits for the controller before it
// and takes the term.
func (b *brain) boot() {
	if b.up {
		return
	}
	b.life++
	b.up, b.begun, b.frozen, b.killed, b.takenOver, b.waiting = true, false, false, false, false, nil
	b.busy, b.heard = map[string]bool{}, map[string]time.Time{}
	prov := &tap{b: b, inner: sim.New(b.e.world, sim.Options{
		AttachFirst: b.e.sc.Style != Cloud, Rungs: rungsOf(b.e.sc.Style), Faults: b.callFault, Executed: b.e.executed(b.name),
		Fleeting: b.e.fleeting, Marks: b.marks,
		Hearing: &sim.Hearing{Lost: func() bool { return b.noHosts }, Beat: func(h string) time.Time { return b.heard[h] }, Contact: contactFor},
	})}
	solo, err := controller.NewSolo(context.Background(), controller.SoloOptions{
		Store: &vault{Store: b.e.store, b: b}, Clock: b, Providers: map[string]provider.Provider{"sim": prov},
		Owner: b.name, Lease: leaseFor, Contact: contactFor, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.up = false
		b.again()
		return
	}
	b.solo = solo
	life := b.life
	solo.Journal.Listen(func(batch []controller.Recorded) {
		for _, r := range batch {
			if b.life == life {
				b.e.told(b.name, r.Event)
			}
		}
	})
	// A single controller holds the lock of its store: whoever starts knows that
	// the one before is dead. Several cannot know it, and wait.
	b.later(solo.Reign.WaitFor(b.e.sc.Controllers <= 1), b.begin)
}

// marks is what its journal says of fences on arrays.
func (b *brain) marks(server string) fleet.Epoch {
	return decide.Fenced(b.solo.State.Status(server))
}

// rungsOf are the rungs of a style. A keeper restarts its application in place
// only by a new instance.
func rungsOf(s Style) []fleet.Rung {
	if s == Cloud {
		return nil
	}
	return []fleet.Rung{fleet.RestartApp, fleet.Relaunch, fleet.Move}
}

// again starts the process once more after a while, as its supervisor does.
func (b *brain) again() {
	life := b.life
	b.e.world.After(restartAfter, func() {
		if b.life == life && !b.up {
			b.boot()
		}
	})
}

// die ends the process: nothing of it is left but what it wrote and sent.
func (b *brain) die() {
	if !b.up {
		return
	}
	b.e.line("crash", "controller "+b.name)
	b.e.oracle.Disturbed()
	b.up, b.begun = false, false
	b.life++
	b.again()
}

// failed ends the process if the error means that it has to end.
func (b *brain) failed(err error) bool {
	switch {
	case b.killed:
		b.killed = false
		b.die()
		return true
	case errors.Is(err, controller.ErrLostAuthority):
		b.e.line("yields", "controller "+b.name+": another one has taken the term")
		b.e.oracle.Disturbed()
		b.up, b.begun, b.takenOver = false, false, true
		b.life++
		return true
	}
	return false
}

func (b *brain) begin() {
	err := b.solo.Begin(context.Background())
	if b.failed(err) {
		return
	}
	if err != nil {
		b.later(time.Second, b.begin)
		return
	}
	first := !b.begun
	b.begun = true
	b.e.oracle.Disturbed()
	b.e.restored(b)
	if first {
		b.declare()
		b.tick()
		b.sweep()
		b.later(leaseFor/4, b.renew)
	}
}

// declare applies the specs once, as the first person does.
func (b *brain) declare() {
	if len(b.solo.State.Servers()) > 0 || len(b.e.docs) < len(b.e.applied) {
		return // done, or people have deleted them since
	}
	err := b.solo.Apply(context.Background(), "eve", "spec.yaml", b.e.sc.Spec)
	if b.failed(err) {
		return
	}
	if refusedSpec(err) {
		b.e.fail(err) // nothing of the scenario would be played, and no fault be found
		return
	}
	if err != nil {
		b.later(time.Second, b.declare)
	}
}

// refusedSpec tells a document that the product refuses from trouble with the store,
// after which the person tries again.
func refusedSpec(err error) bool {
	var refused *client.Problem
	var wrong spec.Problems
	return errors.As(err, &refused) || errors.As(err, &wrong)
}

func (b *brain) tick() {
	b.solo.AskStore(context.Background())
	for _, name := range b.solo.Due() {
		if b.busy[name] {
			b.solo.Deadlines.Wake(name, b.Now().Add(tickEvery))
			continue
		}
		if !b.advance(name) {
			return
		}
	}
	b.later(tickEvery, b.tick)
}

func (b *brain) sweep() {
	err := b.solo.Sweep(context.Background())
	if b.failed(err) {
		return
	}
	b.later(sweepEvery, b.sweep)
}

func (b *brain) renew() {
	if b.failed(b.solo.Reign.Renew(context.Background())) {
		return
	}
	b.later(leaseFor/4, b.renew)
}

// advance takes a server to its next step and sends the call. It reports false if
// the process died over it.
func (b *brain) advance(name string) bool {
	w, d, err := b.solo.Advance(context.Background(), name)
	if b.e.watch != nil {
		b.e.watch(name, d, err)
	}
	if b.failed(err) {
		return false
	}
	if w == nil {
		return true
	}
	b.busy[name] = true
	b.later(b.e.draw(b.e.sc.Delays.Call), func() { b.perform(w) })
	return true
}

func (b *brain) perform(w *controller.Work) {
	if b.stalls {
		b.stalls = false
		b.e.line("stalls", fmt.Sprintf("controller %s before it asks for: %s", b.name, w.Call.Step.Why))
		b.freeze()
		b.run(b.life, func() { b.perform(w) })
		return
	}
	out, err := b.solo.Healer.Perform(context.Background(), w)
	if b.failed(nil) {
		return
	}
	b.later(b.e.draw(b.e.sc.Delays.Call), func() { b.finish(w, out, err) })
}

func (b *brain) finish(w *controller.Work, out provider.Outcome, stepErr error) {
	delete(b.busy, w.Name)
	err := b.solo.Finish(context.Background(), w, out, stepErr)
	if !b.failed(err) {
		b.advance(w.Name)
	}
}

// freeze stops the process without killing it; thaw lets it go on, with all that
// waited for it.
func (b *brain) freeze() { b.frozen = true }

func (b *brain) thaw() {
	if !b.frozen {
		return
	}
	b.frozen = false
	waiting := b.waiting
	b.waiting = nil
	for _, f := range waiting {
		f()
	}
}

func (b *brain) mend() {
	b.noHosts, b.noStore, b.stalls, b.armed = false, false, false, ""
	b.thaw()
}

// tap is a provider as one controller has it: on its clock, over its links, and
// with the oracle listening.
type tap struct {
	b     *brain
	inner *sim.Provider
}

// Traits implements provider.Provider.
func (t *tap) Traits() fleet.Traits { return t.inner.Traits() }

// Wakes implements provider.Provider: the simulated controller sweeps only.
func (t *tap) Wakes() <-chan string { return nil }

// Observe implements provider.Provider.
func (t *tap) Observe(ctx context.Context, servers []fleet.Server) (provider.Sweep, error) {
	sweep, err := t.inner.Observe(ctx, servers)
	if err == nil && t.b.e.jumps {
		t.b.e.reported(&sweep)
	}
	if err == nil && (t.b.drift != 0 || t.b.e.jumps) {
		t.b.stamp(&sweep)
	}
	return sweep, err
}

// Do implements provider.Provider.
func (t *tap) Do(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	b := t.b
	if b.strikes("before-call") {
		return provider.Outcome{}, errCrash
	}
	b.e.oracle.Sent(oracle.Call{At: b.e.clock.Now(), By: b.name, Authority: b.solo.Reign.Authority(), Call: call})
	out, err := t.inner.Do(ctx, call)
	b.e.oracle.Called(oracle.Call{
		At: b.e.clock.Now(), By: b.name, Authority: b.solo.Reign.Authority(), Call: call, Out: out, Err: err,
	})
	if b.strikes("after-call") {
		return provider.Outcome{}, errCrash
	}
	for n := range out.Evidence {
		out.Evidence[n].At = b.local(out.Evidence[n].At)
	}
	return out, err
}

// strikes reports that an armed death is due at this point.
func (b *brain) strikes(point string) bool {
	if b.armed != point {
		return false
	}
	b.armed, b.killed = "", true
	return true
}

// stamp turns the world's times of a sweep into those of the controller's clock.
func (b *brain) stamp(sweep *provider.Sweep) {
	signals := func(list []fleet.Signal) {
		for i := range list {
			list[i].At, list[i].Since = b.local(list[i].At), b.local(list[i].Since)
		}
	}
	sweep.At = b.local(sweep.At)
	for n := range sweep.Servers {
		s := &sweep.Servers[n]
		signals(s.Signals)
		o := &s.Observed
		o.At = b.local(o.At)
		for i := range o.Instances {
			o.Instances[i].At, o.Instances[i].Since = b.local(o.Instances[i].At), b.local(o.Instances[i].Since)
		}
		for i := range o.Volumes {
			o.Volumes[i].At = b.local(o.Volumes[i].At)
		}
		for i := range o.Addresses {
			o.Addresses[i].At = b.local(o.Addresses[i].At)
		}
	}
	for n := range sweep.Hosts {
		signals(sweep.Hosts[n].Signals)
		sweep.Hosts[n].Host.Since = b.local(sweep.Hosts[n].Host.Since)
	}
}
