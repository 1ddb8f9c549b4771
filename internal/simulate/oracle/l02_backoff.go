package oracle

import (
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// L2, attempts stay within their budget and back off. Counted from the calls as
// they were sent:
//
//   - a rung makes at most its declared tries within the ladder's window: each epoch
//     that is started by it, and each reset or restart in place with a token of its
//     own, is one; the very first start, those that a person asked for and those
//     after a place refused or had no room (the same rung goes elsewhere) do not count,
//     nor do those that were refused for want of room;
//   - the same source of proof (kind, epoch, host, volume) that has failed k times in
//     a row within one recovery is asked again only after nine tenths of the declared
//     back-off for k failures, at least 0.9 s; a failure that the store did not take is
//     none: the product cannot know of it, and makes the same call or another one next.
//     An array that can be asked again is news, for which nobody waits;
//   - whatever happens, no server gets more than 40 destructive calls in 10 seconds, or
//     ten for each that an epoch takes, see hottest.
//
// Counts begin anew when a controller starts, as replays of what was under way are
// no new attempts.

// tries are the attempts of one rung; last is what the latest of them is known by.
type tries struct {
	at   []time.Time
	last string
}

// sending is how one source of proof was asked.
type sending struct {
	failed   int
	at       time.Time // of the last answer
	recovery string
	// unread is true while nobody knows whether the product could note the last failure,
	// before is when the answer came that it knows of if it could not.
	unread bool
	before time.Time
}

const (
	hotCalls = 40
	hotTime  = 10 * time.Second
)

func (o *Oracle) sentWithinLimits(c Call, s *server) {
	step := c.Call.Step
	now := o.w.Now()
	n := 0
	for k := len(s.acts) - 1; k >= 0 && now.Sub(s.acts[k].at) < hotTime; k-- {
		if !s.acts[k].done {
			n++
		}
	}
	if n >= hottest(s.spec) {
		o.Violate("L2", s.name, "%d destructive calls within %s", n+1, hotTime)
	}
	o.countTry(c, s)
	s.countStart(step, now)
	w := o.sent[source(step)]
	if r := s.was.Recovery; r != nil && r.Last != nil && r.Last.Step.Token == step.Token && r.Last.State == fleet.StepIntended {
		return // its answer was never recorded: this is the same call once more
	}
	if w == nil || w.failed == 0 || w.recovery != recoveryOf(s) || o.disturbed.After(w.at) || s.asked {
		return
	}
	if step.Kind == fleet.StepSeal && step.Via == "" && (o.arrays.After(w.at) || o.errs(s, step.Object.Volume) || o.stale()) {
		return // the array that could not be asked can be asked again: that is news
	}
	if wait := now.Sub(w.at); wait < backedOff(s.spec.Spec.Ladder, w.failed) {
		o.Violate("L2", s.name, "%s is asked again %s after it failed %d times in a row", source(step), wait, w.failed)
	}
}

// hottest is how many destructive calls a server may get within hotTime: four places may be
// asked at once, and again after the pause, and what is left there is ended. An epoch takes
// each volume and address, is started and ended, and is shut out of each LUN.
func hottest(s fleet.Server) int {
	calls := 2 + len(s.Spec.Identity.Volumes) + len(s.Spec.Identity.Addresses)
	for _, v := range s.Spec.Identity.Volumes {
		if v.OnArray() {
			calls++
		}
	}
	return max(hotCalls, 10*calls)
}

// errs reports that the array of a volume answers some questions and fails others: each
// look that it answers is the news that it can be asked, and the call may fail again. So
// does one that is answered with what was so a while ago.
func (o *Oracle) errs(s *server, volume string) bool {
	v := o.w.Volume(s.name + "/" + volume)
	return v != nil && v.LUN() != nil && v.LUN().Array().Errs()
}

// backedOff is the least wait that the ladder declares after so many failures.
func backedOff(l fleet.Ladder, failed int) time.Duration {
	d := l.BackOff.Std()
	for range failed - 1 {
		if d < l.MaxBackOff.Std() {
			d *= 2
		}
	}
	d = max(min(d, l.MaxBackOff.Std()), time.Second)
	return d - d/10
}

func recoveryOf(s *server) string {
	if s.status.Recovery == nil {
		return ""
	}
	return s.status.Recovery.ID
}

// source names a source of proof, or is empty for other steps. A step of a leftover
// has a back-off of its own.
func source(step fleet.Step) string {
	switch step.Kind {
	case fleet.StepStop, fleet.StepSeal, fleet.StepPowerOff:
		if step.Rung == "" {
			return ""
		}
		return string(step.Kind) + " of " + step.Server + "." + itoa(uint64(step.Epoch)) + " " + step.Object.Volume + " on " + step.Host + " via " + step.Via
	default:
		return ""
	}
}

// noted looks at a change of what is stored about a server, for the answer of the step
// that was in hand: as long as the store does not take it, nobody is to wait for it.
func (o *Oracle) noted(was, is *fleet.Recovery) {
	if was == nil || was.Last == nil || was.Last.State != fleet.StepIntended {
		return
	}
	w := o.sent[source(was.Last.Step)]
	if w == nil || !w.unread || w.failed == 0 {
		return
	}
	same := is != nil && is.Last != nil && is.Last.Step.Token == was.Last.Step.Token
	switch {
	case same && is.Last.State != fleet.StepIntended:
		w.unread = false
	case same && is.Last.Begun.Equal(was.Last.Begun): // it was written for something else
	default:
		w.unread, w.failed, w.at = false, w.failed-1, w.before
	}
}

// answered counts failures in a row.
func (o *Oracle) answered(c Call) {
	o.noRoomFor(c)
	key := source(c.Call.Step)
	if key == "" {
		return
	}
	s := o.servers[c.Call.Step.Server]
	w := o.sent[key]
	if w == nil || w.recovery != recoveryOf(s) {
		w = &sending{recovery: recoveryOf(s)}
		o.sent[key] = w
	}
	w.before, w.at = w.at, o.w.Now()
	w.failed, w.unread = w.failed+1, true
	if c.Err == nil {
		w.failed, w.unread = 0, false
	}
}

// noRoomFor takes a try back that was refused for want of room.
func (o *Oracle) noRoomFor(c Call) {
	step := c.Call.Step
	if class, _ := provider.ClassOf(c.Err); c.Err == nil || class != provider.Capacity || !step.Kind.NeedsProof() {
		return
	}
	s := o.servers[step.Server]
	if t := s.launch[string(step.Rung)]; t.last == itoa(uint64(step.Epoch)) && len(t.at) > 0 {
		t.at, t.last = t.at[:len(t.at)-1], ""
		s.launch[string(step.Rung)] = t
	}
}

// countStart counts a relaunch for whatever reason: more than the product need count.
func (s *server) countStart(step fleet.Step, now time.Time) {
	again := len(s.starts) > 0 && s.starts[len(s.starts)-1].epoch == step.Epoch
	if step.Rung == fleet.Relaunch && step.Kind.NeedsProof() && !again {
		s.starts = append(s.starts, start{at: now, epoch: step.Epoch})
	}
}

// triedOften reports that as many relaunches were tried as the ladder allows. A first start
// that was never verified is one of them.
func (o *Oracle) triedOften(s *server) bool {
	l, n := s.spec.Spec.Ladder, 0
	for _, t := range s.starts {
		if first := s.find(1); t.epoch == 1 && first != nil && first.verified {
			continue
		}
		if o.w.Now().Sub(t.at) < l.Window.Std()+l.MaxBackOff.Std() {
			n++
		}
	}
	for _, rung := range l.Rungs {
		if rung.Rung == fleet.Relaunch {
			return n >= rung.Tries
		}
	}
	return true
}

// countTry counts one more attempt of a rung if the call is its first.
func (o *Oracle) countTry(c Call, s *server) {
	step := c.Call.Step
	switch {
	case step.Kind.NeedsProof() && step.Epoch > 1:
	case step.Kind == fleet.StepReboot, step.Kind == fleet.StepRestartApp:
	default:
		return
	}
	key := step.Token
	if step.Kind.NeedsProof() {
		key = itoa(uint64(step.Epoch))
	}
	r := s.status.Recovery
	if s.launch == nil {
		s.launch = map[string]tries{}
	}
	if _, known := s.launch["key "+key]; known || s.asked || r == nil || r.Requested != "" {
		return
	}
	s.launch["key "+key] = tries{}
	if o.disturbed.After(r.Begun) || len(r.Refused) > 0 {
		return
	}
	l := s.spec.Spec.Ladder
	now := o.w.Now()
	t := s.launch[string(step.Rung)]
	n := 1
	for _, at := range t.at {
		if now.Sub(at) < l.Window.Std()-l.Window.Std()/50 {
			n++
		}
	}
	t.at, t.last = append(t.at, now), key
	s.launch[string(step.Rung)] = t
	for _, rung := range l.Rungs {
		if rung.Rung == step.Rung && n > rung.Tries {
			o.Violate("L2", s.name, "try %d of %s within %s, it may be tried %d times", n, step.Rung, l.Window, rung.Tries)
		}
	}
}
