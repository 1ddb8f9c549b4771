package oracle

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// L3, detection, and L5, the watch goes on. When the newest epoch of a server, which
// the product has called healed or healthy, stops to work in truth, and goes on not
// to work for the bound of its policy, then by that time (L3) the product has told a
// verdict other than healthy or suspect about it, has a recovery of it in hand, or
// says that it needs a person (or, where the spec says oneSource: hold, tells that
// the verdict waits for one). The bound is suspectAfter + the longer of downAfter
// and impairedAfter + slack, counted from the crash.
//
// Then, if its mode is auto, no guard is set, and the budgets have a unit left for
// every server that does not work (L5), a recovery begins within the longest back-off
// of its ladder + isolatedFor (or what it may wait for a server that it needs, see
// patience, and as long again), so that the n-th failure is healed like the first.
//
// What people change in the documents ends an expectation.
//
// It applies while every honest observer could know: one controller reigns from
// before the crash until the end of the bound, and no fault of class controller,
// store or api is in force or was within the bound before; at most one host is not in
// everybody's sight; and if it is the server's own, two others are; and at no moment
// since the crash was every host out of sight, for then the controller doubts itself and
// its silence counts from there. If it failed on a host that was out of sight already and
// executed on, or its failure was told and it ended after that, the bound counts from its
// end. What only its
// check can tell is left out for servers without one. A frozen host whose instances
// still hold their locks is no crash, nor can it be told any more what happened on it
// shortly before: whoever looks at a lock sees that they live.

type expectation struct {
	at     time.Time
	onset  time.Time
	s      *server
	t      *instance
	begins bool
}

// failed is called when an instance stops to work.
func (o *Oracle) failed(s *server, t *instance) {
	if t != s.newest || !t.verified || s.asked || s.gone || s.status.Recovery != nil || s.status.Epoch != t.epoch {
		return
	}
	if t.able && s.spec.Spec.Health.Check.IsZero() {
		return
	}
	if o.standsStill(t) {
		return
	}
	now := o.w.Now()
	if !o.undisturbed(now.Add(-window(s.spec))) || !o.stalled.IsZero() && now.Sub(o.stalled) < afterStall {
		return
	}
	o.expect(expectation{at: now.Add(window(s.spec)), onset: now, s: s, t: t})
}

// afterStall is how long a controller that stood still may suspect more slowly than the
// policy says (L3 counts from a controller that is well).
const afterStall = time.Minute

// standsStill reports that the instance is on a frozen host and still holds its locks:
// nobody can tell it from one that works.
func (o *Oracle) standsStill(t *instance) bool {
	h := o.w.Host(t.i.Host)
	return h != nil && h.Frozen && len(t.i.Volumes) > 0 && !o.around.Cloud
}

func (o *Oracle) expect(e expectation) {
	o.due = append(o.due, e)
	slices.SortStableFunc(o.due, func(a, b expectation) int { return a.at.Compare(b.at) })
}

// undisturbed reports that nothing has been wrong with controllers, their store and
// their calls since then.
func (o *Oracle) undisturbed(since time.Time) bool {
	for _, class := range []string{"controller", "store", "api"} {
		if o.troubled[class] > 0 {
			return false
		}
	}
	return o.disturbed.Before(since) && o.around.Reigns()
}

// meetDeadlines looks at what should have happened by now.
func (o *Oracle) meetDeadlines() {
	now := o.w.Now()
	for len(o.due) > 0 && !o.due[0].at.After(now) {
		e := o.due[0]
		o.due = o.due[1:]
		o.meet(e)
	}
}

// hearsBadly reports that the controller hears a host badly.
func (o *Oracle) hearsBadly() bool {
	return slices.ContainsFunc(o.w.Hosts(), func(name string) bool { return o.around.Loss(name) > clearLoss })
}

func (o *Oracle) meet(e expectation) {
	s, t := e.s, e.t
	if !t.badSince.Equal(e.onset) || t != s.newest || s.asked || s.gone || o.declared.After(e.onset) || !o.undisturbed(e.onset) || !o.seen(t, e.onset) || o.standsStill(t) {
		return
	}
	for _, name := range o.names {
		if o.guard(o.servers[name]) != "" {
			return // what people hold may hold the view of others too, such as a storm
		}
	}
	if o.hearsBadly() {
		return // it doubts itself for longer
	}
	if until := t.lastAble.Add(window(s.spec)); o.endedLater(s, t, e.onset) && e.at.Before(until) {
		e.at = until
		o.expect(e)
		return
	}
	if o.excused(e) {
		return
	}
	if until, waits := o.waitsInOrder(s, e.onset); e.begins && waits && o.w.Now().Before(until) {
		e.at = until
		o.expect(e)
		return
	}
	if e.begins {
		o.Violate("L5", s.name, "epoch %d does not work since %s and no recovery has begun: %s", t.epoch, clock(e.onset), s.held.what)
		return
	}
	if !ails(s.verdict.what) {
		o.Violate("L3", s.name, "epoch %d does not work since %s and the last verdict is %q", t.epoch, clock(e.onset), s.verdict.what)
		return
	}
	if o.free(s) {
		e.begins = true
		e.at = o.w.Now().Add(begunWithin(s))
		if s.spec.Spec.IsolatedFor > 0 || s.verdict.what != "isolated" {
			o.expect(e)
		}
	}
}

// excused reports that the server is seen to, or that it was told why not.
func (o *Oracle) excused(e expectation) bool {
	s := e.s
	switch {
	case s.status.Recovery != nil || s.status.Phase == fleet.PhaseNeedsPerson:
		return true
	case s.spec.Spec.OneSource == fleet.OneSourceHold && s.held.what == "verdict" && (!s.held.at.Before(e.onset) || s.held.at.After(s.wellAt)):
		return true // there is one source only, and it was told that a person is waited for
	case e.begins && s.held.what == "ladder" && !s.held.at.Before(e.onset) && o.triedOften(s):
		return true // its rungs are used up, and it was told that a person is needed
	case e.begins && (!o.free(s) || s.held.what == "proof" || s.held.what == "placement" || s.held.what == "storm"):
		return true // nothing proves the epoch dead yet, no place is left, or a person is asked: that is told
	default:
		return false
	}
}

// endedLater reports that the instance executed on after it had failed, and ended since. On
// a host that is out of sight nobody could look at its check, and its end is the first that
// anybody is told; where the failure was told, its end is another one, with doubts of its own.
func (o *Oracle) endedLater(s *server, t *instance, onset time.Time) bool {
	return !t.able && t.lastAble.After(onset) && (!o.hostOf(t.i.Host).clear || !s.ailsAt.Before(onset))
}

// ails reports that a verdict says that something is the matter.
func ails(verdict string) bool {
	return verdict == "down" || verdict == "impaired" || verdict == "isolated"
}

// seen reports that at most one host is out of sight now, that others can tell of
// the instance's own, and that this one has been as it is since the crash.
func (o *Oracle) seen(t *instance, onset time.Time) bool {
	h := o.hostOf(t.i.Host)
	if h.turned.After(onset) || t.able && !h.clear {
		return false // the time out of sight tells nothing about what runs there
	}
	if o.deaf() || o.deafAt.After(onset) {
		return false
	}
	clear, own := 0, false
	for _, name := range o.w.Hosts() {
		if o.hostOf(name).clear {
			clear++
			own = own || name == t.i.Host
		}
	}
	return clear >= len(o.w.Hosts())-1 && (own || clear >= 2)
}

// free reports that nothing that was declared may hold the server's recovery: no mode
// but auto, no storm that one host and what failed before it could make, and budgets
// with a unit for each server that does not work.
func (o *Oracle) free(s *server) bool {
	if o.mode(s) != fleet.Auto || o.intent.Fleet.Spec.Storm.Hosts == 1 {
		return false
	}
	ailing := 0
	for _, name := range o.names {
		if t := o.servers[name].newest; !o.servers[name].gone && (t == nil || t.okSince.IsZero()) {
			ailing++
		}
	}
	for _, domain := range append([]string{"fleet"}, o.path(s.newest.host)...) {
		b := o.budgetOf(domain)
		used := o.used(domain, b.Window.Std()+begunWithin(s), o.w.Now())
		if b.KeepAlive > 0 || b.Steps > 0 && used+ailing > b.Steps {
			return false
		}
	}
	return true
}

// begunWithin is how long after the verdict a recovery that nothing holds must begin.
func begunWithin(s *server) time.Duration {
	return s.spec.Spec.Ladder.MaxBackOff.Std() + s.spec.Spec.IsolatedFor.Std() + slack
}
