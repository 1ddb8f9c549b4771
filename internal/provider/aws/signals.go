package aws

import (
	"fmt"
	"slices"
	"strings"
	"time"

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
	out := []fleet.Signal{p.system(record, m, check, known, aside(server, m))}
	if works, speaks := p.works(s, server, m, in, check, known); speaks {
		out = append(out, works)
	}
	out = append(out, p.beats(server.Name, m, in)...)
	return out
}

// platformTakes is how long EC2's own recovery is given: its alarm form acts after
// two periods of a minute, and the move itself takes minutes.
const platformTakes = 10 * time.Minute

// aside reports whether the spec leaves failed hardware to EC2's own recovery, and
// the instance still has it.
func aside(s fleet.Server, m Machine) bool {
	t := s.Spec.Template.EC2
	return t != nil && t.AutoRecovery == fleet.AutoRecoveryPlatform && m.AutoRecovery != "disabled"
}

// system joins the record and the system check. Data that is missing is no answer:
// a host that vanishes may leave none, and so does a link that is cut.
func (p *Provider) system(record fleet.Signal, m Machine, c Check, known, aside bool) fleet.Signal {
	record.Answer = fleet.Yes
	switch {
	case !known, c.System == "insufficient-data":
		record.Answer = fleet.CannotTell
		record.Detail = "EC2 says running, and has no data of its status checks"
	case c.System == "impaired":
		record.Answer = fleet.No
		record.Since = p.sinceOf(m, "system", c.System, record.At)
		if !c.Since.IsZero() && c.Since.Before(record.Since) {
			record.Since = c.Since
		}
		record.Detail = "its system status check fails: the hardware, power or network below it"
		if due := record.Since.Add(platformTakes); aside && record.At.Before(due) {
			record.Answer = fleet.CannotTell
			record.Detail += "; the spec leaves it to EC2's own recovery until " + due.UTC().Format("15:04:05") + " UTC"
		}
	}
	if c.System != "impaired" {
		p.sinceOf(m, "system", c.System, record.At)
	}
	if len(c.Scheduled) > 0 {
		record.Detail += "; scheduled: " + scheduled(c.Scheduled) + "; to have it over before, on other hardware: relight heal " + m.Tags[TagServer] + " --rung recover"
	}
	return record
}

func scheduled(all []fleet.Scheduled) string {
	words := make([]string, 0, len(all))
	for _, s := range all {
		words = append(words, s.String())
	}
	return strings.Join(words, ", ")
}

// works joins all that AWS says of the guest and its application to one answer, the
// worst first: a passing check of one layer says nothing of those below it. While the
// hardware fails none of it counts: the instance check and the load balancer's fail
// with it (DET-INST).
func (p *Provider) works(s *swept, server fleet.Server, m Machine, in fleet.Instance, c Check, known bool) (fleet.Signal, bool) {
	sig := fleet.Signal{
		Source:   fleet.Source{Channel: fleet.ChannelApp, Vantage: p.opt.Region},
		Question: fleet.Works, Epoch: in.Epoch, At: s.at, Answer: fleet.No,
	}
	since := func(what, said string) time.Time {
		at := p.sinceOf(m, what, said, s.at)
		if at.Before(in.Since) {
			return in.Since // what it was before it was started again is another matter
		}
		return at
	}
	disk, guest := since("disk", c.Disk), since("instance", c.Instance)
	served := p.health(s, server, m.ID, since)
	inside, says := p.guest(server, m, in, s.at)
	switch {
	case !known:
		// Its checks are told of running instances only: it may just have been started
		// again, and what a load balancer says is of before.
		sig.Answer, sig.Detail, sig.Since = fleet.CannotTell, "EC2 has no status checks of it", s.at
	case c.System == "impaired":
		sig.Answer, sig.Detail, sig.Since = fleet.CannotTell, "its hardware fails", s.at
	case c.System != "ok":
		sig.Answer, sig.Detail, sig.Since = fleet.CannotTell, "its system status check says "+c.System, s.at
	case c.Disk == "impaired":
		sig.Detail, sig.Since = "its check of attached volumes fails: its volumes do not answer", disk
	case c.Instance == "impaired":
		sig.Detail, sig.Since = "its instance status check fails: the guest does not answer", guest
		if !c.Since.IsZero() && c.Since.Before(guest) && c.Since.After(in.Since) {
			sig.Since = c.Since
		}
	case says && inside.Answer == fleet.No:
		return inside, true
	case served.Answer == fleet.No:
		return served, true
	case says && inside.Answer == fleet.CannotTell:
		return inside, true
	case served.Answer == fleet.Yes:
		return served, true
	case len(server.Spec.Identity.Groups) > 0:
		return served, true // it has no word yet; a passing status check is not enough (S14)
	case says:
		return inside, true
	case c.Instance == "ok":
		sig.Answer, sig.Detail, sig.Since = fleet.Yes, "its instance status check passes", guest
	default:
		return fleet.Signal{}, false
	}
	return sig, true
}

// beats are the guest agent's.
func (p *Provider) beats(server string, m Machine, in fleet.Instance) []fleet.Signal {
	if p.opt.Heard == nil {
		return nil
	}
	at, epoch, heard := p.opt.Heard(server)
	if !heard || epoch != in.Epoch {
		return nil
	}
	if p.opt.Guests != nil {
		if word, ok := p.opt.Guests.Told(server); ok && word.Epoch == epoch && anothers(word, m) {
			return nil
		}
	}
	return []fleet.Signal{{
		Source:   fleet.Source{Channel: fleet.ChannelBeat, Vantage: "controller"},
		Question: fleet.Alive, Answer: fleet.Yes, Epoch: epoch, At: at, Since: in.Since,
	}}
}

// health is what load balancers see of the application: one that finds it unhealthy
// counts more than one that does not.
func (p *Provider) health(s *swept, server fleet.Server, id string, since func(what, said string) time.Time) fleet.Signal {
	out := fleet.Signal{
		Source:   fleet.Source{Channel: fleet.ChannelApp, Vantage: p.opt.Region},
		Question: fleet.Works, At: s.at, Since: s.at, Detail: "it is in no target group yet",
	}
	for _, m := range s.machines[server.Name] {
		if m.ID == id {
			out.Epoch = epochOf(m)
		}
	}
	for _, g := range server.Spec.Identity.Groups {
		for _, t := range s.targets[g.ID] {
			if t.ID != id || len(g.Ports) > 0 && !slices.Contains(g.Ports, t.Port) {
				continue
			}
			at := since(g.ID, t.Health)
			detail := fmt.Sprintf("its target group says %s", t.Health)
			switch {
			case t.Health == "unhealthy":
				out.Answer, out.Since, out.Detail = fleet.No, at, detail
				return out
			case t.Health == "healthy":
				out.Answer, out.Since, out.Detail = fleet.Yes, at, detail
			case out.Answer == fleet.CannotTell: // initial, draining, unused, unavailable
				out.Since, out.Detail = at, detail
			}
		}
	}
	return out
}
