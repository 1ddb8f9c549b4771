package lease

import (
	"maps"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// The times of isolation. They are constants because the controllers' waiting
// does not depend on them: self-fencing helps, and proves nothing.
const (
	// AskWithin is how long the heirs have to answer one round.
	AskWithin = time.Second
	// AskAhead is how long before the end of the lease the heirs are asked, so that
	// their answers are there when it ends.
	AskAhead = AskWithin + 200*time.Millisecond
	// AskPace is the time between two rounds of asking, and AnswersFor how long the
	// answers of one round let an instance run.
	AskPace    = time.Second
	AnswersFor = AskPace + AskWithin + 500*time.Millisecond
	// FirstGrace is how long an agent that just started waits for its first lease:
	// the one of the agent before it is not known.
	FirstGrace = 3 * time.Second
)

// Instance names one instance of a server.
type Instance struct {
	Server string
	Epoch  fleet.Epoch
}

// SelfFences reports whether Isolation has a say about an instance: its server
// asks for it, and the instance may still run.
func SelfFences(policy fleet.OnIsolation, state fleet.InstanceState, alive fleet.Answer) bool {
	return policy == fleet.IsolationStop && state != fleet.InstanceReaped && alive != fleet.No
}

// Together is the answer of all heirs to "were you given a higher epoch?": yes if
// any was, no if all say no, also if there are none, else it cannot be told.
func Together(heirs []fleet.Answer) fleet.Answer {
	all := fleet.No
	for _, answer := range heirs {
		switch {
		case answer == fleet.Yes:
			return fleet.Yes
		case answer != fleet.No:
			all = fleet.CannotTell
		}
	}
	return all
}

// Isolation decides, for the servers with onIsolation: stop, whether their
// instances may go on without a lease: only while every other host that could take
// them over has lately said that it was given no higher epoch. It is a step
// machine for one goroutine; times are the host's lease clock. It keeps nothing
// over a restart of the agent, see FirstGrace.
type Isolation struct {
	start  int64
	rounds map[Instance]*round
}

// round is the asking of one instance's heirs.
type round struct {
	begun  int64
	asking bool
	ended  int64
	answer fleet.Answer
	told   bool // to stop
}

// Question is one asking of an instance's heirs. At is when they were asked: an answer
// is as old as its question, however late it is read.
type Question struct {
	Instance
	At int64
}

// Actions are what is to be done now.
type Actions struct {
	// Ask are the questions to put to the heirs. Each is answered by
	// [Isolation.Answered] within about AskWithin, whatever came of it; one that is not,
	// because the host stood still meanwhile, is forgotten.
	Ask []Question
	// Stop names the instances that must be stopped at once. Each is named once:
	// whoever stops it tries until it has.
	Stop []Instance
	// Next is when to call Step again at the latest.
	Next int64
}

// NewIsolation returns the machine of an agent that starts now.
func NewIsolation(now int64) *Isolation {
	return &Isolation{start: now, rounds: map[Instance]*round{}}
}

// Step looks at the running instances for which [SelfFences] is true. leaseUntil is
// when the lease ends by [HolderDeadline], 0 if none was ever granted.
func (m *Isolation) Step(now, leaseUntil int64, running []Instance) Actions {
	if leaseUntil == 0 {
		leaseUntil = m.start + int64(FirstGrace)
	}
	maps.DeleteFunc(m.rounds, func(i Instance, _ *round) bool { return !slices.Contains(running, i) })
	out := Actions{Next: now + int64(AskPace)/4}
	if now < leaseUntil-int64(AskAhead) {
		// Told instances stay told: a lease that comes back does not undo a stop
		// that is under way.
		maps.DeleteFunc(m.rounds, func(_ Instance, r *round) bool { return !r.told && !r.waits(now) })
		out.Next = min(out.Next, leaseUntil-int64(AskAhead))
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
		case r.begun == 0 || now-r.begun >= int64(AskPace):
			r.begun, r.asking = now, true
			out.Ask = append(out.Ask, Question{i, now})
		}
		if mustStop(now, leaseUntil, r) {
			r.told = true
			out.Stop = append(out.Stop, i)
		}
	}
	return out
}

// mustStop is true if somebody else was given the server, or if the lease has
// ended and nobody could be asked.
func mustStop(now, leaseUntil int64, r *round) bool {
	switch {
	case r.told:
		return false
	case r.ended != 0 && r.answer == fleet.Yes:
		return true
	case now < leaseUntil:
		return false
	case r.ended != 0:
		return r.answer != fleet.No || now-r.ended > int64(AnswersFor)
	default:
		// The first round still has its time. It began before the lease ended,
		// unless the host slept.
		return !r.waits(now)
	}
}

// waits reports that the round may still be answered.
func (r *round) waits(now int64) bool { return r.asking && now-r.begun <= int64(AskAhead) }

// Answered takes the result of a round, see [Together]. What was read after the host
// stood still is old: nobody knows what the heirs were given since.
func (m *Isolation) Answered(now int64, q Question, heirs fleet.Answer) {
	if r := m.rounds[q.Instance]; r != nil && r.begun == q.At {
		r.asking, r.ended, r.answer = false, min(now, q.At+int64(AskAhead)), heirs
	}
}
