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
	// Contact is the silence after which a host counts as out of contact.
	Contact time.Duration
	// Heard is the newest sign of life of any host, zero where there are no two
	// hosts that beat: silence counts only while somebody else is heard.
	Heard time.Time
	// DeafAt is its last look that found nobody heard of lately: silence before
	// that is its own. The first host that is heard again must not make dead ones
	// of all the others.
	DeafAt time.Time
}

// Looked notes a look, made at that time, at so many hosts that beat; the newest
// sign of life of any of them was heard then.
func (o Observer) Looked(at, heard time.Time, hosts int) Observer {
	if o.Heard = heard; hosts < 2 {
		// With one host its death and our own deafness look alike. Doubt would hold its
		// recovery for ever.
		o.Heard = time.Time{}
		return o
	}
	if at.Sub(heard) > o.Contact/2 {
		o.DeafAt = latest(o.DeafAt, at)
	}
	return o
}

// listeningSince is the earliest moment from which silence may be counted.
func (o Observer) listeningSince() time.Time {
	return latest(o.Since, latest(o.StalledAt, o.DeafAt))
}

// hearsNobody reports whether the silence since that time may be the observer's
// own: at the beginning of a cut the host that was heard of longest ago falls
// silent before the others do. Once they had their time, the count of the silent
// hosts tells instead, so this doubt ends.
func (o Observer) hearsNobody(since, now time.Time, suspectAfter time.Duration) bool {
	return !o.Heard.IsZero() && o.Heard.Sub(since) <= suspectAfter/2 && now.Sub(o.Heard) <= max(suspectAfter, o.Contact)
}

// waking is for how long after a stall what is read may have waited for the reader since
// before its end: reports lie in the kernel's buffers, and are dated when they are read.
const waking = time.Second

// age is how old, at most, what was read at that time is now. A stall during which nobody
// read counts in full for what was read as it ended, or before it (S4).
func (o Observer) age(at, now time.Time) time.Duration {
	age := now.Sub(at)
	if o.Stall > 0 && !at.After(o.StalledAt.Add(waking)) {
		return max(age, now.Sub(o.StalledAt)+o.Stall)
	}
	return age
}

// doubtLasts bounds how long a stall stretches suspicion: a controller that slept
// for an hour is as well as any other a minute later, and must find real deaths
// within what their policy says (L3).
const doubtLasts = time.Minute

// unwellness stretches suspicion: 1 is well. A recent stall counts in full and
// fades over ten times its length, within doubtLasts.
func (o Observer) unwellness(now time.Time) float64 {
	if o.Stall <= 0 {
		return 1
	}
	age := now.Sub(o.StalledAt)
	if fade := min(10*o.Stall, doubtLasts); age < fade {
		// The product is rounded by itself: some processors would round it once with the
		// sum, and a seed of the simulator would go another way there.
		return 1 + float64(2*(1-float64(age)/float64(fade)))
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
