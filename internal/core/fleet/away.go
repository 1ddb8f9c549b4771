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

// EC2Elsewhere are the other zones that a server may be started in.
type EC2Elsewhere struct {
	// After is how long its own zone must have had no room for it.
	After Duration `json:"after"`
	// Zones are tried in order.
	Zones []EC2Zone `json:"zones"`
}

// EC2Zone is a zone with the subnet in which a server would live there.
type EC2Zone struct {
	Zone   string `json:"zone"`
	Subnet string `json:"subnet"`
}

// Snapshot is the newest complete snapshot of a volume. At is the point in time that
// it holds.
type Snapshot struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// Away is where a server runs that was started in another zone, with copies of its
// volumes. Its document still names the volumes that it left behind.
type Away struct {
	Zone   string `json:"zone"`
	Subnet string `json:"subnet"`
	// Epoch is the first that was made there.
	Epoch  Epoch  `json:"epoch"`
	Copies []Copy `json:"copies,omitempty"`
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

// Loss states what is lost with the copies, or is empty.
func (a *Away) Loss() string {
	if a == nil || len(a.Copies) == 0 {
		return ""
	}
	parts := make([]string, 0, len(a.Copies))
	for _, c := range a.Copies {
		parts = append(parts, c.String())
	}
	return "with copies: " + strings.Join(parts, ", ") + "; what was written after that is lost"
}

// Clone returns a copy that shares nothing.
func (a *Away) Clone() *Away {
	if a == nil {
		return nil
	}
	out := *a
	out.Copies = slices.Clone(a.Copies)
	return &out
}

// Made returns a clone that knows the ids of the volumes that were made, by name.
func (a *Away) Made(ids map[string]string) *Away {
	if a == nil || len(ids) == 0 {
		return a
	}
	out := a.Clone()
	for i := range out.Copies {
		if id := ids[out.Copies[i].Volume]; id != "" {
			out.Copies[i].ID = id
		}
	}
	return out
}

// Holds reports that the document still names the volumes that the copies were made
// for. Who writes others into it has said where the data is, and the copies are over.
func (a *Away) Holds(id Identity) bool {
	if a == nil {
		return false
	}
	for _, c := range a.Copies {
		if !slices.ContainsFunc(id.Volumes, func(v Volume) bool { return v.Name == c.Volume && v.ID == c.Declared }) {
			return false
		}
	}
	return true
}

// Located returns the server as it is away: with its copies' ids, those that were made,
// and the subnet there. Without Away it is the server itself.
func (s Server) Located() Server {
	if !s.Away.Holds(s.Spec.Identity) {
		return s
	}
	s.Spec.Identity.Volumes = slices.Clone(s.Spec.Identity.Volumes)
	for i := range s.Spec.Identity.Volumes {
		v := &s.Spec.Identity.Volumes[i]
		for _, c := range s.Away.Copies {
			if c.Volume == v.Name {
				v.ID = c.ID
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
