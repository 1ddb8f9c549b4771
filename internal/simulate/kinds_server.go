package simulate

import (
	"fmt"

	"relight/internal/world"
)

// onServer makes a fault of something that is done to a server's newest instance
// that executes. A server that has none is left alone: the fault came too late.
func onServer(do func(w *world.World, i *world.Instance)) func(*engine, Fault) (func(), error) {
	return func(e *engine, f Fault) (func(), error) {
		if err := knowsServer(e, f); err != nil {
			return nil, err
		}
		if i := newest(e.world, f.Object, func(i *world.Instance) bool { return i.Executes && !i.Copy }); i != nil {
			do(e.world, i)
		}
		return nil, nil
	}
}

func knowsServer(e *engine, f Fault) error {
	if _, ok := e.volumes[f.Object]; !ok {
		if _, ok := e.isolations[f.Object]; !ok {
			return fmt.Errorf("there is no server %q", f.Object)
		}
	}
	return nil
}

// newest returns a server's newest instance of which is is true, or nil.
func newest(w *world.World, server string, is func(*world.Instance) bool) *world.Instance {
	all := w.Of(server)
	for n := len(all) - 1; n >= 0; n-- {
		if is(all[n]) {
			return all[n]
		}
	}
	return nil
}

// copied has a person launch one more like the server's machine, with its tags.
func copied(e *engine, f Fault) (func(), error) {
	if err := knowsServer(e, f); err != nil {
		return nil, err
	}
	i := newest(e.world, f.Object, func(i *world.Instance) bool { return i.Executes && !i.Copy })
	switch {
	case i == nil:
		return nil, nil
	case i.Style == world.Process:
		return nil, fmt.Errorf("server %s runs on hosts, which know each of their own instances; only a machine of a cloud is copied with its tags", f.Object)
	}
	_, err := e.world.Alike(i)
	return nil, err
}

// copyEnds has that person end the copy.
func copyEnds(e *engine, f Fault) (func(), error) {
	if err := knowsServer(e, f); err != nil {
		return nil, err
	}
	i := newest(e.world, f.Object, func(i *world.Instance) bool { return i.Copy && !i.State.Gone() })
	if i == nil {
		return nil, nil
	}
	return nil, e.world.Terminate(i)
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
		{class: "server", verb: "copied", apply: copied},
		{class: "server", verb: "copy-ends", apply: copyEnds},
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
