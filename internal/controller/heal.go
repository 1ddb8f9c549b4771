package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// Clock tells the time; the simulator hands in a virtual one.
type Clock interface {
	Now() time.Time
}

// Healer carries one server's recovery forward, one step at a time. It is a step
// machine: Prepare decides and journals the intent, Perform does the step, Finish
// records the outcome. Between them nothing is held in memory that matters: a
// controller that dies anywhere is replaced by one that prepares again.
type Healer struct {
	Journal   *Journal
	Viewer    *Viewer
	Collector *Collector
	Providers map[string]provider.Provider
	Clock     Clock
	Log       *slog.Logger
	// Turns are those of the providers whose platform limits calls, by name.
	Turns map[string]Turner

	mu    sync.Mutex
	holds map[string]toldHold // what was last told of each server
	looks map[string]*looks   // by provider

	sights sync.Pool // of *Known, for looks of which nothing is kept
}

// Work is a step whose intent is durable and whose effect is still to come.
type Work struct {
	Name string
	Call provider.Call
}

// Prepare decides the server's next step and journals its intent. It returns no
// work if there is nothing to do, the decision says why and when to look again.
// Record steps are done when it returns; the caller prepares again.
func (h *Healer) Prepare(ctx context.Context, name string) (*Work, decide.Decision, error) {
	if err := h.endStorm(ctx); err != nil {
		return nil, decide.Decision{}, err
	}
	server, d, rests, err := h.rest(ctx, name)
	if rests {
		return nil, d, err
	}
	// About to act: what was swept a moment ago is not good enough.
	if err := h.look(ctx, server); err != nil {
		h.Log.Warn("cannot look at a server before a step", "server", name, "err", err)
		h.Collector.Unseen(name)
	}
	v, d, now := h.decide(name)
	d = h.awaitTurn(v, d, now)
	if d.Step == nil {
		return nil, d, errors.Join(h.noteVerdict(ctx, v, now), h.noteStorm(ctx, v, d, now), h.dropVain(ctx, v, now), h.noteHold(ctx, v, d, now))
	}
	if err := h.intend(ctx, v, d, now); err != nil {
		h.keepTurn(name, d, now)
		return nil, d, err
	}
	h.Viewer.State.wait(name, "", now)
	if d.Step.Kind.Record() {
		return nil, decide.Decision{Reason: d.Reason, LookAgainAt: now}, nil
	}
	return &Work{Name: name, Call: h.call(v, d)}, d, nil
}

// keepTurn has a server whose begin could not be written wait for the budget that it wanted:
// what else held it until now, such as a store without space, has taken its turn from it,
// and the next one to be looked at would have its unit (L4).
func (h *Healer) keepTurn(name string, d decide.Decision, now time.Time) {
	if len(d.Takes.Budgets) > 0 {
		h.Viewer.State.wait(name, d.Takes.Budgets[0], now)
	}
}

// decide makes the view of a server and asks the decider.
func (h *Healer) decide(name string) (viewed, decide.Decision, time.Time) {
	now := h.Clock.Now()
	v := h.Viewer.ownToAct(name, now)
	var d decide.Decision
	if v.known {
		d = h.next(&v, now)
	} else {
		d = decide.Next(v.View, now)
	}
	if d.Step == nil {
		h.Viewer.State.wait(name, d.Waits, now)
	}
	return v, d, now
}

// next completes a server's own part of the view and asks the decider.
func (h *Healer) next(v *viewed, now time.Time) decide.Decision {
	h.Viewer.joinNear(v, now)
	d := decide.Next(v.View, now)
	if v.some && !decide.Suffices(v.View, d) {
		h.Viewer.join(v, now)
		d = decide.Next(v.View, now)
	}
	return d
}

// rest decides from the server's own part of the view if that is enough: most looks
// are at servers for which nothing is due, and must cost the same in any fleet. It
// reports false if something is to be done, or a recovery runs.
func (h *Healer) rest(ctx context.Context, name string) (fleet.Server, decide.Decision, bool, error) {
	now := h.Clock.Now()
	sight, _ := h.sights.Get().(*Known)
	if sight == nil {
		sight = &Known{}
	}
	v := h.Viewer.own(name, now, sight)
	if !v.known {
		return v.Server, decide.Decision{Reason: "no such server"}, true, nil
	}
	if v.Status.Recovery != nil {
		return v.Server, decide.Decision{}, false, nil
	}
	d, rests := decide.Rests(v.View, now)
	if rests && d.Hold == nil && !v.verdictChanged() {
		h.Viewer.State.wait(name, "", now)
		err := errors.Join(h.noteHold(ctx, v, d, now), h.noteScheduled(ctx, v, now))
		h.sights.Put(sight) // nothing keeps a part of it
		return v.Server, d, true, err
	}
	if !rests {
		d = h.next(&v, now)
	}
	if d.Step != nil {
		return v.Server, d, false, nil
	}
	h.Viewer.State.wait(name, d.Waits, now)
	return v.Server, d, true, errors.Join(h.noteVerdict(ctx, v, now), h.noteStorm(ctx, v, d, now), h.dropVain(ctx, v, now), h.noteHold(ctx, v, d, now), h.noteScheduled(ctx, v, now))
}

// dropVain takes back a request that can never be carried out, and tells so: it was
// accepted while the spec or the provider was another one.
func (h *Healer) dropVain(ctx context.Context, v viewed, now time.Time) error {
	if vain := decide.Vain(v.View); vain != "" {
		return h.tellVain(ctx, v, vain, now)
	}
	return nil
}

func (h *Healer) tellVain(ctx context.Context, v viewed, vain string, now time.Time) error {
	return h.Journal.Do(ctx, now, func(tx *Tx) error {
		if _, ok := TxGet[fleet.Request](tx, kindRequest, v.Server.Name); !ok {
			return nil
		}
		tx.Delete(kindRequest, v.Server.Name)
		tx.Emit(event.Event{Kind: event.GuardCleared, Server: v.Server.Name, Epoch: v.Status.Epoch, Message: "the request is dropped: " + vain})
		return nil
	})
}

func (v viewed) verdictChanged() bool {
	return v.Finding.Verdict != v.Status.Verdict || v.Finding.Cause != v.Status.Cause
}

func (h *Healer) call(v viewed, d decide.Decision) provider.Call {
	call := provider.Call{Step: *d.Step, Server: v.Server, Term: v.Guards.Authority.Term, Proof: d.Proof}
	call.Server.Away = v.Status.Away
	if d.Step.Kind.NeedsProof() && d.Step.Epoch > v.Status.Epoch {
		call.Server.Away = d.Away // the epoch that the step takes
	}
	if d.Step.Kind == fleet.StepPowerOff {
		if site, ok := h.Viewer.site(d.Step.Host); ok {
			call.Power = site.Spec.Power
		}
	}
	return call
}

// Perform does the step. Its context must end with the controller's lease.
func (h *Healer) Perform(ctx context.Context, w *Work) (provider.Outcome, error) {
	p, ok := h.Providers[w.Call.Server.Spec.Provider]
	if !ok {
		return provider.Outcome{}, provider.Errorf(provider.Permanent, w.Call, "no provider %q is wired here", w.Call.Server.Spec.Provider)
	}
	ctx, cancel := context.WithTimeout(ctx, w.Call.Step.Within.Std())
	defer cancel()
	return p.Do(ctx, w.Call)
}

// Finish records the outcome of a performed step.
func (h *Healer) Finish(ctx context.Context, w *Work, out provider.Outcome, stepErr error) error {
	now := h.Clock.Now()
	res := resultOf(out, stepErr)
	step := w.Call.Step
	if step.Kind == fleet.StepReboot || step.Kind == fleet.StepRestartApp {
		h.Collector.Settle(w.Name)
	}
	return h.Journal.Do(ctx, now, func(tx *Tx) error {
		status, ok := TxGet[fleet.Status](tx, kindStatus, w.Name)
		if !ok {
			return nil // deleted meanwhile
		}
		next := decide.Record(status, step, res, now)
		if res.State == fleet.StepDone {
			next.Notes = noted(next.Notes, step, out.Note, now)
		}
		record := fleet.StepRecord{Step: step, State: res.State, Begun: now, Ended: now, Class: res.Class, Error: res.Error}
		if r := next.Recovery; r != nil && r.Last != nil && r.Last.Step.Token == step.Token {
			record = *r.Last
		}
		e := event.Event{
			Kind: event.StepEnded, Server: w.Name, Host: step.Host, Incident: status.Incident, Epoch: step.Epoch,
			Destructive: step.Kind.Destructive(), Step: &record, Evidence: res.Evidence, Message: endSentence(record, out.Note),
		}
		if status.Recovery != nil {
			e.Recovery = status.Recovery.ID
		}
		tx.Emit(e)
		tx.Put(kindStatus, w.Name, next)
		return nil
	})
}

func resultOf(out provider.Outcome, err error) decide.Result {
	if err == nil {
		return decide.Result{State: fleet.StepDone, Evidence: out.Evidence, Made: out.Made}
	}
	class, maybe := provider.ClassOf(err)
	res := decide.Result{State: fleet.StepFailed, Class: string(class), Error: err.Error(), Evidence: out.Evidence, Made: out.Made}
	switch {
	case errors.Is(err, provider.ErrAway):
		res.Away = true // for sure nothing was done, also where it was the question that took too long
	case maybe || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		res.State = fleet.StepUnknown
	}
	return res
}

func endSentence(r fleet.StepRecord, note string) string {
	if r.State == fleet.StepDone && note != "" {
		return fmt.Sprintf("done: %s; %s", r.Step.Why, note)
	}
	if r.State == fleet.StepDone {
		return fmt.Sprintf("done: %s", r.Step.Why)
	}
	return fmt.Sprintf("%s: %s: %s", r.State, r.Step.Why, r.Error)
}

// passSteps bounds one pass, so that a server that never comes to rest cannot
// keep a worker for itself.
const passSteps = 32

// Pass carries a server forward until there is nothing to do now. It returns
// the last decision: what holds, and when to look again.
func (h *Healer) Pass(ctx context.Context, name string) (decide.Decision, error) {
	var d decide.Decision
	for range passSteps {
		w, decision, err := h.Prepare(ctx, name)
		d = decision
		if errors.Is(err, errAgain) {
			continue
		}
		if err != nil {
			return d, err
		}
		if w == nil {
			if d.Hold == nil && !d.LookAgainAt.IsZero() && !d.LookAgainAt.After(h.Clock.Now()) {
				continue // a record was written; decide again at once
			}
			return d, nil
		}
		out, stepErr := h.Perform(ctx, w)
		if stepErr != nil {
			h.Log.Info("step failed", "server", name, "step", w.Call.Step.Kind, "err", stepErr)
		}
		if err := h.Finish(ctx, w, out, stepErr); err != nil {
			return d, fmt.Errorf("record the outcome of %s: %w", provider.ObjectOf(w.Call), err)
		}
	}
	d.LookAgainAt = h.Clock.Now()
	return d, nil
}

// noteVerdict records a changed verdict. Beats are never written, only this is. A
// recovery's own ups and downs are told by its steps.
func (h *Healer) noteVerdict(ctx context.Context, v viewed, now time.Time) error {
	if !v.verdictChanged() || v.Status.Recovery != nil {
		return nil
	}
	return h.recordVerdict(ctx, v, now)
}

func (h *Healer) recordVerdict(ctx context.Context, v viewed, now time.Time) error {
	return h.Journal.Do(ctx, now, func(tx *Tx) error {
		status, _ := TxGet[fleet.Status](tx, kindStatus, v.Server.Name)
		status.Server = v.Server.Name
		tellVerdict(tx, &status, v.Finding)
		tx.Put(kindStatus, v.Server.Name, status)
		return nil
	})
}

// tellVerdict writes a finding's verdict into the status, opens or leaves the
// incident with it, and emits the change.
func tellVerdict(tx *Tx, status *fleet.Status, f fleet.Finding) {
	was := status.Verdict
	if was == f.Verdict && status.Cause == f.Cause {
		openIfFailing(tx, status, f)
		return
	}
	status.AilingSince = decide.Ailing(*status, f.Verdict, tx.Now)
	status.WellUntil = decide.WellUntil(*status, f.Verdict, tx.Now)
	status.Verdict, status.VerdictSince, status.Cause = f.Verdict, f.Since, f.Cause
	if f.Verdict == fleet.Suspect || f.Verdict == fleet.Unknown {
		// What makes us doubt may be as old as the server; the doubt begins now.
		status.VerdictSince = tx.Now
	}
	openIfFailing(tx, status, f)
	var void string
	if *status, void = decide.Refuted(*status); void != "" {
		f.Reason += "; " + void
	}
	dropWords(tx, *status)
	if f.Verdict == fleet.Healthy && status.Recovery == nil && status.Incident != "" {
		leaveIncident(tx, *status, status, true)
	}
	if was == f.Verdict {
		return // only its cause is another one, such as that of its new host
	}
	tx.Emit(event.Event{
		Kind: event.VerdictChanged, Server: status.Server, Host: status.Host, Incident: status.Incident, Epoch: status.Epoch,
		Verdict: f.Verdict, Finding: &f, Message: fmt.Sprintf("%s, was %s: %s", f.Verdict, was, f.Reason),
	})
}

// openIfFailing opens an incident for a failure; a first launch is none.
func openIfFailing(tx *Tx, status *fleet.Status, f fleet.Finding) {
	if status.Epoch == 0 {
		return
	}
	switch f.Verdict {
	case fleet.Down, fleet.Impaired, fleet.Isolated:
		openIncident(tx, status, f)
	default: // nothing fails
	}
}
