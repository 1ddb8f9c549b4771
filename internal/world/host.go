package world

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Site is a failure domain above the hosts.
type Site struct {
	Name   string
	Kind   fleet.SiteKind
	Parent string
}

// Cut says which links of a host are cut. What runs on it runs on: a cut-off
// host with storage is where zombies live.
type Cut struct {
	Control bool // to the controllers, both ways
	In      bool // from the controllers to it: beats get out, nothing gets in
	Out     bool // from it to the controllers: nothing gets out
	Peers   bool // to other hosts and to clients
	Storage bool // to its volumes
}

// Host is a machine that runs instances.
type Host struct {
	Name   string
	Parent string
	Units  int
	// Power is true if a power device can switch it, whatever its links do.
	Power bool
	// Closed is the reason why nothing new may be placed here, or empty.
	Closed string

	// Dead hosts execute nothing and forget it. Frozen ones execute nothing and
	// go on where they were when they thaw.
	Dead   bool
	Frozen bool
	Cut    Cut
	// Mute is true while its agent is dead: nobody speaks for what runs on.
	Mute bool
	// ContactSince is when the present state of contact began.
	ContactSince time.Time
	contact      bool
}

// InContact reports whether controllers and the host's agent reach each other.
func (h *Host) InContact() bool { return h.Beats() && !h.Cut.In }

// Beats reports whether datagrams of the host's agent get out to controllers.
func (h *Host) Beats() bool { return h.runs() && !h.Mute && !h.Cut.Control && !h.Cut.Out }

// Runs reports whether the host executes anything.
func (h *Host) Runs() bool { return h.runs() }

// HasStorage reports whether the host can complete writes to shared storage.
func (h *Host) HasStorage() bool { return h.runs() && !h.Cut.Storage }

// HasPeers reports whether other hosts and clients reach it.
func (h *Host) HasPeers() bool { return h.runs() && !h.Cut.Peers }

func (h *Host) runs() bool { return !h.Dead && !h.Frozen }

// AddSite adds a site to the tree.
func (w *World) AddSite(s Site) { w.sites[s.Name] = s }

// AddHost adds a host, alive and in contact.
func (w *World) AddHost(h Host) {
	h.ContactSince, h.contact = w.Now(), h.InContact()
	w.hosts[h.Name] = &h
	i, _ := slices.BinarySearch(w.hostNames, h.Name)
	w.hostNames = slices.Insert(w.hostNames, i, h.Name)
	clear(w.full)
}

// Host returns the host of that name, or nil. Callers read it only.
func (w *World) Host(name string) *Host { return w.hosts[name] }

// Hosts returns the names of all hosts, sorted.
func (w *World) Hosts() []string { return w.hostNames }

// Path returns the sites above a host or site, nearest first.
func (w *World) Path(name string) []string {
	parent := w.sites[name].Parent
	if h := w.hosts[name]; h != nil {
		parent = h.Parent
	}
	var path []string
	for parent != "" && !slices.Contains(path, parent) {
		path = append(path, parent)
		parent = w.sites[parent].Parent
	}
	return path
}

// Within reports whether the host is the site or lies below it; an empty site
// holds every host.
func (w *World) Within(host, site string) bool {
	return w.below(host, site)
}

// UsedUnits is how much of the host's capacity its instances take.
func (w *World) UsedUnits(host string) int {
	used := 0
	for _, i := range w.onHost[host] {
		if i.TakesUnits() {
			used += i.Units
		}
	}
	return used
}

// CutHost cuts links of a host; the zero Cut mends them all.
func (w *World) CutHost(name string, c Cut) error {
	return w.changeHost(name, "cut", func(h *Host) {
		lost := c.Storage && !h.Cut.Storage
		h.Cut = c
		if lost {
			w.loseLocksLater(name)
		}
	})
}

// MuteHost ends a host's agent without anything else; UnmuteHost starts it again.
func (w *World) MuteHost(name string) error {
	return w.changeHost(name, "mute", func(h *Host) { h.Mute = true })
}

// UnmuteHost starts a host's agent again.
func (w *World) UnmuteHost(name string) error {
	return w.changeHost(name, "unmute", func(h *Host) { h.Mute = false })
}

// FreezeHost stops a host without killing it, as a paused virtual machine or a
// stopped kernel; ThawHost lets it go on where it was.
func (w *World) FreezeHost(name string) error {
	return w.changeHost(name, "freeze", func(h *Host) { h.Frozen = true })
}

// ThawHost ends a freeze.
func (w *World) ThawHost(name string) error {
	return w.changeHost(name, "thaw", func(h *Host) { h.Frozen = false })
}

// KillHost takes a host's power: everything on it ends at once, and machine
// records of a cloud still say running.
func (w *World) KillHost(name string) error {
	return w.changeHost(name, "die", func(h *Host) {
		if h.Dead {
			return
		}
		h.Dead, h.Frozen = true, false
		for _, i := range w.OnHost(name) {
			w.hostDied(i)
		}
	})
}

// StartHost powers a host on again, mended. Processes that it ran are gone for
// ever, and its agent knows it.
func (w *World) StartHost(name string) error {
	return w.changeHost(name, "start", func(h *Host) {
		if !h.Dead {
			return
		}
		h.Dead, h.Mute, h.Cut = false, false, Cut{}
		for _, i := range w.OnHost(name) {
			if i.Style == Process && !i.State.Gone() {
				// A file server lets go of a client's locks once the client is back.
				w.letGo(i)
				w.setState(i, fleet.InstanceReaped, "its host was started anew")
			}
		}
	})
}

// CloseHost says why nothing new may be placed on a host; "" opens it.
func (w *World) CloseHost(name, reason string) error {
	return w.changeHost(name, "close", func(h *Host) { h.Closed = reason })
}

func (w *World) changeHost(name, what string, change func(*Host)) error {
	h := w.hosts[name]
	if h == nil {
		return fmt.Errorf("host %s: %w", name, ErrNotFound)
	}
	w.note("host "+what, name, "", "")
	change(h)
	clear(w.full)
	if now := h.InContact(); now != h.contact {
		h.contact, h.ContactSince = now, w.Now()
	}
	for _, i := range w.OnHost(name) {
		w.touchInstance(i)
	}
	return nil
}
