package world

import (
	"slices"

	"relight/internal/core/fleet"
)

// Instance returns the instance with that id, or nil.
func (w *World) Instance(id string) *Instance { return w.instances[id] }

// Instances returns all instances that ever were, in the order of their ids, as
// do the lists below: what a describe call without filter goes through.
func (w *World) Instances() []*Instance { return byID(w.instances) }

// Volumes returns all volumes.
func (w *World) Volumes() []*Volume { return byID(w.volumes) }

// Snapshots returns all snapshots.
func (w *World) Snapshots() []*Snapshot { return byID(w.snapshots) }

// Interfaces returns all interfaces.
func (w *World) Interfaces() []*Interface { return byID(w.interfaces) }

// Addresses returns all addresses.
func (w *World) Addresses() []*Address { return byID(w.addresses) }

func byID[T any](m map[string]*T) []*T {
	all := make([]*T, 0, len(m))
	for _, id := range sortedKeys(m) {
		all = append(all, m[id])
	}
	return all
}

// Of returns all instances that a server ever had, oldest first.
func (w *World) Of(server string) []*Instance { return w.byServer[server] }

// Find returns the server's newest instance of that epoch, or nil; no copy that a person
// made. On a recovered machine, that is its present epoch.
func (w *World) Find(server string, epoch fleet.Epoch) *Instance {
	all := w.byServer[server]
	for n := len(all) - 1; n >= 0; n-- {
		if all[n].Epoch == epoch && !all[n].Copy {
			return all[n]
		}
	}
	return nil
}

// ByToken returns the first instance that was made with the token, or nil.
func (w *World) ByToken(token string) *Instance { return w.instances[w.byToken[token]] }

// OnHost returns the instances on a host that are not gone, in
// the order in which they came.
func (w *World) OnHost(host string) []*Instance {
	return slices.Clone(w.onHost[host])
}

// Running counts the instances of a server that truly execute, by epoch.
func (w *World) Running(server string) map[fleet.Epoch]int {
	n := map[fleet.Epoch]int{}
	for _, i := range w.byServer[server] {
		if w.able(i) {
			n[i.Epoch]++
		}
	}
	return n
}

// Highest returns the highest epoch that was ever made of the server.
func (w *World) Highest(server string) fleet.Epoch { return w.highest[server] }

func (w *World) leaveHost(i *Instance) {
	w.freedRoom(i.Host)
	w.onHost[i.Host] = slices.DeleteFunc(w.onHost[i.Host], func(o *Instance) bool { return o == i })
}
