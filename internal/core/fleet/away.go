package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// FromSnapshot allows that a volume is made anew in another zone, out of its newest
// complete snapshot. What was written after that is lost.
type FromSnapshot struct {
	// MaxLoss is how old the snapshot may be when that is decided.
	MaxLoss Duration `json:"maxLoss"`
}

// EC2Elsewhere are the other zones and Outposts that a server may be started in.
type EC2Elsewhere struct {
	// After is how long its own zone must have had no room for it, or been lost.
	After Duration `json:"after"`
	// Zones are tried in order.
	Zones []EC2Zone `json:"zones"`
}

// EC2Zone is a zone with the subnet in which a server would live there.
type EC2Zone struct {
	Zone   string `json:"zone"`
	Subnet string `json:"subnet"`
	// Outpost is the ARN of the Outpost that the subnet lies on; empty for the zone itself.
	Outpost string `json:"outpost,omitempty"`
	// Arrays are those whose LUNs an instance there reaches.
	Arrays []string `json:"arrays,omitempty"`
	// Interfaces are those that take the place of the server's own there; one that is not
	// named is made anew in the subnet.
	Interfaces []EC2ZoneInterface `json:"interfaces,omitempty"`
}

// EC2ZoneInterface is an interface that waits in another zone.
type EC2ZoneInterface struct {
	// Instead is the one of the identity whose place it takes.
	Instead string `json:"instead"`
	ID      string `json:"id"`
}

// Place names the zone, or the Outpost in it.
func (z EC2Zone) Place() string {
	if z.Outpost != "" {
		return OutpostName(z.Outpost)
	}
	return z.Zone
}

// Misses names an array of a server's LUNs that no instance there reaches, or is empty: a
// LUN does not follow, and a server that is started without it would be a server without
// its data.
func (z EC2Zone) Misses(volumes []Volume) string {
	for _, v := range volumes {
		if v.LUN != nil && !slices.Contains(z.Arrays, v.LUN.Array) {
			return v.LUN.Array
		}
	}
	return ""
}

// OutpostName is the last part of an Outpost's ARN, such as op-0a1b2c.
func OutpostName(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

// Snapshot is the newest complete snapshot of a volume. At is the point in time that
// it holds.
type Snapshot struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// Away is where a server runs that was started in another zone, with copies of its
// volumes and other interfaces. Its document still names those that it left behind.
type Away struct {
	Zone   string `json:"zone"`
	Subnet string `json:"subnet"`
	// Outpost is its ARN, if it is on one.
	Outpost string `json:"outpost,omitempty"`
	// Declared is the subnet that the document gave it when that was decided.
	Declared string `json:"declared,omitempty"`
	// Epoch is the first that was made there.
	Epoch      Epoch  `json:"epoch"`
	Copies     []Copy `json:"copies,omitempty"`
	Interfaces []Swap `json:"interfaces,omitempty"`
}

// Swap is an interface that takes another's place, with other private addresses and
// another hardware address.
type Swap struct {
	// Declared is the id that the spec gives the interface, Of the one that was in use
	// before: that is another one after a second move.
	Declared string `json:"declared"`
	Of       string `json:"of"`
	// Was are the private addresses that are given up, as far as they are known, and Now
	// those that took their place.
	Was []string `json:"was,omitempty"`
	Now []string `json:"now,omitempty"`
	// Token makes it once (invariant S7); empty if the spec declares the one to use.
	Token string `json:"token,omitempty"`
	// ID is the interface itself, empty until it was made.
	ID string `json:"id,omitempty"`
}

// String states the change of address.
func (s Swap) String() string {
	by := "a new interface"
	if s.ID != "" {
		by = "interface " + s.ID
	}
	if len(s.Now) > 0 {
		by += " (" + strings.Join(s.Now, ", ") + ")"
	}
	was := ""
	if len(s.Was) > 0 {
		was = " (" + strings.Join(s.Was, ", ") + ")"
	}
	return by + " in place of " + s.Of + was
}

// Made is an object that was made for a server that is away, or is used there.
type Made struct {
	ID string
	// Addresses are an interface's private ones, the primary first.
	Addresses []string
}

// Copy is a volume that was made from a snapshot of another.
type Copy struct {
	// Volume is its name in the spec, Declared the id that the spec gives it, Of the
	// one that was in use before: that is another copy after a second move.
	Volume   string `json:"volume"`
	Declared string `json:"declared"`
	Of       string `json:"of"`
	// Snapshot is what it was made from, At the point in time that this holds; all that
	// was written later is lost. Age is how old it was when that was decided.
	Snapshot string    `json:"snapshot"`
	At       time.Time `json:"at"`
	Age      Duration  `json:"age"`
	// Token makes it once (invariant S7).
	Token string `json:"token"`
	// ID is the volume itself, empty until it was made.
	ID string `json:"id,omitempty"`
}

// String states the loss.
func (c Copy) String() string {
	return fmt.Sprintf("volume %s from snapshot %s of %s (%s old)", c.Volume, c.Snapshot, c.At.UTC().Format("2006-01-02 15:04:05 UTC"), c.Age)
}

// Loss states what is lost with the copies and with the interfaces, or is empty.
func (a *Away) Loss() string {
	if a == nil {
		return ""
	}
	var out []string
	if len(a.Copies) > 0 {
		parts := make([]string, 0, len(a.Copies))
		for _, c := range a.Copies {
			parts = append(parts, c.String())
		}
		out = append(out, "with copies: "+strings.Join(parts, ", ")+"; what was written after that is lost")
	}
	if len(a.Interfaces) > 0 {
		parts := make([]string, 0, len(a.Interfaces))
		for _, n := range a.Interfaces {
			parts = append(parts, n.String())
		}
		out = append(out, "with other private and hardware addresses: "+strings.Join(parts, ", "))
	}
	return strings.Join(out, "; ")
}

// Place names the zone or the Outpost.
func (a *Away) Place() string {
	return EC2Zone{Zone: a.Zone, Outpost: a.Outpost}.Place()
}

// Clone returns a copy that shares nothing.
func (a *Away) Clone() *Away {
	if a == nil {
		return nil
	}
	out := *a
	out.Copies, out.Interfaces = slices.Clone(a.Copies), slices.Clone(a.Interfaces)
	return &out
}

// Made returns a clone that knows what was made, by the objects of the spec.
func (a *Away) Made(made map[Object]Made) *Away {
	if a == nil || len(made) == 0 {
		return a
	}
	out := a.Clone()
	for i := range out.Copies {
		if m, is := made[Object{Volume: out.Copies[i].Volume}]; is {
			out.Copies[i].ID = m.ID
		}
	}
	for i := range out.Interfaces {
		if m, is := made[Object{Interface: out.Interfaces[i].Declared}]; is {
			out.Interfaces[i].ID, out.Interfaces[i].Now = m.ID, m.Addresses
		}
	}
	return out
}

// Holds reports that the document still says what it said when the server went away:
// the same volumes, interfaces and subnet. Who writes others into it has said where the
// server is, and the copies are over.
func (a *Away) Holds(s ServerSpec) bool {
	if a == nil {
		return false
	}
	for _, c := range a.Copies {
		if !slices.ContainsFunc(s.Identity.Volumes, func(v Volume) bool { return v.Name == c.Volume && v.ID == c.Declared }) {
			return false
		}
	}
	for _, n := range a.Interfaces {
		if !slices.ContainsFunc(s.Identity.Interfaces, func(i Interface) bool { return i.ID == n.Declared }) {
			return false
		}
	}
	// What has neither is known by its subnet alone.
	return len(a.Copies)+len(a.Interfaces) > 0 || s.Template.EC2 != nil && s.Template.EC2.Subnet == a.Declared
}

// Located returns the server as it is away: with its copies' ids, those that were made,
// the interfaces that took its own ones' place, and the subnet there. Without Away it is
// the server itself.
func (s Server) Located() Server {
	if !s.Away.Holds(s.Spec) {
		return s
	}
	id := &s.Spec.Identity
	id.Volumes, id.Interfaces = slices.Clone(id.Volumes), slices.Clone(id.Interfaces)
	for i := range id.Volumes {
		for _, c := range s.Away.Copies {
			if c.Volume == id.Volumes[i].Name {
				id.Volumes[i].ID = c.ID
			}
		}
	}
	for i := range id.Interfaces {
		for _, n := range s.Away.Interfaces {
			if n.Declared == id.Interfaces[i].ID {
				id.Interfaces[i].Instead, id.Interfaces[i].ID = n.Declared, n.ID
				break
			}
		}
	}
	if t := s.Spec.Template.EC2; t != nil {
		there := *t
		there.Subnet = s.Away.Subnet
		s.Spec.Template.EC2 = &there
	}
	return s
}
