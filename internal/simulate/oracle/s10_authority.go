package oracle

import (
	"relight/internal/core/fleet"
	"relight/internal/provider/sim"
	"relight/internal/world"
)

// S10, authority. By the true time and the store's bytes, not by the controller's
// own clock: a destructive call goes out only with the term that is the highest in
// the store at that moment, and within the length of the lease that the store last
// took for it (counted from the commit, which is never before the request). Terms in
// the store only rise. And an executor never accepts a call with a lower term than
// one that it accepted before for that server, or than that of the lease that it
// holds. A power device has no memory, so that a power-off that was under way when
// the term changed is not held against it. Nor has an array one of terms: no agent hears of
// what is done there, and nothing but the epoch tells an old call from a new one. So it is
// held to that: it lets no epoch in after a later one (and S2 holds it to let none in that
// it has shut out).

func (o *Oracle) sentWithAuthority(c Call) {
	l := &o.ledger
	step := c.Call.Step
	if c.Call.Term != l.term {
		o.Violate("S10", step.Server, "%s sent %s with term %d while term %d reigns", c.By, step.Kind, c.Call.Term, l.term)
		return
	}
	if age := o.w.Now().Sub(l.leaseAt); age > l.leaseFor {
		o.Violate("S10", step.Server, "%s sent %s %s after its lease of %s was last renewed", c.By, step.Kind, age, l.leaseFor)
	}
}

func (o *Oracle) acceptedTerm(c Call) {
	step := c.Call.Step
	if step.Kind == fleet.StepPowerOff {
		return
	}
	if v := o.w.Volume(sim.VolumeID(fleet.Server{Name: step.Server}, step.Object.Volume)); step.Via == "" && v != nil && v.LUN() != nil {
		if step.Kind == fleet.StepAttach && v.Epoch > step.Epoch {
			o.Violate("S10", step.Server, "array %s let epoch %d in after epoch %d", v.LUN().Array().Name, step.Epoch, v.Epoch)
		}
		return
	}
	by := world.Executor{Host: step.Host, Server: step.Server}
	if step.Via != "" {
		by.Host = step.Via
	}
	if o.around.Cloud {
		by.Host = ""
	}
	if lease := o.w.Registry.LeaseTerms[by.Host]; c.Call.Term < lease {
		o.Violate("S10", step.Server, "%s accepted %s with term %d though its lease is of term %d", orPlatform(by.Host), step.Kind, c.Call.Term, lease)
	}
	if c.Call.Term < o.executors[by] {
		o.Violate("S10", step.Server, "%s accepted %s with term %d after term %d", orPlatform(by.Host), step.Kind, c.Call.Term, o.executors[by])
	}
	o.executors[by] = max(o.executors[by], c.Call.Term)
}

func orPlatform(host string) string {
	if host == "" {
		return "the platform"
	}
	return host
}
