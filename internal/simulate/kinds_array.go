package simulate

import (
	"fmt"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// onArray makes a fault of something that is done to an array.
func onArray(do func(w *world.World, a *world.Array, is bool)) func(*engine, Fault) (func(), error) {
	return func(e *engine, f Fault) (func(), error) {
		a := e.world.Array(f.Object)
		if a == nil {
			return nil, fmt.Errorf("there is no array %q that a volume names", f.Object)
		}
		do(e.world, a, true)
		return func() { do(e.world, a, false) }, nil
	}
}

// arrayKinds are the faults of SAN arrays.
func arrayKinds() []kind {
	return []kind{
		{class: "array", verb: "dies", lasts: true, apply: onArray(func(w *world.World, a *world.Array, is bool) { w.SetArray(a, is, a.Away, a.Stuck) })},
		{class: "array", verb: "mute", lasts: true, apply: onArray(func(w *world.World, a *world.Array, is bool) { w.SetArray(a, a.Dead, is, a.Stuck) })},
		{class: "array", verb: "keeps-sessions", lasts: true, apply: onArray(func(w *world.World, a *world.Array, is bool) { w.SetArray(a, a.Dead, a.Away, is) })},
		{class: "array", verb: "restarts", apply: func(e *engine, f Fault) (func(), error) {
			a := e.world.Array(f.Object)
			if a == nil {
				return nil, fmt.Errorf("there is no array %q that a volume names", f.Object)
			}
			e.world.RestartArray(a)
			return nil, nil
		}},
		{class: "array", verb: "lets-in", args: "SERVER EPOCH", min: 2, max: 2, apply: letsIn},
	}
}

// letsIn is a person who gives an epoch its map again, past us.
func letsIn(e *engine, f Fault) (func(), error) {
	var epoch fleet.Epoch
	if _, err := fmt.Sscan(f.Args[1], &epoch); err != nil {
		return nil, fmt.Errorf("epoch %q: %w", f.Args[1], err)
	}
	for _, id := range e.volumes[f.Args[0]] {
		if l := e.world.Volume(id).LUN(); l != nil && l.Array().Name == f.Object {
			e.world.LetIn(l, epoch)
		}
	}
	return nil, nil
}
