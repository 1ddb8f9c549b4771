package simulate

import (
	"slices"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	"relight/internal/simulate/oracle"
	"relight/internal/world"
)

// calm ends all faults and mends what they left: hosts run, links are whole,
// people lift their guards, a controller runs.
func (e *engine) calm() {
	e.line("calm", "all faults end")
	for _, end := range e.ends {
		end()
	}
	e.ends = nil
	e.mischief = mischief{}
	for _, name := range slices.Clone(e.world.Hosts()) {
		_ = e.world.StartHost(name)
		_ = e.world.ThawHost(name)
		_ = e.world.UnmuteHost(name)
		_ = e.world.CutHost(name, world.Cut{})
		_ = e.world.CloseHost(name, "")
	}
	for _, b := range e.brains {
		b.mend()
	}
	if e.reigning() == nil {
		e.brains[0].boot()
	}
	e.world.After(switchOnAfter, e.switchOn)
}

// switchOnAfter is how long people take, once all is calm, to switch on a host
// that Relight has switched off: it never does that itself.
const switchOnAfter = 30 * time.Second

func (e *engine) switchOn() {
	for _, name := range e.world.Hosts() {
		if e.world.Host(name).Dead {
			e.line("person", "switches "+name+" on")
			_ = e.world.StartHost(name)
		}
	}
	e.world.After(switchOnAfter, e.switchOn)
}

// The end of a settled run: once every server has been healthy for settledFor, what
// comes would only repeat itself.
const (
	settledLook = 15 * time.Second
	settledFor  = 3 * time.Minute
)

// settle lets the calm go on until all has come to rest, at most until the given
// time.
func (e *engine) settle(until time.Time) {
	since := e.clock.Now()
	for e.ok() && e.clock.Now().Before(until) {
		if !e.allHealthy() {
			since = e.clock.Now()
		}
		if e.clock.Now().Sub(since) >= settledFor {
			return
		}
		next := e.clock.Now().Add(settledLook)
		if next.After(until) {
			next = until
		}
		e.turn(next)
	}
}

func (e *engine) allHealthy() bool {
	b := e.reigning()
	if b == nil {
		return false
	}
	for _, s := range b.solo.State.Servers() {
		if st := b.solo.State.Status(s.Name); st.Phase != fleet.PhaseRunning || st.Recovery != nil || b.solo.Look(s.Name).Verdict != fleet.Healthy {
			return false
		}
	}
	return true
}

// pauseFor bounds how long the end of a run waits for what has begun a moment ago: who
// asks again and again for room that nobody has is at rest between two tries, not
// within one; nor is one at rest whose recovery begins now that people's late consent
// fits, or whose beats were lost in the last seconds. What goes on for longer is held
// against L1.
const pauseFor = time.Minute

func (e *engine) pause() {
	for until := e.clock.Now().Add(pauseFor); e.ok() && e.trying() && e.clock.Now().Before(until); {
		e.turn(e.clock.Now().Add(tickEvery))
	}
}

// trying reports that the reigning controller has something under way or due, or doubts
// something, that was not so a while ago.
func (e *engine) trying() bool {
	b := e.reigning()
	return b != nil && slices.ContainsFunc(b.solo.State.Servers(), func(s fleet.Server) bool {
		st, sight := b.solo.State.Status(s.Name), b.solo.Look(s.Name)
		lately := func(t time.Time) bool { return b.Now().Sub(t) < pauseFor }
		switch {
		case b.busy[s.Name], sight.Due:
			return true
		case st.Recovery != nil:
			return !sight.NeedsPerson && lately(st.Recovery.Begun)
		default:
			return doubts(sight.Verdict) && (sight.Verdict != st.Verdict || lately(st.VerdictSince))
		}
	})
}

// doubts reports a verdict that comes and goes where beats get lost.
func doubts(v fleet.Verdict) bool {
	return v == fleet.Suspect || v == fleet.Unknown || v == fleet.Isolated
}

// rest holds the end against the promises of what comes to rest.
func (e *engine) rest() {
	b := e.reigning()
	if b == nil {
		e.oracle.Rest(nil)
		return
	}
	ends := []oracle.End{}
	for _, s := range b.solo.State.Servers() {
		end := e.endOf(b, s.Name)
		ends = append(ends, oracle.End{
			Server: end.Server, Phase: end.Phase, Verdict: end.Verdict, Epoch: end.Epoch, Reason: end.Reason,
			NeedsPerson: end.NeedsPerson, NoPlace: end.Gate == decide.GatePlacement, Budget: end.Gate == decide.GateBudget,
		})
	}
	e.oracle.Rest(ends)
}

func (e *engine) endOf(b *brain, server string) EndState {
	st := b.solo.State.Status(server)
	why := b.solo.Look(server)
	return EndState{Server: server, Phase: st.Phase, Verdict: why.Verdict, Epoch: st.Epoch, Host: st.Host, Reason: why.Reason, Gate: why.Gate, NeedsPerson: why.NeedsPerson}
}
