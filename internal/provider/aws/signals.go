package aws

import (
	"fmt"
	"strings"

	"relight/internal/core/fleet"
)

// signals are what AWS and the guest's own agent say of an instance.
//
// EC2's record says that an instance runs or not; its system check speaks of the
// hardware below, its instance check of the guest. The check of attached volumes says
// nothing of the instance: a relaunch would meet the same dead volume (DET-EBS).
func (p *Provider) signals(s *swept, server fleet.Server, m Machine, in fleet.Instance) []fleet.Signal {
	record := fleet.Signal{
		Source:   fleet.Source{Channel: fleet.ChannelProvider, Vantage: p.opt.Region},
		Question: fleet.Alive, Epoch: in.Epoch, At: s.at, Since: in.Since, Detail: "EC2 says " + m.State,
	}
	if m.Reason != "" {
		record.Detail += " (" + m.Reason + ")"
	}
	switch in.State {
	case fleet.InstanceTerminated, fleet.InstanceStopped:
		record.Answer, record.CannotLie = fleet.No, true
		return []fleet.Signal{record}
	case fleet.InstanceRunning:
	default:
		return []fleet.Signal{record}
	}
	check, known := s.checks[m.ID]
	out := []fleet.Signal{p.system(record, m.ID, check, known)}
	if works, speaks := p.guest(record, m.ID, check, known); speaks {
		out = append(out, works)
	}
	out = append(out, p.beats(server.Name, in)...)
	for _, g := range server.Spec.Identity.Groups {
		out = append(out, p.health(s, g.ID, m.ID, in)...)
	}
	return out
}

// system joins the record and the system check. Data that is missing is no answer:
// a host that vanishes may leave none, and so does a link that is cut.
func (p *Provider) system(record fleet.Signal, id string, c Check, known bool) fleet.Signal {
	record.Answer = fleet.Yes
	switch {
	case !known, c.System == "insufficient-data":
		record.Answer = fleet.CannotTell
		record.Detail = "EC2 says running, and has no data of its status checks"
	case c.System == "impaired":
		record.Answer = fleet.No
		record.Since = p.sinceOf(id+"/system", c.System, record.At)
		if !c.Since.IsZero() && c.Since.Before(record.Since) {
			record.Since = c.Since
		}
		record.Detail = "its system status check fails: the hardware, power or network below it"
	}
	if c.System != "impaired" {
		p.sinceOf(id+"/system", c.System, record.At)
	}
	if len(c.Planned) > 0 {
		record.Detail += "; scheduled: " + strings.Join(c.Planned, ", ")
	}
	if c.Disk == "impaired" {
		record.Detail += "; its volumes cannot be reached: another instance would meet the same volumes"
	}
	return record
}

// guest is what the instance check says of the guest. It fails with the system
// check as well; then it is the hardware's matter (DET-INST).
func (p *Provider) guest(record fleet.Signal, id string, c Check, known bool) (fleet.Signal, bool) {
	if !known || c.System != "ok" || c.Instance != "ok" && c.Instance != "impaired" {
		return fleet.Signal{}, false
	}
	works := record
	works.Question, works.Since = fleet.Works, p.sinceOf(id+"/instance", c.Instance, record.At)
	works.Answer, works.Detail = fleet.Yes, "its instance status check passes"
	if c.Instance == "impaired" {
		works.Answer, works.Detail = fleet.No, "its instance status check fails: the guest does not answer"
		if !c.Since.IsZero() && c.Since.Before(works.Since) {
			works.Since = c.Since
		}
		if c.Disk == "impaired" {
			works.Answer = fleet.CannotTell
			works.Detail += ", and neither do its volumes, which may be the cause"
		}
	}
	return works, true
}

// beats are the guest agent's.
func (p *Provider) beats(server string, in fleet.Instance) []fleet.Signal {
	if p.opt.Heard == nil {
		return nil
	}
	at, epoch, heard := p.opt.Heard(server)
	if !heard || epoch != in.Epoch {
		return nil
	}
	return []fleet.Signal{{
		Source:   fleet.Source{Channel: fleet.ChannelBeat, Vantage: "controller"},
		Question: fleet.Alive, Answer: fleet.Yes, Epoch: epoch, At: at, Since: in.Since,
	}}
}

// health is what a load balancer sees of the application.
func (p *Provider) health(s *swept, group, id string, in fleet.Instance) []fleet.Signal {
	for _, t := range s.targets[group] {
		if t.ID != id {
			continue
		}
		sig := fleet.Signal{
			Source:   fleet.Source{Channel: fleet.ChannelApp, Vantage: "the load balancer"},
			Question: fleet.Works, Epoch: in.Epoch, At: s.at, Since: p.sinceOf(id+"/"+group, t.Health, s.at),
			Detail: fmt.Sprintf("its target group says %s", t.Health),
		}
		switch t.Health {
		case "healthy":
			sig.Answer = fleet.Yes
		case "unhealthy":
			sig.Answer = fleet.No
		default: // initial, draining, unused, unavailable: no word on the application
		}
		return []fleet.Signal{sig}
	}
	return nil
}

// Uses lists the API whose bucket a step's main call takes from; for
// provider.Limits.
func Uses(kind fleet.StepKind, object fleet.Object, rung fleet.Rung) []string {
	switch kind {
	case fleet.StepLaunch:
		return []string{"RunInstances"}
	case fleet.StepRecover:
		return []string{"StartInstances"}
	case fleet.StepReboot:
		return []string{"RebootInstances"}
	case fleet.StepStop:
		if rung == fleet.Recover {
			return []string{"StopInstances"}
		}
		return []string{"TerminateInstances"}
	case fleet.StepAttach:
		switch {
		case object.Volume != "":
			return []string{"AttachVolume"}
		case object.Interface != "":
			return []string{"AttachNetworkInterface"}
		case object.Address != "":
			return []string{"AssociateAddress"}
		}
	case fleet.StepDetach:
		switch {
		case object.Volume != "":
			return []string{"DetachVolume"}
		case object.Interface != "":
			return []string{"DetachNetworkInterface"}
		}
	}
	return nil
}
