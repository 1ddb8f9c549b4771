package fence

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// PerishableFor is how long evidence that can turn false again (stopped, powered
// off) is trusted: it must have been read back this shortly before the start or
// attach call. The value is the longest time that a start call of ours waits
// between its decision and its effect, with room to spare.
const PerishableFor = 15 * time.Second

// Proof shows that one epoch of one server can write no more. Only Prove makes a
// valid one; the zero Proof is refused everywhere. It is never stored: what is
// stored is the evidence, from which it is made again.
type Proof struct {
	server   string
	epoch    fleet.Epoch
	evidence []fleet.Evidence
	ok       bool
}

// Covers reports whether the proof allows the given epoch of the server to
// start: it must speak of the same server and of the very epoch before it. A
// proof that skips an epoch would say nothing of a try that was given up and may
// live (S3).
func (p Proof) Covers(server string, starting fleet.Epoch) bool {
	return p.ok && p.server == server && p.epoch+1 == starting
}

// Epoch returns the epoch that was proved dead.
func (p Proof) Epoch() fleet.Epoch { return p.epoch }

// Ran returns the last epoch of which there may have been an instance: the proved
// one, or one before it if nothing of the later ones was ever started.
func (p Proof) Ran() fleet.Epoch {
	ran, _ := Last(p.server, p.epoch, "", p.evidence)
	return ran
}

// Ended is when the first record was read by which an instance of the epoch had ended;
// false if the proof stands on no such record. What was shut out of its volumes, or is dead
// by a person's word, may live.
func (p Proof) Ended(epoch fleet.Epoch) (at time.Time, is bool) {
	for _, e := range p.evidence {
		record := e.Method == fleet.Terminated || e.Method == fleet.Stopped
		if record && e.Epoch == epoch && (!is || e.At.Before(at)) {
			at, is = e.At, true
		}
	}
	return at, is
}

// Evidence returns a copy of what the proof stands on.
func (p Proof) Evidence() []fleet.Evidence { return slices.Clone(p.evidence) }

// String says in a sentence what the proof stands on.
func (p Proof) String() string {
	if !p.ok {
		return "no proof"
	}
	if p.epoch == 0 {
		return "first epoch: nothing to fence"
	}
	parts := make([]string, 0, len(p.evidence))
	for i, e := range p.evidence {
		if i > 1 && i+1 < len(p.evidence) && e.Method == fleet.NeverStarted && p.evidence[i+1].Method == fleet.NeverStarted {
			continue // of many tries that came to nothing the first and the last tell enough
		}
		parts = append(parts, Describe(e))
	}
	return fmt.Sprintf("epoch %d: %s", p.epoch, strings.Join(parts, "; "))
}

// Describe says in a few words what a piece of evidence shows.
func Describe(e fleet.Evidence) string {
	var what string
	switch e.Method {
	case fleet.FirstEpoch:
		what = "no instance was ever started"
	case fleet.Reaped:
		what = "all its processes were waited for"
	case fleet.Terminated:
		what = "terminated for ever"
	case fleet.Stopped:
		what = "read back as stopped"
	case fleet.PoweredOff:
		what = "host " + e.Host + " read back as powered off"
	case fleet.Sealed:
		what = "volume " + e.Volume + " sealed and read back"
	case fleet.InitiatorRemoved:
		array := e.By
		if array == "" {
			array = "the array"
		}
		if e.Offline {
			return fmt.Sprintf("its initiator is out of the map of volume %s, and %s has taken its LUN off line with no command inside", e.Volume, array)
		}
		return fmt.Sprintf("its initiator is out of the map of volume %s, and %s lists no session of it", e.Volume, array)
	case fleet.NeverStarted:
		what = fmt.Sprintf("no call for epoch %d had an effect", e.Epoch)
	case fleet.Skipped:
		what = fmt.Sprintf("the numbers %d to %d are left out: the store was set back, and what it forgot may have used them", e.First, e.Epoch)
	case fleet.Attested:
		what = "attested as dead"
	default:
		what = string(e.Method)
	}
	if e.By != "" {
		what += " by " + e.By
	}
	if e.Support != "" {
		what += "; seen then: " + e.Support
	}
	return what
}
