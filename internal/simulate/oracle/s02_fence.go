package oracle

import (
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// S2, fence before start. When an executor accepts a call that starts or attaches
// for epoch e, the world is asked, not the Proof:
//
//   - each instance of an older epoch is gone for ever, or stands stopped, or its
//     host is without power, or every volume of the server refuses its epoch and it
//     holds none of them (of a LUN: its array neither lets it in nor lists a session that
//     has the unit), or a person has stated that this epoch is dead;
//     where the spec demands both, the end and the refusal;
//   - each piece of evidence in the call is true of the world (see acceptedEvidence);
//   - no array shows an older epoch of the LUNs that the call is about, nor is a write of
//     one inside it, however dead its instance is: what is inside lands. But for an
//     epoch that a person has let in past us, until it is shut out again. (The world
//     itself reports a write that lands after its epoch was shut out, and an epoch that
//     is let in again after that.);
//   - no epoch starts to execute once a later one has (startedInOrder): neither then
//     nor later may an older call that is still under way come to life. But one that was
//     started before anything was given to the later one, and of which nothing can write,
//     is a zombie as any other that its volumes refuse: its host stood still in between.
//
// Not covered: clock margins of leases, which the simulated proofs do not use.

func (o *Oracle) acceptedProof(c Call, s *server) {
	step := c.Call.Step
	for _, i := range o.w.Of(s.name) {
		if i.Epoch >= step.Epoch || i.State.Gone() && s.demandedOf(i.Epoch) != fleet.FenceBoth {
			continue
		}
		t := s.known[i]
		if t == nil {
			t = &instance{i: i, epoch: i.Epoch}
		}
		if why := o.couldWrite(s, t); why != "" && !o.people.attests(s.name, i.Epoch) {
			o.Violate("S2", s.name, "%s of epoch %d was accepted while epoch %d on %s %s", step.Kind, step.Epoch, i.Epoch, i.Host, why)
		}
	}
	// The evidence of earlier steps may have aged; of what never perishes, all must
	// be true still.
	o.acceptedEvidence(s, c.Call.Proof.Evidence())
	o.acceptedShut(c, s)
	if c.Call.Proof.Epoch() == 0 && step.Epoch > 1 {
		o.Violate("S2", s.name, "%s of epoch %d was accepted as that of a first epoch", step.Kind, step.Epoch)
	}
}

// acceptedShut holds an attach of a LUN, and a start, against what the arrays show.
func (o *Oracle) acceptedShut(c Call, s *server) {
	step := c.Call.Step
	if step.Kind == fleet.StepAttach && step.Object.Volume == "" {
		return
	}
	for _, v := range s.spec.Spec.Identity.Volumes {
		vol := o.w.Volume(s.name + "/" + v.Name)
		if vol == nil || vol.LUN() == nil || step.Kind == fleet.StepAttach && step.Object.Volume != v.Name {
			continue
		}
		for _, e := range append(vol.LUN().Epochs(), vol.LUN().Inside()...) {
			if e < step.Epoch && !vol.LUN().PastUs(e) && !vol.LUN().Bare(e) {
				o.Violate("S2", s.name, "%s of epoch %d was accepted while the array of volume %s has epoch %d", step.Kind, step.Epoch, v.Name, e)
			}
		}
	}
}

// shutAtRest: an array that shows an older epoch than the one that is healthy at rest
// has not been watched, and one that shuts the healthy one out must be told to a person.
func (o *Oracle) shutAtRest(s *server, current fleet.Epoch, told bool) {
	for _, v := range s.spec.Spec.Identity.Volumes {
		vol := o.w.Volume(s.name + "/" + v.Name)
		if vol == nil || vol.LUN() == nil || o.mayBeGuarded(s) {
			continue
		}
		for _, e := range vol.LUN().Epochs() {
			if e < current { // a later one is a sign of what the store has forgotten
				o.Violate("S2", s.name, "it rests at epoch %d, and the array of volume %s still has epoch %d", current, v.Name, e)
			}
		}
		if !vol.LUN().LetsIn(current) && !told {
			o.Violate("L1", s.name, "it is called healthy at epoch %d, and the array of volume %s does not let it in", current, v.Name)
		}
	}
}

// couldWrite says how the instance could still write to the server's volumes, now
// or later, or is empty.
func (o *Oracle) couldWrite(s *server, t *instance) string {
	i := t.i
	h := o.w.Host(i.Host)
	demand := s.demandedOf(t.epoch)
	ended := i.State.Gone() || h != nil && h.Dead || i.State == fleet.InstanceStopped && !i.Executes
	volumes := s.spec.Spec.Identity.Volumes
	switch {
	case ended && demand != fleet.FenceBoth:
		return ""
	case !ended && (len(volumes) == 0 || !demand.VolumesSuffice()):
		return "is " + string(i.State) + " and may go on"
	}
	return o.notRefused(s, t)
}

// notRefused says which volume would still take the instance's writes, or is empty.
func (o *Oracle) notRefused(s *server, t *instance) string {
	i := t.i
	for _, v := range s.spec.Spec.Identity.Volumes {
		id := s.name + "/" + v.Name
		vol := o.w.Volume(id)
		switch {
		case vol == nil:
		case s.demandedOf(t.epoch) == fleet.FenceBoth && (v.Reach == fleet.ReachShared || v.Reach == fleet.ReachZone):
			// It cannot refuse; the end of the instance is all that there is.
		case vol.LUN() != nil:
			if !vol.LUN().Refuses(i.Epoch) && !vol.LUN().PastUs(i.Epoch) {
				return "is not shut out of volume " + v.Name + " by its array"
			}
		case slices.Contains(i.Volumes, id):
			return "holds volume " + v.Name
		case vol.Sealed < i.Epoch:
			return "could take volume " + v.Name + ", which is not sealed against it"
		}
	}
	return ""
}

// acceptedEvidence holds evidence against the world: what it says must be so.
func (o *Oracle) acceptedEvidence(s *server, list []fleet.Evidence) {
	for _, e := range list {
		if e.Server != s.name {
			o.Violate("S13", s.name, "evidence about %s.%d speaks for a step of %s", e.Server, e.Epoch, s.name)
			continue
		}
		if why := o.untrue(s, e); why != "" {
			o.Violate("S2", s.name, "evidence %s by %s about epoch %d is not true: %s", e.Method, e.By, e.Epoch, why)
		}
		o.evidenceFromItsOwn(s, e)
	}
}

func (o *Oracle) untrue(s *server, e fleet.Evidence) string {
	switch e.Method {
	case fleet.Reaped, fleet.Terminated, fleet.NeverStarted:
		for _, i := range o.w.Of(s.name) {
			if i.Epoch == e.Epoch && (i.Executes || e.Method != fleet.NeverStarted && !i.State.Gone()) {
				return "it is " + string(i.State) + " on " + i.Host
			}
		}
	case fleet.Stopped, fleet.PoweredOff:
		for _, i := range o.w.Of(s.name) {
			if i.Epoch == e.Epoch && i.Executes {
				return "it executes on " + i.Host
			}
		}
	case fleet.Sealed:
		if v := o.w.Volume(s.name + "/" + e.Volume); v == nil || v.Sealed < e.Epoch {
			return "volume " + e.Volume + " is not sealed"
		}
	case fleet.InitiatorRemoved:
		return o.listed(s, e)
	case fleet.Attested:
		if !o.people.attests(s.name, e.Epoch) {
			return "no person has said so"
		}
	case fleet.FirstEpoch:
		if o.w.Highest(s.name) > 0 {
			return "there was an epoch before"
		}
	}
	return ""
}

// listed says why the volume's array may let the epoch in, or is empty.
func (o *Oracle) listed(s *server, e fleet.Evidence) string {
	v := o.w.Volume(s.name + "/" + e.Volume)
	switch {
	case v == nil || v.LUN() == nil:
		return "volume " + e.Volume + " is on no array"
	case e.Offline && v.LUN().Bare(e.Epoch):
		return "" // its sessions are listed, and have no unit
	case !v.LUN().Drained(world.EpochIQN(s.name, e.Epoch)) && !v.LUN().PastUs(e.Epoch):
		return "its array lists it still"
	}
	return ""
}

// startedInOrder is called when an instance first executes.
func (o *Oracle) startedInOrder(s *server, t *instance) {
	if s.newest != nil && s.newest.epoch > t.epoch && !(s.startedBefore(t.epoch, s.newest.epoch) && o.harmless(s, t)) {
		o.Violate("S2", s.name, "epoch %d came to life on %s after epoch %d had", t.epoch, t.i.Host, s.newest.epoch)
	}
}

// startedBefore reports that the last start of an epoch was carried out before the first
// call that started a later one or gave it anything.
func (s *server) startedBefore(epoch, later fleet.Epoch) bool {
	started := false
	for _, a := range s.acts {
		switch {
		case !a.done || !a.kind.NeedsProof():
		case a.epoch >= later:
			return started && !s.startedAfter(epoch, a.at)
		case a.epoch == epoch && a.kind != fleet.StepAttach:
			started = true
		}
	}
	return false
}

func (s *server) startedAfter(epoch fleet.Epoch, at time.Time) bool {
	return slices.ContainsFunc(s.acts, func(a acted) bool {
		return a.done && a.kind.NeedsProof() && a.epoch == epoch && a.at.After(at)
	})
}

// harmless reports that the volumes refuse an instance that executes, where the spec asks
// for no more, or that a person has stated that it is dead.
func (o *Oracle) harmless(s *server, t *instance) bool {
	return o.couldWrite(s, t) == "" || o.people.attests(s.name, t.epoch)
}

// hostIn returns the host that a piece of evidence names as its witness, or "".
func hostIn(by string) string {
	for _, prefix := range []string{"agent@", "the agent of "} {
		if name, ok := strings.CutPrefix(by, prefix); ok {
			return name
		}
	}
	return ""
}
