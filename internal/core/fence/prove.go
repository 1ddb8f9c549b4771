package fence

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

// Need is one thing that is missing for a proof.
type Need struct {
	// Volume is the volume that must refuse the epoch: sealed, or shut on its array if
	// it is a LUN; empty if the instance itself
	// must be seen stopped, terminated, reaped or powered off.
	Volume string `json:"volume,omitempty"`
	Reason string `json:"reason"`
}

// Prove makes the proof that epoch of the server is dead, from evidence, or says
// what is missing. host is where that epoch ran.
//
// The rules, from invariant S2:
//   - epoch 0: nothing was ever started, nothing to fence;
//   - terminated, reaped, attested: there is no instance and never will be, enough
//     alone;
//   - never started, skipped: enough together with a proof of the epoch before, which was
//     the last that could write: what was only stopped may have been started since;
//   - stopped, powered off: enough alone while fresh;
//   - sealed, initiator removed: enough if every volume of the server refuses the
//     epoch, each by its own kind (a LUN has no epoch file, a directory no initiator),
//     the server has at least one, and neither the demand (fence: power) nor a volume's reach asks
//     for more, because the lock of a volume on a network file system can be
//     lost while its writer lives;
//   - fence: both demands an end of the instance and the refusal of every volume that
//     can refuse; a person's word is enough alone here too.
func Prove(s fleet.Server, epoch fleet.Epoch, host string, evidence []fleet.Evidence, now time.Time) (Proof, []Need) {
	if epoch == 0 {
		return Proof{server: s.Name, ok: true}, nil
	}
	own := about(s.Name, epoch, evidence)
	e, never := hollow(own)
	var missing []Need
	if never {
		// Before a person's word on an epoch that never was: this tells of the one that
		// was, which may keep its volumes or be started again.
		var p Proof
		if p, missing = Prove(s, before(e), e.Host, evidence, now); len(missing) == 0 {
			return Proof{server: s.Name, epoch: epoch, evidence: append([]fleet.Evidence{e}, p.evidence...), ok: true}, nil
		}
	}
	if e, ended := endOf(own, host, now); ended && (s.Spec.Fence != fleet.FenceBoth || e.Method == fleet.Attested) {
		return Proof{server: s.Name, epoch: epoch, evidence: []fleet.Evidence{e}, ok: true}, nil
	}
	if never {
		return Proof{}, missing
	}
	if s.Spec.Fence == fleet.FenceBoth {
		return proveBoth(s, epoch, host, own, now)
	}
	if reason := volumesAreNotEnough(s); reason != "" {
		return Proof{}, []Need{{Reason: reason}}
	}
	return proveByVolumes(s, epoch, s.Spec.Identity.Volumes, own)
}

// proveBoth wants the end of the instance and the refusal of every volume that can
// refuse: one that is attached to one instance at a time by its platform cannot, and
// the lock of one on a network file system is worth nothing.
func proveBoth(s fleet.Server, epoch fleet.Epoch, host string, own []fleet.Evidence, now time.Time) (Proof, []Need) {
	var can []fleet.Volume
	for _, v := range s.Spec.Identity.Volumes {
		if v.Reach != fleet.ReachShared && v.Reach != fleet.ReachZone {
			can = append(can, v)
		}
	}
	p, missing := proveByVolumes(s, epoch, can, own)
	e, ended := endOf(own, host, now)
	if !ended {
		missing = append(missing, Need{Reason: "the spec demands fence: both, so the instance must be read back as stopped or its host as powered off, too"})
	}
	if len(missing) > 0 {
		return Proof{}, missing
	}
	p.evidence = append(p.evidence, e)
	return p, nil
}

// Last returns the last epoch, up to the given one, of which there may be an
// instance, and where it ran: those that were given up before a call had an effect
// are passed over. It is the one to end for a proof of the given epoch.
func Last(server string, epoch fleet.Epoch, host string, evidence []fleet.Evidence) (fleet.Epoch, string) {
	for epoch > 0 {
		e, ok := hollow(about(server, epoch, evidence))
		if !ok {
			break
		}
		epoch, host = before(e), e.Host
	}
	return epoch, host
}

func hollow(own []fleet.Evidence) (fleet.Evidence, bool) {
	for _, e := range own {
		if e.Method.Hollow() {
			return e, true
		}
	}
	return fleet.Evidence{}, false
}

// before is the last epoch before those of which the evidence says that none is known.
func before(e fleet.Evidence) fleet.Epoch {
	if e.Method == fleet.Skipped && e.First > 0 && e.First <= e.Epoch {
		return e.First - 1
	}
	return e.Epoch - 1
}

func about(server string, epoch fleet.Epoch, evidence []fleet.Evidence) []fleet.Evidence {
	var own []fleet.Evidence
	for _, e := range evidence {
		// Evidence about a later epoch says nothing here: it may have been
		// started after a fence that this epoch never had.
		if e.Server == server && e.Epoch == epoch {
			own = append(own, e)
		}
	}
	return own
}

// endOf finds the evidence that alone shows that the instance ended, a person's word
// first: it stands for all the rest.
func endOf(own []fleet.Evidence, host string, now time.Time) (fleet.Evidence, bool) {
	var found fleet.Evidence
	for _, e := range own {
		if endsInstance(e, host, now) && (found.Method == "" || e.Method == fleet.Attested) {
			found = e
		}
	}
	return found, found.Method != ""
}

// endsInstance reports whether the evidence alone shows that the instance ended.
func endsInstance(e fleet.Evidence, host string, now time.Time) bool {
	switch e.Method {
	case fleet.Terminated, fleet.Reaped, fleet.Attested:
		return true
	case fleet.Stopped:
		return fresh(e.At, now)
	case fleet.PoweredOff:
		// The host that was switched off must be the one on which the epoch ran:
		// powering off a neighbour proves nothing.
		return host != "" && e.Host == host && fresh(e.At, now)
	default:
		return false
	}
}

// fresh refuses evidence from the future too: a clock that jumped back must not
// lengthen its life.
func fresh(at, now time.Time) bool {
	age := now.Sub(at)
	return age <= PerishableFor && age >= -PerishableFor
}

func volumesAreNotEnough(s fleet.Server) string {
	if s.Spec.Fence == fleet.FencePower {
		return "the spec demands fence: power, so the instance must be read back as stopped or its host as powered off"
	}
	if len(s.Spec.Identity.Volumes) == 0 {
		return "the server has no volume that could be sealed, so the instance itself must be seen stopped"
	}
	for _, v := range s.Spec.Identity.Volumes {
		if v.Reach == fleet.ReachShared {
			return fmt.Sprintf("volume %s lies on a network file system, whose locks can be lost while the writer lives; a power fence is needed", v.Name)
		}
		if v.Reach == fleet.ReachZone {
			return fmt.Sprintf("volume %s cannot be sealed; its instance must be seen stopped or terminated", v.Name)
		}
	}
	return ""
}

func proveByVolumes(s fleet.Server, epoch fleet.Epoch, volumes []fleet.Volume, own []fleet.Evidence) (Proof, []Need) {
	var (
		used    []fleet.Evidence
		missing []Need
	)
	for _, v := range volumes {
		if e, ok := refusalOf(v, own); ok {
			used = append(used, e)
			continue
		}
		need := Need{Volume: v.Name, Reason: fmt.Sprintf("volume %s is not sealed against epoch %d", v.Name, epoch)}
		if v.OnArray() {
			need.Reason = fmt.Sprintf("%s has not shut epoch %d out of volume %s", arrayOf(v), epoch, v.Name)
		}
		missing = append(missing, need)
	}
	if len(missing) > 0 {
		return Proof{}, missing
	}
	return Proof{server: s.Name, epoch: epoch, evidence: used, ok: true}, nil
}

// arrayOf names the array of a LUN.
func arrayOf(v fleet.Volume) string {
	if v.LUN == nil {
		return "its array"
	}
	return "array " + v.LUN.Array
}

// refusalOf finds the evidence that the volume refuses the epoch.
func refusalOf(v fleet.Volume, own []fleet.Evidence) (fleet.Evidence, bool) {
	method := fleet.Sealed
	if v.OnArray() {
		method = fleet.InitiatorRemoved
	}
	for _, e := range own {
		if e.Method == method && e.Volume == v.Name {
			return e, true
		}
	}
	return fleet.Evidence{}, false
}
