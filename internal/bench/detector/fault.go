package detector

import (
	"fmt"
	"math/rand/v2"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
)

// Fault is what happens to an observer: the controller, or a host that looks at
// others.
type Fault string

// The faults of an observer.
const (
	FrozenController  Fault = "controller frozen"
	StarvedController Fault = "controller starved"
	CutController     Fault = "controller cut off"
	DeafController    Fault = "controller hears nothing"
	MuteController    Fault = "controller reaches nobody"
	FrozenWitness     Fault = "witness frozen"
	CutWitness        Fault = "witness cut off from the network"
)

// Faults lists all of them.
func Faults() []Fault {
	return []Fault{FrozenController, StarvedController, CutController, DeafController, MuteController, FrozenWitness, CutWitness}
}

// The shortest and longest fault, and the fleet of each trial.
const (
	shortestFault, longestFault = 5 * time.Second, 60 * time.Second
	trialHosts                  = 12
	afterFault                  = 20 * time.Second
)

// Trial is one observer's fault in a fleet that is well.
type Trial struct {
	Seed  uint64
	Fault Fault
	Loss  float64
	Lasts time.Duration
	// Recoveries is, by setting, how many live servers on hosts without a fault were
	// judged down by two vantage points, which starts a recovery.
	Recoveries []int
	// First tells the first of them, for people.
	First string
}

// RunTrial draws one trial by its seed. All settings look at the same fleet.
func RunTrial(seed uint64, settings []Setting) Trial {
	rng := rand.New(rand.NewPCG(seed, 6)) //nolint:gosec // a trial repeats itself by its seed
	faults := Faults()
	t := Trial{
		Seed: seed, Fault: faults[seed%uint64(len(faults))], Loss: float64(rng.IntN(4)) / 10,
		Lasts: shortestFault + time.Duration(rng.Int64N(int64(longestFault-shortestFault))),
	}
	from := settle + time.Duration(rng.Int64N(int64(2*time.Second)))
	to := from + t.Lasts
	net := NewNetwork(Scenario{Loss: t.Loss}, trialHosts, 1, to+afterFault, seed)
	victim := rng.IntN(trialHosts)
	w := newWorld(Plan{Members: trialHosts, Seed: seed, Settings: settings}, net)
	switch c := w.controller; t.Fault {
	case FrozenController:
		net.Pause(c, from, to)
	case StarvedController:
		for at := from; at < to; {
			stall := 200*time.Millisecond + time.Duration(rng.Int64N(int64(4*time.Second)))
			net.Pause(c, at, at+stall)
			at += stall + 50*time.Millisecond + time.Duration(rng.Int64N(int64(time.Second)))
		}
	case CutController:
		net.Cut(c, from, to, true, true)
	case DeafController:
		net.Cut(c, from, to, true, false)
	case MuteController:
		net.Cut(c, from, to, false, true)
	case FrozenWitness:
		net.Pause(victim, from, to)
	case CutWitness:
		net.Cut(victim, from, to, true, true)
	}
	if t.Fault != FrozenWitness && t.Fault != CutWitness {
		victim = -1
	}
	t.Recoveries = make([]int, len(settings))
	for k, o := range w.observers {
		o.started = func(i int, f fleet.Finding, state detect.Observer) {
			if i == victim {
				return // it looks dead itself: nobody could tell
			}
			t.Recoveries[k]++
			if t.First == "" {
				t.First = fmt.Sprintf("seed %d, %s for %s at %.0f %% loss, %s: at %+d ms of its end, %s of %d/%d silent: %s",
					seed, t.Fault, t.Lasts.Truncate(time.Millisecond), 100*t.Loss, settings[k].Name, (w.now - to).Milliseconds(), hostName(i), state.Silent, state.Hosts, f.Reason)
			}
		}
	}
	w.run(to + afterFault)
	return t
}
