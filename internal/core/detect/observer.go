package detect

import (
	"fmt"
	"time"
)

// Observer is how the one who judges stands itself: it is the first suspect
// when many fall silent at once, or when its own clock stood still.
type Observer struct {
	// Since is when it began to look: silence before that is its own.
	Since time.Time
	// StalledAt is the end of its last stall and Stall its length: a process that
	// was frozen finds every heartbeat late.
	StalledAt time.Time
	Stall     time.Duration
	// Hosts and Silent count the hosts and those of them out of contact.
	Hosts, Silent int
}

// listeningSince is the earliest moment from which silence may be counted.
func (o Observer) listeningSince() time.Time {
	if o.StalledAt.After(o.Since) {
		return o.StalledAt
	}
	return o.Since
}

// unwellness stretches suspicion: 1 is well. A recent stall counts in full and
// fades over ten times its length.
func (o Observer) unwellness(now time.Time) float64 {
	if o.Stall <= 0 {
		return 1
	}
	age := now.Sub(o.StalledAt)
	if fade := 10 * o.Stall; age < fade {
		return 1 + 2*(1-float64(age)/float64(fade))
	}
	return 1
}

// blind says why the observer must doubt its own view, or is empty. With no host
// in contact nobody can confirm anything: the fault is more likely here.
func (o Observer) blind() string {
	if o.Hosts >= 2 && o.Silent >= o.Hosts {
		return fmt.Sprintf("all %d hosts are out of contact at once, so the controller's own network is the suspect", o.Hosts)
	}
	return ""
}
