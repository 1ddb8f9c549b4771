package simulate

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/sim"
)

// onBrain makes a fault of something that is done to a controller: by its name, or
// "active" for the one that reigns.
func onBrain(do func(b *brain, f Fault) (end func(), err error)) func(*engine, Fault) (func(), error) {
	return func(e *engine, f Fault) (func(), error) {
		if f.Object == "active" {
			if b := e.reigning(); b != nil {
				return do(b, f)
			}
			return nil, nil
		}
		for _, b := range e.brains {
			if b.name == f.Object {
				return do(b, f)
			}
		}
		return nil, fmt.Errorf("there is no controller %q: they are called c1, c2 ..., or active", f.Object)
	}
}

func controllerKinds() []kind {
	points := []string{"before-commit", "after-commit", "before-call", "after-call"}
	return []kind{
		{class: "controller", verb: "dies", apply: onBrain(func(b *brain, _ Fault) (func(), error) { b.die(); return nil, nil })},
		{class: "controller", verb: "dies-at", args: "POINT", min: 1, max: 1, apply: onBrain(func(b *brain, f Fault) (func(), error) {
			for _, p := range points {
				if p == f.Args[0] {
					b.armed = p
					return nil, nil
				}
			}
			return nil, fmt.Errorf("point %q: there are %v", f.Args[0], points)
		})},
		{class: "controller", verb: "starts", apply: onBrain(func(b *brain, _ Fault) (func(), error) { b.boot(); return nil, nil })},
		{class: "controller", verb: "freezes", lasts: true, apply: onBrain(func(b *brain, _ Fault) (func(), error) {
			b.freeze()
			return b.thaw, nil
		})},
		// A process can stop between any two of its instructions; between the last look
		// at its lease and the call that the lease allows, it matters the most.
		{class: "controller", verb: "stalls", lasts: true, apply: onBrain(func(b *brain, _ Fault) (func(), error) {
			b.stalls = true
			return func() { b.stalls = false; b.thaw() }, nil
		})},
		{class: "controller", verb: "cut", args: "hosts|store", min: 1, max: 1, lasts: true, apply: onBrain(func(b *brain, f Fault) (func(), error) {
			link := map[string]*bool{"hosts": &b.noHosts, "store": &b.noStore}[f.Args[0]]
			if link == nil {
				return nil, fmt.Errorf("link %q: a controller has hosts and store", f.Args[0])
			}
			*link = true
			return func() { *link = false }, nil
		})},
	}
}

func storeKinds() []kind {
	share := func(set func(m *mischief, v float64)) func(*engine, Fault) (func(), error) {
		return func(e *engine, f Fault) (func(), error) {
			v, err := parseShare(f.Args[0])
			if err != nil {
				return nil, err
			}
			set(&e.mischief, v)
			return func() { set(&e.mischief, 0) }, nil
		}
	}
	return []kind{
		{class: "store", verb: "down", lasts: true, apply: func(e *engine, _ Fault) (func(), error) {
			e.mischief.storeDown = true
			return func() { e.mischief.storeDown = false }, nil
		}},
		{class: "store", verb: "full", lasts: true, apply: func(e *engine, _ Fault) (func(), error) {
			e.mischief.storeFull = true
			return func() { e.mischief.storeFull = false }, nil
		}},
		{class: "store", verb: "loses", args: "SHARE", min: 1, max: 1, lasts: true, apply: share(func(m *mischief, v float64) { m.storeLoses = v })},
		{class: "store", verb: "forgets", args: "SHARE", min: 1, max: 1, lasts: true, apply: share(func(m *mischief, v float64) { m.storeForgets = v })},
		{class: "store", verb: "restored", args: "AGE", min: 1, max: 1, apply: func(e *engine, f Fault) (func(), error) {
			age, err := time.ParseDuration(f.Args[0])
			if err != nil {
				return nil, err
			}
			return nil, e.restoreBackup(age)
		}},
	}
}

// apiKinds are what happens to calls; the object is the call, or any.
func apiKinds() []kind {
	var out []kind
	for _, fault := range []sim.FaultKind{
		sim.Throttle, sim.ServerError, sim.TimeoutBefore, sim.TimeoutAfter, sim.LostReply, sim.Capacity, sim.Refused, sim.WrongState,
		sim.NotFound, sim.StaleRead, sim.Partial, sim.Late, sim.Doubled,
	} {
		out = append(out, kind{
			class: "api", verb: string(fault), args: "SHARE [AGE]", min: 1, max: 2, lasts: true,
			apply: func(e *engine, f Fault) (func(), error) { return e.spoil(f, fault) },
		})
	}
	return out
}

// spoil lets a share of the calls go wrong until the fault ends.
func (e *engine) spoil(f Fault, fault sim.FaultKind) (func(), error) {
	share, err := parseShare(f.Args[0])
	if err != nil {
		return nil, err
	}
	c := callFault{call: fleet.StepKind(f.Object), fault: fault, share: share, age: 5 * time.Second}
	if f.Object == "any" {
		c.call = ""
	}
	if len(f.Args) == 2 {
		if c.age, err = time.ParseDuration(f.Args[1]); err != nil {
			return nil, err
		}
	}
	e.mischief.calls = append(e.mischief.calls, c)
	return func() {
		for n := range e.mischief.calls {
			if e.mischief.calls[n] == c {
				e.mischief.calls = append(e.mischief.calls[:n:n], e.mischief.calls[n+1:]...)
				return
			}
		}
	}, nil
}
