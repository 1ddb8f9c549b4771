package agent

import (
	"context"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

const (
	// askAhead is how long before the end of the lease the heirs are asked, so that
	// their answers are there when it ends.
	askAhead = askWithin + 200*time.Millisecond
	// askPace is the time between two rounds of asking, and answersFor how long the
	// answers of one round let an instance run.
	askPace    = time.Second
	answersFor = askPace + askWithin + 500*time.Millisecond
	// firstGrace is how long an agent that just started waits for its first lease:
	// the one of the agent before it is not known.
	firstGrace = 3 * time.Second
)

// incarnation is an instance by its name.
type incarnation struct {
	server string
	epoch  fleet.Epoch
}

// isolation decides, for the servers with onIsolation: stop, whether their
// instances may go on without a lease. It is a step machine; times are the
// agent's lease clock.
type isolation struct {
	start  int64
	rounds map[incarnation]*round
}

// round is the asking of one instance's heirs.
type round struct {
	begun  int64
	asking bool
	ended  int64
	answer fleet.Answer
	told   bool // to stop
}

// verdicts are what is to be done now.
type verdicts struct {
	ask, stop []incarnation
	// next is when to step again.
	next int64
}

func newIsolation(now int64) *isolation {
	return &isolation{start: now, rounds: map[incarnation]*round{}}
}

// step looks at the running instances of servers with onIsolation: stop. leaseUntil
// is when the lease ends, 0 if none was ever granted.
func (m *isolation) step(now, leaseUntil int64, running []incarnation) verdicts {
	if leaseUntil == 0 {
		leaseUntil = m.start + int64(firstGrace)
	}
	for i := range m.rounds {
		if !slices.Contains(running, i) {
			delete(m.rounds, i)
		}
	}
	out := verdicts{next: now + int64(askPace)/4}
	if now < leaseUntil-int64(askAhead) {
		// Told instances stay told: a lease that comes back does not undo a stop
		// that is under way.
		for i, r := range m.rounds {
			if !r.told && !r.asking {
				delete(m.rounds, i)
			}
		}
		out.next = min(out.next, leaseUntil-int64(askAhead))
		return out
	}
	for _, i := range running {
		r := m.rounds[i]
		if r == nil {
			r = &round{}
			m.rounds[i] = r
		}
		switch {
		case r.asking || r.told:
		case r.begun == 0 || now-r.begun >= int64(askPace):
			r.begun, r.asking = now, true
			out.ask = append(out.ask, i)
		}
		if m.mustStop(now, leaseUntil, r) {
			r.told = true
			out.stop = append(out.stop, i)
		}
	}
	return out
}

// mustStop is true if somebody else was given the server, or if the lease has
// ended and nobody could be asked.
func (m *isolation) mustStop(now, leaseUntil int64, r *round) bool {
	switch {
	case r.told:
		return false
	case r.ended != 0 && r.answer == fleet.Yes:
		return true
	case now < leaseUntil:
		return false
	case r.ended != 0:
		return r.answer != fleet.No || now-r.ended > int64(answersFor)
	default:
		// The first round still has its time. It began before the lease ended,
		// unless the host slept.
		return !r.asking || now-r.begun > int64(askAhead)
	}
}

// answered takes the result of a round.
func (m *isolation) answered(now int64, i incarnation, answer fleet.Answer) {
	if r := m.rounds[i]; r != nil {
		r.asking, r.ended, r.answer = false, now, answer
	}
}

// guard runs the isolation machine.
func (a *Agent) guard(ctx context.Context) {
	m := newIsolation(a.opt.Clock())
	type told struct {
		i      incarnation
		answer fleet.Answer
	}
	answers := make(chan told)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-answers:
			m.answered(a.opt.Clock(), t.i, t.answer)
		case <-timer.C:
		}
		now := a.opt.Clock()
		v := m.step(now, a.lease().Until, a.selfFencing())
		for _, i := range v.ask {
			a.tasks.Go(func() {
				answer := a.askHeirs(ctx, i.server, i.epoch)
				select {
				case answers <- told{i, answer}:
				case <-ctx.Done():
				}
			})
		}
		for _, i := range v.stop {
			a.opt.Log.Warn("self-fence: no lease, and a host that could take the server over has it or cannot be asked", "server", i.server, "epoch", i.epoch)
			a.tasks.Go(func() {
				if err := a.opt.Driver.End(ctx, i.server, i.epoch); err != nil {
					a.opt.Log.Error("self-fence failed", "server", i.server, "epoch", i.epoch, "error", err)
				}
			})
		}
		timer.Reset(max(time.Duration(v.next-a.opt.Clock()), time.Millisecond))
	}
}

// selfFencing lists the running instances whose servers ask to be stopped when the
// host is cut off.
func (a *Agent) selfFencing() []incarnation {
	stop := map[string]bool{}
	for _, s := range a.memory.watched().Servers {
		stop[s.Server] = s.OnIsolation == fleet.IsolationStop
	}
	var out []incarnation
	for _, i := range a.opt.Driver.Instances() {
		if stop[i.Server] && i.State != fleet.InstanceReaped && i.Alive != fleet.No {
			out = append(out, incarnation{i.Server, i.Epoch})
		}
	}
	return out
}
