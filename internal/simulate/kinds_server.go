package simulate

import (
	"fmt"

	"relight/internal/world"
)

// onServer makes a fault of something that is done to a server's newest instance
// that executes. A server that has none is left alone: the fault came too late.
func onServer(do func(w *world.World, i *world.Instance)) func(*engine, Fault) (func(), error) {
	return func(e *engine, f Fault) (func(), error) {
		if _, ok := e.volumes[f.Object]; !ok {
			if _, ok := e.isolations[f.Object]; !ok {
				return nil, fmt.Errorf("there is no server %q", f.Object)
			}
		}
		all := e.world.Of(f.Object)
		for n := len(all) - 1; n >= 0; n-- {
			if all[n].Executes {
				do(e.world, all[n])
				break
			}
		}
		return nil, nil
	}
}

func app(s world.AppState) func(*engine, Fault) (func(), error) {
	return onServer(func(w *world.World, i *world.Instance) { w.SetApp(i, s) })
}

func serverKinds() []kind {
	return []kind{
		{class: "server", verb: "app-mute", apply: app(world.AppMute)},
		{class: "server", verb: "app-fails", apply: app(world.AppFails)},
		{class: "server", verb: "app-dies", apply: app(world.AppDead)},
		{class: "server", verb: "app-returns", apply: app(world.AppOK)},
		{class: "server", verb: "crashes", apply: onServer(func(w *world.World, i *world.Instance) {
			if i.Style == world.Process {
				_ = w.Kill(i) // a process that crashes is reaped by its keeper
				return
			}
			w.Crash(i)
		})},
		{class: "server", verb: "killed", apply: onServer(func(w *world.World, i *world.Instance) { _ = w.Kill(i) })},
		{class: "volume", verb: "loses-lock", apply: func(e *engine, f Fault) (func(), error) {
			if e.world.Volume(f.Object) == nil {
				return nil, fmt.Errorf("there is no volume %q; it is written SERVER/VOLUME", f.Object)
			}
			e.world.LoseLock(f.Object)
			return nil, nil
		}},
		{class: "volume", verb: "unmounted", args: "HOST", min: 1, max: 1, lasts: true, apply: func(e *engine, f Fault) (func(), error) {
			host := f.Args[0]
			if e.world.Volume(f.Object) == nil {
				return nil, fmt.Errorf("there is no volume %q; it is written SERVER/VOLUME", f.Object)
			}
			if e.world.Host(host) == nil {
				return nil, fmt.Errorf("there is no host %q", host)
			}
			e.world.HideVolume(f.Object, host)
			return func() { e.world.ShowVolume(f.Object, host) }, nil
		}},
	}
}
