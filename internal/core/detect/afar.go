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
	if j.in.Server.Spec.Template.EC2 != nil && j.in.Server.Spec.Identity.OnArrays() {
		return j.onlyFenced("server " + j.in.Server.Name)
	}
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
	no := j.no()
	// The host runs and its agent does not: then beats, storage heartbeat and pings end
	// as one, and say nothing about a server at which nobody else looks. Its own beats
	// are among them: the agent hands them on.
	if kernel := onChannel(alive, fleet.ChannelKernel); len(kernel) > 0 && len(onChannel(no, fleet.ChannelBeat)) == len(no) {
		return j.unseen(kernel)
	}
	return j.downIfTwoAgree(append(j.ofHost(fleet.No), no...), cause)
}

// onlyFenced judges a server whose platform has no word on it, as behind the cut link of
// an Outpost, and whose volumes all lie on arrays. These can shut it out though nobody
// reaches it, so that a silence is worth what it is elsewhere; without them it would only
// be ended by what cannot end it.
func (j *judgement) onlyFenced(cause string) fleet.Finding {
	if yes := j.yes(); len(yes) > 0 {
		return j.lives(yes, "its platform has no word on it", nil, cause)
	}
	return j.downIfTwoAgree(j.no(), cause)
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
	return j.apart(alive, "its host is cut off from the controller (%s) and alive (%s)")
}

// unseen covers a host that lost its agent: what ran there may run on.
func (j *judgement) unseen(kernel []fleet.Signal) fleet.Finding {
	return j.apart(kernel, "its host has lost its agent (%s) and is alive (%s), and nobody else looks at the server")
}

// apart leaves a server that may well live to its isolatedFor.
func (j *judgement) apart(alive []fleet.Signal, format string) fleet.Finding {
	evidence := append([]fleet.Signal{*j.contact}, alive...)
	since := j.contact.Since
	due := since.Add(j.in.Server.Spec.Health.DownAfter.Std())
	cause := "host " + j.in.Status.Host
	reason := fmt.Sprintf(format, describe(*j.contact), describe(alive[0]))
	if j.now.Before(due) {
		f := j.finding(fleet.Suspect, since, evidence, reason, cause)
		f.LookAgainAt = due
		return f
	}
	return j.finding(fleet.Isolated, since, evidence, reason, cause)
}
