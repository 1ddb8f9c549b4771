package decide

import (
	"slices"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// Result is how a step ended.
type Result struct {
	State fleet.StepState
	Class string
	Error string
	// Away is true if who had to carry it out could not be asked: nothing was done.
	Away     bool
	Evidence []fleet.Evidence
	// Made is what was made for a server that is away, by the objects of its spec.
	Made map[fleet.Object]fleet.Made
}

// keepFailed bounds the failures that a recovery carries with it.
const keepFailed = 12

// keepAttempts bounds the attempts that a status carries with it.
const keepAttempts = 32

// Intend returns the status with the decision's step journaled, before its
// effect. It is what the store must hold before the step may be done; for a
// record step it is all that happens.
func Intend(s fleet.Status, d Decision, now time.Time) fleet.Status {
	s = clone(s)
	if d.Begins != nil {
		r := *d.Begins
		s.Recovery, s.Phase = &r, fleet.PhaseRecovering
	}
	if d.Step == nil {
		return s
	}
	step := *d.Step
	if d.Written != nil {
		s.Written = d.Written
	}
	unanswered(s.Recovery, step, now)
	switch step.Kind {
	case fleet.StepAdopt:
		// Whatever was being made of an epoch before it has no object any more. That it
		// runs is not yet that it works: its own checks have to say so (S14).
		if s.Epoch == step.Epoch {
			s.SetBack = false // it was known, and so is when it was started and verified
		} else {
			s.LaunchedAt, s.VerifiedAt, s.Given = now, time.Time{}, nil
		}
		s.Epoch, s.Host = step.Epoch, step.Host
		s.Phase, s.Recovery, s.Message = fleet.PhaseRunning, nil, step.Why
		return s
	case fleet.StepClose:
		return closed(s, now)
	case fleet.StepGiveUp:
		return gaveUp(s, step, now)
	case fleet.StepClimb:
		return climbed(s, step, now)
	case fleet.StepCallOff:
		return calledOff(s, step)
	default: // all others act on the world
	}
	r := s.Recovery
	if r == nil || ofLeftover(step) {
		s.Leftovers = noteLeftover(s.Leftovers, fleet.StepRecord{Step: step, State: fleet.StepIntended, Begun: now})
		return s
	}
	if r.Last != nil && r.Last.State == fleet.StepIntended && r.Last.Step.Kind.NeedsProof() {
		r.MayLive = true // its controller ended before the answer
	}
	tries, since := 1, now
	if last := lastCall(r, step.Token); last != nil {
		tries, since = last.Tries+1, last.Since
	}
	if r.Last != nil && r.Last.Step.Token == step.Token && r.Last.State == fleet.StepIntended {
		tries = r.Last.Tries // a replay after a crash: the try before never ended
		acts(r, step, now)
		if step.Kind.NeedsProof() {
			// The call before may have had its effect: a refusal of this one must not
			// be taken for proof that nothing was started (S2).
			lost := *r.Last
			lost.State, lost.Ended, lost.Error = fleet.StepUnknown, now, "its controller ended before the answer"
			r.Failed = append(r.Failed, lost)
		}
	}
	r.Last = &fleet.StepRecord{Step: step, State: fleet.StepIntended, Begun: now, Since: since, Tries: tries}
	mark(r, step.Kind, now, time.Time{})
	if step.Kind.NeedsProof() && step.Epoch > s.Epoch {
		s = takeEpoch(s, d, step, now)
	}
	s.Message = step.Why
	return s
}

// unanswered keeps what may have been done, when another step follows a call whose
// controller ended before the answer: a move would be called off as if it had ended
// nothing, and an epoch that an array may have shut out would be let in again (S2).
func unanswered(r *fleet.Recovery, next fleet.Step, now time.Time) {
	if r == nil || r.Last == nil || r.Last.State != fleet.StepIntended || r.Last.Step.Token == next.Token {
		return
	}
	acts(r, r.Last.Step, now)
	if !shuts(r.Last.Step) {
		return
	}
	noteFence(r, r.Last.Step, Result{State: fleet.StepUnknown, Error: "its controller ended before the answer"}, now)
}

// takeEpoch raises the epoch before the first call that carries it: a call whose
// reply is lost must find the epoch used up (S3). The evidence behind the proof
// is stored with it (S2).
func takeEpoch(s fleet.Status, d Decision, step fleet.Step, now time.Time) fleet.Status {
	r := s.Recovery
	r.From, r.To, r.Host, r.SetBack = step.Epoch-1, step.Epoch, step.Host, false
	if r.Before, s.Away = s.Away, d.Away; s.Away != nil && s.Away.Epoch == step.Epoch {
		r.Lost = s.Away.Loss()
	}
	// The proved epoch may be one that only the resources knew, and that ran
	// elsewhere: a power-off of the stored host would prove nothing about it.
	r.FromHost = d.FromHost
	// The epoch before is dead: whatever becomes of this try, one must be made.
	acts(r, step, now)
	ran, _ := fence.Last(s.Server, r.From, "", s.Evidence)
	s.Evidence = append(keepEvidence(s.Evidence, ran), missingFrom(s.Evidence, d.Proof.Evidence())...)
	if s.Host != "" && step.Host != "" && s.Host != step.Host && !s.VerifiedAt.IsZero() {
		s.CameFrom = s.Host
	}
	s.Epoch, s.Host, s.SetBack = step.Epoch, step.Host, false
	if s.Epoch > s.Skip {
		s.Skip = 0
	}
	if r.Requested != "" {
		s.AskedFor = s.Epoch
	}
	s.LaunchedAt, s.VerifiedAt, s.Given = now, time.Time{}, nil
	s.Phase = fleet.PhaseRecovering
	return s
}

// stuckAfter is how often each source of proof must have failed in a row before a
// person is asked.
const stuckAfter = 5

// phaseOfRecovery is the phase of a server whose recovery runs: one for which no
// source gives a proof needs a person, who can attest it (L1). It is tried on all the
// same, for a source may come to answer.
func phaseOfRecovery(s fleet.Status) fleet.Phase {
	if s.Recovery.To != 0 || len(s.Recovery.Fences) == 0 {
		return s.Phase
	}
	for _, t := range s.Recovery.Fences {
		if t.Failed < stuckAfter {
			return fleet.PhaseRecovering
		}
	}
	return fleet.PhaseNeedsPerson
}

// missingFrom returns the evidence that is not stored yet.
func missingFrom(have, used []fleet.Evidence) []fleet.Evidence {
	var out []fleet.Evidence
	for _, u := range used {
		if !hasEvidence(have, u) {
			out = append(out, u)
		}
	}
	return out
}

func hasEvidence(have []fleet.Evidence, e fleet.Evidence) bool {
	for _, h := range have {
		if h.Method == e.Method && h.Epoch == e.Epoch && h.Volume == e.Volume && (e.Method.Final() || h.At.Equal(e.At)) {
			return true
		}
	}
	return false
}

// keepEvidence drops evidence about epochs before the given one.
func keepEvidence(list []fleet.Evidence, from fleet.Epoch) []fleet.Evidence {
	var out []fleet.Evidence
	for _, e := range list {
		if e.Epoch >= from {
			out = append(out, e)
		}
	}
	return out
}

// Record returns the status with the outcome of the step in hand.
func Record(s fleet.Status, step fleet.Step, res Result, now time.Time) fleet.Status {
	s = clone(s)
	for _, e := range res.Evidence {
		if !hasEvidence(s.Evidence, e) {
			s.Evidence = append(s.Evidence, e)
		}
	}
	r := s.Recovery
	if r == nil || r.Last == nil || r.Last.Step.Token != step.Token {
		endLeftover(s.Leftovers, step, res, now)
		return s
	}
	if res.State != fleet.StepFailed {
		acts(r, step, now)
	}
	if mayLive(step.Kind, res.State, res.Class) {
		r.MayLive = true
		if step.Kind != fleet.StepAttach {
			r.Ran = step.Host
		}
	}
	s.Away = s.Away.Made(res.Made)
	if s.Away != nil && s.Away.Epoch == r.To && r.To != 0 {
		r.Lost = s.Away.Loss() // it names what was made
	}
	s = used(s)
	noteFence(r, step, res, now)
	s.Phase = phaseOfRecovery(s)
	r.Last.State, r.Last.Class, r.Last.Error, r.Last.Ended = res.State, res.Class, res.Error, now
	mark(r, step.Kind, r.Last.Begun, now)
	noteRoom(r, *r.Last, now)
	if res.State != fleet.StepDone {
		r.Failed = failed(r.Failed, *r.Last)
		if (res.Class == classCapacity || res.Class == classRefused) && step.Kind.NeedsProof() && step.Host != "" && !step.Create {
			r.Refused = append(r.Refused, step.Host)
		}
		return s
	}
	r.Done = append(r.Done, step.Token)
	s.Given = given(s, step)
	r.EffectAt = now
	if step.Kind == fleet.StepLaunch || step.Kind == fleet.StepRecover {
		s.LaunchedAt = now
	}
	return s
}

// mayLive reports that a call that carries a new epoch had an effect, or may have. Of
// a launch that is in conflict, or never possible, nobody can tell what is there: the
// epoch may exist already.
func mayLive(kind fleet.StepKind, state fleet.StepState, class string) bool {
	switch {
	case !kind.NeedsProof():
		return false
	case state != fleet.StepFailed || class == "" || class == classPermanent:
		return true
	default:
		return class == classConflict && kind != fleet.StepAttach
	}
}

// abandon notes, when the epoch that was taken is given up, that nothing of it was
// ever started or attached, if the journal knows that (S2). Not earlier: what has no
// instance may still get one by a repeated call.
func abandon(s fleet.Status, now time.Time) fleet.Status {
	r := s.Recovery
	if r.To == 0 || r.To != s.Epoch || r.MayLive {
		return s
	}
	if last := r.Last; last != nil && last.State == fleet.StepIntended && last.Step.Kind.NeedsProof() {
		return s // it was never answered
	}
	e := fleet.Evidence{Method: fleet.NeverStarted, Server: s.Server, Epoch: r.To, Host: r.FromHost, By: "the journal", At: now, Detail: s.Message}
	if n := len(r.Failed); n > 0 {
		e.Detail = r.Failed[n-1].Error
	}
	if !hasEvidence(s.Evidence, e) {
		s.Evidence = append(s.Evidence, e)
	}
	return stayed(s)
}

// failed adds a failure and drops the oldest that had surely no effect, if there
// are too many. One of unknown effect stays: without it a later refusal would
// pass for proof that nothing was started (S2).
func failed(list []fleet.StepRecord, rec fleet.StepRecord) []fleet.StepRecord {
	list = append(list, rec)
	if len(list) <= keepFailed {
		return list
	}
	sure := func(f fleet.StepRecord) bool {
		return f.State == fleet.StepFailed || phaseOf(f.Step.Kind) == phaseFence || f.Step.Kind == fleet.StepDetach
	}
	if i := slices.IndexFunc(list[:len(list)-1], sure); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// acts notes that a step ended or replaced the instance, or may have. A restart in
// place leaves one whole server behind, whatever becomes of it; and what a planned move does
// to epochs beside the one that serves, such as one that was let in by hand, leaves that one
// to be moved, or to be healed if its host dies meanwhile (S4).
func acts(r *fleet.Recovery, step fleet.Step, now time.Time) {
	beside := r.Planned != nil && r.To == 0 && step.Epoch != r.From
	if r.ActedAt.IsZero() && step.Kind.Destructive() && !mendsInPlace(step.Kind) && !beside {
		r.ActedAt = now
	}
}

// lastCall returns the last call that was made with a token in this try, or nil. A
// fence that had to be done again in between does not begin the count anew.
func lastCall(r *fleet.Recovery, token string) *fleet.StepRecord {
	if r.Last != nil && r.Last.Step.Token == token {
		return r.Last
	}
	for i := len(r.Failed) - 1; i >= 0; i-- {
		if r.Failed[i].Step.Token == token {
			return &r.Failed[i]
		}
	}
	return nil
}

func closed(s fleet.Status, now time.Time) fleet.Status {
	if r := s.Recovery; r != nil && r.Planned == nil && acted(r) && (r.From != 0 || r.To == 0) {
		s.Attempts = attempted(s.Attempts, fleet.Attempt{Rung: r.Rung, At: now, Healed: true})
	}
	if r := s.Recovery; r != nil && r.Planned != nil && r.Planned.Back != "" {
		s.CameFrom = r.Planned.CameFrom // it is where it was
	}
	s.Phase, s.VerifiedAt, s.Given, s.Recovery = fleet.PhaseRunning, now, nil, nil
	s.Message = ""
	return s
}

// acted reports whether the present try did something, or may have: a try whose
// replies are lost counts too, or a server could be restarted without end.
func acted(r *fleet.Recovery) bool {
	unknown := func(rec fleet.StepRecord) bool { return rec.State == fleet.StepUnknown }
	asked := r.Last != nil && r.Last.State == fleet.StepIntended && mendsInPlace(r.Last.Step.Kind)
	return len(r.Done) > 0 || asked || slices.ContainsFunc(r.Failed, unknown)
}

func gaveUp(s fleet.Status, step fleet.Step, now time.Time) fleet.Status {
	s = abandon(s, now)
	s.Attempts = attempted(s.Attempts, fleet.Attempt{Rung: s.Recovery.Rung, At: now})
	s.Phase, s.Recovery, s.Message = fleet.PhaseNeedsPerson, nil, step.Why
	return s
}

func climbed(s fleet.Status, step fleet.Step, now time.Time) fleet.Status {
	s = abandon(s, now)
	r := s.Recovery
	if !forRoom(r) && !placeless(r, step) && (r.Planned == nil || step.Host == "") {
		s.Attempts = attempted(s.Attempts, fleet.Attempt{Rung: r.Rung, At: now})
	}
	if r.To != 0 {
		// The try that failed took an epoch; that one must be proved dead next.
		r.From, r.FromHost = r.To, r.Host
	}
	ran, _ := fence.Last(s.Server, r.From, "", s.Evidence)
	r.Fences = slices.DeleteFunc(r.Fences, func(t fleet.FenceTry) bool { return t.Epoch < ran })
	if roundEnds(r, step) {
		r.Refused = nil // room may have come back by then
	}
	r.Planned = replanned(r.Planned, step)
	r.Rung, r.RungBegun, r.EffectAt = step.Rung, now, time.Time{}
	r.To, r.Host, r.MayLive, r.Done, r.Failed, r.NotBefore = 0, "", false, nil, nil, time.Time{}
	if step.Pause > 0 {
		r.NotBefore = now.Add(step.Pause.Std())
	}
	r.Last = &fleet.StepRecord{Step: step, State: fleet.StepDone, Begun: now, Ended: now, Tries: 1}
	s.Message = step.Why
	return s
}

// placeless reports that the try is given up for a later rung and nothing of it was ever
// made: it found no place, or had nothing to work on. It uses up none of the ladder's
// tries, or the loss of a rack would cost the server one of those that could have healed
// its next failure (L5). A climb back to an earlier rung counts all the same: two rungs
// that have no place by turns would call each other for ever.
func placeless(r *fleet.Recovery, step fleet.Step) bool {
	made := func(rec fleet.StepRecord) bool {
		return mendsInPlace(rec.Step.Kind)
	}
	order := fleet.Rungs()
	later := slices.Index(order, step.Rung) > slices.Index(order, r.Rung)
	return r.To == 0 && later && !(r.Last != nil && made(*r.Last)) && !slices.ContainsFunc(r.Failed, made)
}

func attempted(list []fleet.Attempt, a fleet.Attempt) []fleet.Attempt {
	list = append(list, a)
	if len(list) > keepAttempts {
		list = list[len(list)-keepAttempts:]
	}
	return list
}

// phaseFence is the phase of a recovery's waterfall that ends with the proof.
const phaseFence = "fence"

// Phases of a recovery's waterfall, by kind of step.
func phaseOf(k fleet.StepKind) string {
	switch k {
	case fleet.StepStop, fleet.StepSeal, fleet.StepPowerOff:
		return phaseFence
	case fleet.StepSnapshot:
		return "snapshot"
	case fleet.StepAttach, fleet.StepDetach:
		return "attach"
	default:
		return "launch"
	}
}

// mark stretches the phase of a step from its first begin to its last end.
func mark(r *fleet.Recovery, kind fleet.StepKind, begun, ended time.Time) {
	name := phaseOf(kind)
	for i := range r.Marks {
		if r.Marks[i].Name == name {
			if !ended.IsZero() {
				r.Marks[i].Ended = ended
			}
			return
		}
	}
	r.Marks = append(r.Marks, fleet.Mark{Name: name, Begun: begun, Ended: ended})
}

// clone copies what Intend and Record change, so that a value that was handed
// out stays as it was.
func clone(s fleet.Status) fleet.Status {
	s.Evidence = append([]fleet.Evidence(nil), s.Evidence...)
	s.Attempts = append([]fleet.Attempt(nil), s.Attempts...)
	s.Leftovers = append([]fleet.StepRecord(nil), s.Leftovers...)
	s.Unused = append([]fleet.Copy(nil), s.Unused...)
	s.UnusedInterfaces = append([]fleet.Swap(nil), s.UnusedInterfaces...)
	if s.Recovery == nil {
		return s
	}
	r := *s.Recovery
	if r.Last != nil {
		last := *r.Last
		r.Last = &last
	}
	if r.Lack != nil {
		lack := *r.Lack
		r.Lack = &lack
	}
	if r.Planned != nil {
		planned := *r.Planned
		r.Planned = &planned
	}
	r.Done = append([]string(nil), r.Done...)
	r.Failed = append([]fleet.StepRecord(nil), r.Failed...)
	r.Fences = append([]fleet.FenceTry(nil), r.Fences...)
	r.Refused = append([]string(nil), r.Refused...)
	r.Marks = append([]fleet.Mark(nil), r.Marks...)
	s.Recovery = &r
	return s
}
