package detect

import (
	"fmt"

	"relight/internal/core/fleet"
)

// heardNobody is the detail of a silence that may be the controller's own.
const heardNobody = "no host was heard for a while, so the controller's own network may be the cause"

// fromAfar judges a server whose host agent is out of contact: the storage
// heartbeat, the witnesses and the pings of other hosts tell dead, alone-dead
// agent, and isolated apart.
func (j *judgement) fromAfar() fleet.Finding {
	cause := "host " + j.in.Status.Host
	if j.contact == nil || j.contact.Answer == fleet.CannotTell {
		return j.contactUnknown(cause)
	}
	alive := j.ofHost(fleet.Yes)
	storage := onChannel(alive, fleet.ChannelStorage)
	if len(storage) > 0 {
		return j.isolated(storage)
	}
	if yes := j.yes(); len(yes) > 0 {
		return j.lives(yes, "its host agent is silent", j.contact, cause)
	}
	// The agent answers a ping itself: whatever else says no, the host lives, and the
	// path from it to the controller is what failed (S4).
	if pings := onChannel(alive, fleet.ChannelProbe); len(pings) > 0 {
		return j.isolated(pings)
	}
	return j.downIfTwoAgree(append(j.ofHost(fleet.No), j.no()...), cause)
}

// contactUnknown covers a host of which the controller cannot say whether it is
// silent.
func (j *judgement) contactUnknown(cause string) fleet.Finding {
	if j.contact == nil || j.contact.Detail != heardNobody {
		return j.finding(fleet.Unknown, j.now, j.in.Host, "nothing was heard of its host yet", cause)
	}
	f := j.finding(fleet.Unknown, j.now, j.in.Host, "its host is silent, but "+heardNobody, cause)
	// Whoever is heard next changes no answer about this server, and yet decides.
	if soon := j.now.Add(j.suspectAfter() / 4); soon.Before(f.LookAgainAt) {
		f.LookAgainAt = soon
	}
	return f
}

// isolated covers a host that others see alive and that reaches no controller.
func (j *judgement) isolated(alive []fleet.Signal) fleet.Finding {
	evidence := append([]fleet.Signal{*j.contact}, alive...)
	since := j.contact.Since
	due := since.Add(j.in.Server.Spec.Health.DownAfter.Std())
	cause := "host " + j.in.Status.Host
	reason := fmt.Sprintf("its host is cut off from the controller (%s) and alive (%s)", describe(*j.contact), describe(alive[0]))
	if j.now.Before(due) {
		f := j.finding(fleet.Suspect, since, evidence, reason, cause)
		f.LookAgainAt = due
		return f
	}
	return j.finding(fleet.Isolated, since, evidence, reason, cause)
}
