package simulate

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// onArray makes a fault of something that is done to an array.
func onArray(do func(e *engine, a *world.Array, f Fault) (end func(), err error)) func(*engine, Fault) (func(), error) {
	return func(e *engine, f Fault) (func(), error) {
		a := e.world.Array(f.Object)
		if a == nil {
			return nil, fmt.Errorf("there is no array %q that a volume names", f.Object)
		}
		return do(e, a, f)
	}
}

// whole makes a fault of a state of a whole array.
func whole(set func(w *world.World, a *world.Array, is bool)) func(*engine, Fault) (func(), error) {
	return onArray(func(e *engine, a *world.Array, _ Fault) (func(), error) {
		set(e.world, a, true)
		return func() { set(e.world, a, false) }, nil
	})
}

// arrayKinds are the faults of SAN arrays.
func arrayKinds() []kind {
	return []kind{
		{class: "array", verb: "dies", lasts: true, apply: whole(func(w *world.World, a *world.Array, is bool) { w.SetArray(a, is, a.Away, a.Stuck) })},
		{class: "array", verb: "mute", lasts: true, apply: whole(func(w *world.World, a *world.Array, is bool) { w.SetArray(a, a.Dead, is, a.Stuck) })},
		{class: "array", verb: "keeps-sessions", lasts: true, apply: whole(func(w *world.World, a *world.Array, is bool) { w.SetArray(a, a.Dead, a.Away, is) })},
		{class: "array", verb: "errs", args: "SHARE", min: 1, max: 1, lasts: true, apply: onArray(errs)},
		{class: "array", verb: "slow", args: "TIME", min: 1, max: 1, lasts: true, apply: onArray(slow)},
		{class: "array", verb: "full", lasts: true, apply: whole(func(w *world.World, a *world.Array, is bool) {
			w.Trouble(a, func(t *world.ArrayTrouble) { t.Full = is })
		})},
		{class: "array", verb: "loses-path", args: "HOST", min: 1, max: 1, lasts: true, apply: onArray(losesPath)},
		{class: "array", verb: "restarts", apply: onArray(func(e *engine, a *world.Array, _ Fault) (func(), error) {
			e.world.RestartArray(a)
			return nil, nil
		})},
		{class: "array", verb: "lets-in", args: "SERVER EPOCH", min: 2, max: 2, apply: onArray(letsIn)},
		{class: "array", verb: "lets-stranger-in", args: "SERVER", min: 1, max: 1, lasts: true, apply: onArray(letsStrangerIn)},
	}
}

func errs(e *engine, a *world.Array, f Fault) (func(), error) {
	share, err := parseShare(f.Args[0])
	if err != nil {
		return nil, err
	}
	set := func(v float64) { e.world.Trouble(a, func(t *world.ArrayTrouble) { t.Errs = v }) }
	set(share)
	return func() { set(0) }, nil
}

func slow(e *engine, a *world.Array, f Fault) (func(), error) {
	each, err := time.ParseDuration(f.Args[0])
	if err != nil {
		return nil, err
	}
	set := func(v time.Duration) { e.world.Trouble(a, func(t *world.ArrayTrouble) { t.Slow = v }) }
	set(each)
	return func() { set(0) }, nil
}

func losesPath(e *engine, a *world.Array, f Fault) (func(), error) {
	host := f.Args[0]
	if e.world.Host(host) == nil {
		return nil, fmt.Errorf("there is no host %q", host)
	}
	set := func(is bool) { e.world.Trouble(a, func(t *world.ArrayTrouble) { t.Lose(host, is) }) }
	set(true)
	return func() { set(false) }, nil
}

// unitsOn lists a server's units on an array.
func (e *engine) unitsOn(a *world.Array, server string) (units []*world.LUN) {
	for _, id := range e.volumes[server] {
		if l := e.world.Volume(id).LUN(); l != nil && l.Array() == a {
			units = append(units, l)
		}
	}
	return units
}

// letsIn is a person who gives an epoch its map again, past us.
func letsIn(e *engine, a *world.Array, f Fault) (func(), error) {
	var epoch fleet.Epoch
	if _, err := fmt.Sscan(f.Args[1], &epoch); err != nil {
		return nil, fmt.Errorf("epoch %q: %w", f.Args[1], err)
	}
	for _, l := range e.unitsOn(a, f.Args[0]) {
		e.world.LetInPastUs(l, epoch)
	}
	return nil, nil
}

// letsStrangerIn is a person who maps a server's units to a machine that is none of ours.
func letsStrangerIn(e *engine, a *world.Array, f Fault) (func(), error) {
	var ends []func()
	for _, l := range e.unitsOn(a, f.Args[0]) {
		ends = append(ends, e.world.Intrude(l))
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}, nil
}
