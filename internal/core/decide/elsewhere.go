package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// onEC2 reports that the platform places the server and binds its volumes to a zone,
// so that a move makes them anew.
func onEC2(v View) bool { return !v.Traits.Places && v.Server.Spec.Template.EC2 != nil }

// awayOf is where the server runs instead of where its spec says, or nil.
func awayOf(v View) *fleet.Away {
	if a := v.Status.Away; a.Holds(v.Server.Spec) {
		return a
	}
	return nil
}

// staysInZone says why a server of EC2 may never be started in another zone, or is
// empty: each of its volumes has to be allowed to lose what its snapshot lacks, each of
// its interfaces its private addresses.
func staysInZone(v View) string {
	id := v.Server.Spec.Identity
	for _, vol := range id.Volumes {
		if vol.FromSnapshot == nil && !vol.OnArray() {
			return "volume " + vol.Name + " never leaves its zone (it has no fromSnapshot)"
		}
	}
	for _, n := range id.Interfaces {
		if !n.NewAddress {
			return "interface " + n.ID + " never leaves its zone (it has no newAddress)"
		}
	}
	if e := v.Server.Spec.Template.EC2.Elsewhere; e == nil || len(e.Zones) == 0 {
		return "the spec names no other zone (template.ec2.elsewhere)"
	}
	return ""
}

// notElsewhere says why a start in another zone is not due or not possible now, and
// from when on the clock alone allows it; empty if it is due, or is another rung. What
// fails in its own zone for any other reason than want of room, or the loss of that zone
// as a whole, would fail elsewhere too, and would have lost its data for that.
func notElsewhere(v View, rung fleet.Rung, now time.Time) (string, time.Time) {
	if !onEC2(v) || rung != fleet.Move {
		return "", time.Time{}
	}
	r := v.Status.Recovery
	asked := r == nil && v.Request != nil && v.Request.Rung == fleet.Move || r != nil && r.Requested != "" && r.Rung == fleet.Move
	if asked && r == nil && v.Finding.Verdict != fleet.Down && !v.Server.Spec.Identity.OnArrays() {
		return fmt.Sprintf("it is %s, and only what is down is started in another zone: what was written since the snapshot would be lost", v.Finding.Verdict), time.Time{}
	}
	if !asked {
		due := elsewhereDue(v)
		if due.IsZero() && r != nil && r.Lack != nil && r.Lack.Quota {
			return "the account may have no more of it in any zone", time.Time{}
		}
		if due.IsZero() {
			return "its own zone was not found to have no room, nor to be lost", time.Time{}
		}
		if now.Before(due) {
			return fmt.Sprintf("its own zone must have had no room for %s, or been lost for as long, until %s", v.Server.Spec.Template.EC2.Elsewhere.After, clockTime(due)), due
		}
	}
	_, why := otherZone(v, now, 0)
	return why, time.Time{}
}

// elsewhereDue is when the server's own zone has had no room, or was lost, for long
// enough; zero if it has room and is there, as far as is known.
func elsewhereDue(v View) time.Time {
	var since time.Time
	if r := v.Status.Recovery; r != nil && r.Lack != nil && !r.Lack.Quota {
		since = r.Lack.Since
	}
	if z := lostZone(v); z != nil {
		since = earliest(since, z.Since)
	}
	if since.IsZero() {
		return since
	}
	return since.Add(v.Server.Spec.Template.EC2.Elsewhere.After.Std())
}

// otherZone is where the epoch would be started instead of in its own zone, with which
// copies and which interfaces; or why nowhere.
func otherZone(v View, now time.Time, epoch fleet.Epoch) (*fleet.Away, string) {
	var (
		refused []string
		try     = ""
		here    = awayOf(v)
		t       = v.Server.Spec.Template.EC2
		subnet  = t.Subnet
	)
	if r := v.Status.Recovery; r != nil {
		refused, try = r.Refused, r.ID
	}
	if here != nil {
		subnet = here.Subnet
	}
	n := slices.IndexFunc(t.Elsewhere.Zones, func(z fleet.EC2Zone) bool {
		return !slices.Contains(refused, z.Place()) && z.Subnet != subnet && (here == nil || here.Place() != z.Place()) && z.Misses(v.Server.Spec.Identity.Volumes) == ""
	})
	if n < 0 {
		return nil, "no other zone is left" + after(": refused by ", strings.Join(refused, ", ")) + outOfReach(t.Elsewhere.Zones, v.Server.Spec.Identity.Volumes)
	}
	z := t.Elsewhere.Zones[n]
	out := &fleet.Away{Epoch: epoch, Zone: z.Zone, Subnet: z.Subnet, Outpost: z.Outpost, Declared: t.Subnet}
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if vol.OnArray() {
			continue // it is the same one there
		}
		s := snapshotOf(v, vol.Name)
		if s == nil {
			return nil, "no complete snapshot of volume " + vol.Name + " is known"
		}
		age := now.Sub(s.At).Truncate(time.Second)
		if most := vol.FromSnapshot.MaxLoss.Std(); age > most {
			return nil, fmt.Sprintf("the newest snapshot of volume %s (%s of %s) is %s old, and fromSnapshot.maxLoss allows %s", vol.Name, s.ID, s.At.UTC().Format("2006-01-02 15:04:05 UTC"), fleet.Duration(age), fleet.Duration(most))
		}
		c := fleet.Copy{Volume: vol.Name, Declared: vol.ID, Of: inUse(here, vol), Snapshot: s.ID, At: s.At, Age: fleet.Duration(age)}
		c.Token = Token(v.Server.Name, 0, "copy", fleet.Object{Volume: vol.Name}, z.Place(), try+"/"+s.ID)
		out.Copies = append(out.Copies, c)
	}
	for _, own := range v.Server.Spec.Identity.Interfaces {
		out.Interfaces = append(out.Interfaces, swapOf(v, z, own, try))
	}
	return out, ""
}

// outOfReach names the places that reach no array of the server's LUNs, or is empty.
func outOfReach(zones []fleet.EC2Zone, volumes []fleet.Volume) string {
	var out []string
	for _, z := range zones {
		if array := z.Misses(volumes); array != "" {
			out = append(out, fmt.Sprintf("%s does not reach array %s", z.Place(), array))
		}
	}
	return after("; ", strings.Join(out, ", "))
}

// swapOf is the interface that takes a declared one's place in another zone.
func swapOf(v View, z fleet.EC2Zone, own fleet.Interface, try string) fleet.Swap {
	s := fleet.Swap{Declared: own.ID, Of: own.ID, Was: own.Addresses}
	if here := awayOf(v); here != nil {
		for _, n := range here.Interfaces {
			if n.Declared == own.ID {
				s.Of, s.Was = n.ID, n.Now
			}
		}
	}
	for _, o := range v.Observed.Others {
		if o.Object.Interface == own.ID && len(o.Addresses) > 0 {
			s.Was = o.Addresses
		}
	}
	for _, there := range z.Interfaces {
		if there.Instead == own.ID {
			s.ID = there.ID
			return s
		}
	}
	s.Token = Token(v.Server.Name, 0, "interface", fleet.Object{Interface: own.ID}, z.Place(), try+"/"+z.Subnet)
	return s
}

func after(words, list string) string {
	if list == "" {
		return ""
	}
	return words + list
}

// inUse is the id of the volume that the server really has.
func inUse(here *fleet.Away, vol fleet.Volume) string {
	if here != nil {
		for _, c := range here.Copies {
			if c.Volume == vol.Name {
				return c.ID
			}
		}
	}
	return vol.ID
}

// snapshotOf is the newest snapshot of a volume, or nil.
func snapshotOf(v View, volume string) *fleet.Snapshot {
	if seen := volumeSeen(v, volume); seen != nil {
		return seen.Snapshot
	}
	return nil
}

// anotherZone reports that a start elsewhere which was refused has a further zone.
func anotherZone(v View, now time.Time) bool {
	if !onEC2(v) || v.Status.Recovery.Rung != fleet.Move {
		return false
	}
	_, why := otherZone(v, now, 0)
	return why == ""
}

// stayed takes back that a server is away if nothing of the epoch was ever started
// there: it is where it was. What was made for it is not deleted (S8), and told.
func stayed(s fleet.Status) fleet.Status {
	if s.Away == nil || s.Recovery == nil || s.Away.Epoch != s.Recovery.To {
		return s
	}
	for _, c := range s.Away.Copies {
		known := slices.ContainsFunc(s.Unused, func(u fleet.Copy) bool { return u.ID == c.ID })
		if c.ID != "" && !known {
			s.Unused = append(s.Unused, c)
		}
	}
	for _, n := range s.Away.Interfaces {
		known := slices.ContainsFunc(s.UnusedInterfaces, func(u fleet.Swap) bool { return u.ID == n.ID })
		if n.Token != "" && n.ID != "" && !known {
			s.UnusedInterfaces = append(s.UnusedInterfaces, n)
		}
	}
	s.Away = s.Recovery.Before
	return s
}

// used drops from those that are in no use what the server has now.
func used(s fleet.Status) fleet.Status {
	if s.Away == nil {
		return s
	}
	s.Unused = slices.DeleteFunc(s.Unused, func(u fleet.Copy) bool {
		return slices.ContainsFunc(s.Away.Copies, func(c fleet.Copy) bool { return c.ID == u.ID })
	})
	s.UnusedInterfaces = slices.DeleteFunc(s.UnusedInterfaces, func(u fleet.Swap) bool {
		return slices.ContainsFunc(s.Away.Interfaces, func(n fleet.Swap) bool { return n.ID == u.ID })
	})
	return s
}

// lossPlan is the part of a plan's hash that names what would be lost, so that an
// approval holds for that alone (S11).
func lossPlan(v View, rung fleet.Rung) string {
	if !onEC2(v) || rung != fleet.Move {
		return ""
	}
	out := ""
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if s := snapshotOf(v, vol.Name); s != nil {
			out += vol.Name + "=" + s.ID + " "
		}
	}
	for _, n := range v.Server.Spec.Identity.Interfaces {
		out += n.ID + " "
	}
	return out
}

// withLoss adds to a sentence what data the recovery gave up.
func withLoss(why string, r *fleet.Recovery) string {
	if r == nil || r.Lost == "" {
		return why
	}
	return why + "; it runs " + r.Lost
}

// whyNotElsewhere says, of a server that waits for room, why it is not started in
// another zone; empty where that cannot be at all.
func whyNotElsewhere(v View, now time.Time) string {
	if !onEC2(v) {
		return ""
	}
	if why := staysInZone(v); why != "" {
		return why
	}
	why, _ := notElsewhere(v, fleet.Move, now)
	return why
}

// shutOutAlone reports that the proof stands on the refusal of the volumes, and on no end
// of the instance: that one may run on.
func shutOutAlone(proof fence.Proof) bool {
	return standsOn(proof, fleet.InitiatorRemoved, fleet.Sealed) && !standsOn(proof)
}

// attestedAlone reports that nothing but a person's word proves the epoch dead: what
// hangs where nobody can see it is no machine that could be started again.
func attestedAlone(proof fence.Proof) bool { return standsOn(proof, fleet.Attested) }

// standsOn reports that the proof has no evidence of other methods than these, but for
// that of epochs of which no instance is known.
func standsOn(proof fence.Proof, methods ...fleet.Method) bool {
	return !slices.ContainsFunc(proof.Evidence(), func(e fleet.Evidence) bool {
		return !e.Method.Hollow() && !slices.Contains(methods, e.Method)
	})
}
