package sim

import (
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// Hearing is how one controller hears of the hosts.
type Hearing struct {
	// Lost reports that the controller's own network is gone; nil means never.
	Lost func() bool
	// Beat returns when a beat of the host last reached this controller, zero if
	// none did; nil means that every beat of a host in contact does.
	Beat func(host string) time.Time
	// Contact is the silence after which a host that was never heard counts as
	// out of contact.
	Contact time.Duration
}

// heard is what a controller remembers of what it was told. It dies with it.
type heard struct {
	born      time.Time
	hosts     map[string]time.Time
	instances map[string]fleet.Instance
	checks    map[string]fleet.Signal
}

func newHeard() heard {
	return heard{hosts: map[string]time.Time{}, instances: map[string]fleet.Instance{}, checks: map[string]fleet.Signal{}}
}

// instance returns what the controller knows of an instance: what is so, if its
// host speaks with it, or what it was told last.
func (k heard) instance(id string, now fleet.Instance, contact bool) (fleet.Instance, bool) {
	if contact {
		k.instances[id] = now
		return now, true
	}
	old, known := k.instances[id]
	return old, known
}

// check does the same for the application's own check.
func (k heard) check(id string, now fleet.Signal, contact bool) fleet.Signal {
	if contact {
		k.checks[id] = now
		return now
	}
	if old, known := k.checks[id]; known {
		return old
	}
	now.Answer = fleet.CannotTell
	return now
}

// hear notes which hosts speak with this controller now.
func (p *Provider) hear() {
	if p.opts.Hearing == nil {
		return
	}
	if p.heard.born.IsZero() {
		p.heard.born = p.w.Now()
	}
	for _, name := range p.w.Hosts() {
		if p.contact(p.w.Host(name)) {
			p.heard.hosts[name] = p.w.Now()
		}
	}
}

// contact reports whether this controller and the host's agent reach each other.
func (p *Provider) contact(h *world.Host) bool { return h.InContact() && !p.lost() }

func (p *Provider) lost() bool {
	return p.opts.Hearing != nil && p.opts.Hearing.Lost != nil && p.opts.Hearing.Lost()
}

// silent is what a host's silence means: a controller that has just begun to
// listen cannot tell.
func (p *Provider) silent(now time.Time) fleet.Answer {
	if h := p.opts.Hearing; h != nil && now.Sub(p.heard.born) <= h.Contact {
		return fleet.CannotTell
	}
	return fleet.No
}

// seenAt is when the host's agent last reported to this controller; zero if never.
func (l look) seenAt(h *world.Host) time.Time {
	switch {
	case l.p.contact(h):
		return l.now
	case l.p.opts.Hearing != nil:
		return l.p.heard.hosts[h.Name]
	default:
		return h.ContactSince
	}
}

// beatAt is when the host's last beat reached this controller; zero if none did.
func (l look) beatAt(h *world.Host) time.Time {
	if hearing := l.p.opts.Hearing; hearing != nil && hearing.Beat != nil {
		return hearing.Beat(h.Name)
	}
	return l.seenAt(h)
}
