package sim

import (
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// witnesses is how many other hosts probe a host and its servers.
const witnesses = 2

// agentSignals are a host agent's words on its own child: directly, by its beats,
// and from the application's own check.
func (l look) agentSignals(s *fleet.Server, i *world.Instance, h *world.Host, seen fleet.Instance) {
	seen, beaten := l.beaten(i, h, seen)
	alive := fleet.Signal{
		Source: fleet.Source{Channel: fleet.ChannelAgent, Vantage: h.Name}, Question: fleet.Alive,
		Epoch: i.Epoch, At: seen.At, Since: seen.Since, Detail: seen.Detail,
	}
	switch {
	case seen.State.Gone():
		alive.Answer, alive.CannotLie = fleet.No, true
	case seen.State == fleet.InstanceRunning:
		alive.Answer = fleet.Yes
	}
	beat := alive
	beat.Source = fleet.Source{Channel: fleet.ChannelBeat, Vantage: controller}
	if at := l.beatAt(h); at.After(beat.At) {
		beat.At = at
	}
	l.signals = append(l.signals, alive, beat)
	if seen.State == fleet.InstanceRunning && !s.Spec.Health.Check.IsZero() {
		works := l.check(i, h, l.seenAt(h))
		switch {
		case l.p.opts.Hearing == nil:
		case beaten && !i.AppSince.After(seen.At): // of what has changed since nobody knows what it was
			works = l.p.heard.check(i.ID, l.check(i, h, seen.At), true)
		default:
			works = l.p.heard.check(i.ID, works, l.p.contact(h))
		}
		l.signals = append(l.signals, works)
	}
}

// beaten is what the beats of a host say of an instance, if they still come though the
// host hears nobody. It reports whether they tell more than what was seen.
func (l look) beaten(i *world.Instance, h *world.Host, seen fleet.Instance) (fleet.Instance, bool) {
	at := l.beatAt(h)
	if !at.After(seen.At) || i.Since.After(at) {
		return seen, false
	}
	seen.State, seen.Since, seen.Detail, seen.At = i.State, i.Since, i.Detail, at
	return seen, true
}

// check is the application's own check as its host made it at that time.
func (l look) check(i *world.Instance, h *world.Host, at time.Time) fleet.Signal {
	works := fleet.Signal{
		Source: fleet.Source{Channel: fleet.ChannelApp, Vantage: h.Name}, Question: fleet.Works, Epoch: i.Epoch,
		Answer: fleet.No, At: at, Since: i.WorksSince, Detail: appWords(i.App),
	}
	if i.App == world.AppOK || i.AppSince.After(works.At) {
		works.Answer, works.Detail = fleet.Yes, ""
	}
	if works.Since.After(works.At) {
		works.Since = works.At
	}
	return works
}

// appWords says how an application fails its check.
func appWords(a world.AppState) string {
	switch a {
	case world.AppMute:
		return "the application does not answer"
	case world.AppFails:
		return "the application answers with errors"
	default:
		return "the application is " + string(a)
	}
}

// platformSignals are a cloud's record with its status checks, and the guest
// agent's beats and check.
func (l look) platformSignals(s *fleet.Server, i *world.Instance, h *world.Host) {
	record := fleet.Signal{
		Source: fleet.Source{Channel: fleet.ChannelProvider, Vantage: controller}, Question: fleet.Alive,
		Epoch: i.Epoch, At: l.now, Since: i.Since, Detail: "its record says " + string(i.State),
	}
	switch i.State {
	case fleet.InstanceTerminated, fleet.InstanceStopped:
		record.Answer, record.CannotLie = fleet.No, true
		l.signals = append(l.signals, record)
		return
	case fleet.InstanceRunning:
		record.Answer = fleet.Yes
		if !l.w.Able(i) {
			record.Answer, record.Since = fleet.No, i.AppSince
			record.Detail = "its status check fails"
		}
	default:
		l.signals = append(l.signals, record)
		return
	}
	beat := fleet.Signal{
		Source: fleet.Source{Channel: fleet.ChannelBeat, Vantage: controller}, Question: fleet.Alive,
		Epoch: i.Epoch, Answer: fleet.Yes, At: l.guestSeenAt(i, h), Since: i.Since,
	}
	l.signals = append(l.signals, record, beat)
	if i.Executes && !s.Spec.Health.Check.IsZero() {
		works := l.check(i, h, l.seenAt(h))
		if l.p.opts.Hearing != nil {
			works = l.p.heard.check(i.ID, works, l.p.contact(h))
		}
		l.signals = append(l.signals, works)
	}
}

// guestSeenAt is when the guest's agent was last heard: until it ended, or until
// its host fell silent.
func (l look) guestSeenAt(i *world.Instance, h *world.Host) time.Time {
	at := l.seenAt(h)
	if !i.Executes && i.AppSince.Before(at) {
		at = i.AppSince
	}
	return at
}

// probes are what other hosts see of a running server over the network.
func (l look) probes(s *fleet.Server, i *world.Instance, h *world.Host) {
	c := &s.Spec.Health.Check
	if (c.HTTP == "" && c.TCP == "") || i.State.Gone() || i.State == fleet.InstancePending {
		return
	}
	alive, works := fleet.No, fleet.No
	if h.HasPeers() && i.Executes {
		switch i.App {
		case world.AppOK:
			alive, works = fleet.Yes, fleet.Yes
		case world.AppFails:
			alive = fleet.Yes
		case world.AppMute:
			alive = fleet.CannotTell
		default: // nobody answers
		}
	}
	for _, seer := range l.seers(h, (*world.Host).HasPeers) {
		sig := fleet.Signal{
			Source:   fleet.Source{Channel: fleet.ChannelProbe, Vantage: seer},
			Question: fleet.Alive, Answer: alive, Epoch: i.Epoch, At: l.now, Since: l.since(i, h),
		}
		l.signals = append(l.signals, sig)
		sig.Question, sig.Answer = fleet.Works, works
		l.signals = append(l.signals, sig)
	}
}

// since is the last change of what a probe sees.
func (l look) since(i *world.Instance, h *world.Host) time.Time {
	if h.ContactSince.After(i.AppSince) && !h.InContact() { // the truth's own time
		return h.ContactSince
	}
	return i.AppSince
}

// seers are the first other hosts in contact that can look.
func (l look) seers(at *world.Host, can func(*world.Host) bool) []string {
	out := l.watchers[:0]
	for _, name := range l.w.Hosts() {
		h := l.w.Host(name)
		if name != at.Name && l.p.contact(h) && can(h) {
			out = append(out, name)
		}
		if len(out) == witnesses {
			break
		}
	}
	return out
}

// hostSignals are a host's beats, and what others see of it over the network and
// on shared storage.
func (l look) hostSignals(h *world.Host) {
	beat := fleet.Signal{
		Source: fleet.Source{Channel: fleet.ChannelBeat, Vantage: controller}, Question: fleet.Alive,
		Answer: fleet.Yes, At: l.beatAt(h), Since: h.ContactSince,
	}
	if beat.At.IsZero() {
		// Its silence counts from when this controller began to listen.
		beat.Answer, beat.At, beat.Since = fleet.CannotTell, l.p.heard.born, l.p.heard.born
		beat.Detail = "nothing was heard of it since the controller started"
	}
	if !beat.At.IsZero() {
		l.signals = append(l.signals, beat)
	}
	see := func(channel fleet.Channel, is bool, can func(*world.Host) bool) {
		answer := fleet.No
		if is {
			answer = fleet.Yes
		}
		for _, seer := range l.seers(h, can) {
			l.signals = append(l.signals, fleet.Signal{
				Source: fleet.Source{Channel: channel, Vantage: seer}, Question: fleet.Alive,
				Answer: answer, At: l.now, Since: h.ContactSince,
			})
		}
	}
	// The agent answers pings and writes the heartbeat on the storage: both end with it.
	see(fleet.ChannelProbe, h.HasPeers() && !h.Mute, (*world.Host).HasPeers)
	see(fleet.ChannelStorage, h.HasStorage() && !h.Mute, (*world.Host).HasStorage)
}
