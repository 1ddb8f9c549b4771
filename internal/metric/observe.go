package metric

import (
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// recovery is what the events have told so far of a recovery that runs.
type recovery struct {
	rung string
	// The moments at which its phases ended; zero if they were not seen.
	cause, begun, proved, started time.Time
}

// Observe counts an event. The metrics of a recovery whose beginning was not
// seen (an earlier controller journaled it) lack the phases that began before.
func (r *Registry) Observe(e event.Event) {
	r.events.WithLabelValues(string(e.Kind)).Inc()
	switch e.Kind {
	case event.IncidentOpened:
		r.incidents.Inc()
	case event.Held:
		r.holds.WithLabelValues(orUnknown(e.Gate)).Inc()
	case event.FenceAttested:
		r.fences.WithLabelValues(string(fleet.Attested), string(fleet.StepDone)).Inc()
	case event.RecoveryBegun:
		rec := r.recovery(e)
		rec.begun = e.At
		if e.Finding != nil {
			rec.cause = e.Finding.Since
		}
	case event.EpochProved:
		r.recovery(e).proved = e.At
	case event.StepIntended:
		r.recovery(e)
	case event.StepEnded:
		r.stepEnded(e)
	case event.RecoveryHealed:
		r.ended(e, resultHealed)
	case event.RecoveryClimbed:
		r.ended(e, resultClimbed)
	case event.RecoveryGaveUp:
		r.ended(e, resultGaveUp)
	case event.MoveCalledOff:
		r.ended(e, resultCalledOff)
	default: // counted above
	}
}

// recovery finds what is known of the event's recovery and notes its rung.
func (r *Registry) recovery(e event.Event) *recovery {
	if e.Recovery == "" {
		return &recovery{rung: unknown}
	}
	rec := r.open[e.Recovery]
	if rec == nil {
		rec = &recovery{rung: unknown}
		r.open[e.Recovery] = rec
	}
	if e.Step != nil && e.Step.Step.Rung != "" {
		rec.rung = string(e.Step.Step.Rung)
	}
	return rec
}

func (r *Registry) stepEnded(e event.Event) {
	rec := r.recovery(e)
	if e.Step == nil {
		return
	}
	kind, result := e.Step.Step.Kind, string(e.Step.State)
	r.steps.WithLabelValues(string(kind), result).Inc()
	switch kind {
	case fleet.StepStop, fleet.StepSeal, fleet.StepPowerOff:
		r.fences.WithLabelValues(string(kind), result).Inc()
	default: // fences nothing
	}
	if e.Step.State == fleet.StepDone {
		rec.started = e.At
	}
}

func (r *Registry) ended(e event.Event, result string) {
	rec := r.recovery(e)
	provider := orUnknown(r.providerOf(e.Server))
	r.recoveries.WithLabelValues(provider, rec.rung, result).Inc()
	if result == resultClimbed {
		return // the recovery goes on, on the next rung
	}
	delete(r.open, e.Recovery)
	if result != resultHealed {
		return
	}
	fenced := rec.proved
	if fenced.IsZero() {
		fenced = rec.begun
	}
	r.duration(provider, phaseDetect, rec.cause, rec.begun)
	r.duration(provider, phaseFence, rec.begun, rec.proved)
	r.duration(provider, phaseStart, fenced, rec.started)
	r.duration(provider, phaseVerify, rec.started, e.At)
	r.duration(provider, phaseTotal, rec.cause, e.At)
}

func (r *Registry) duration(provider, phase string, from, to time.Time) {
	if !from.IsZero() && !to.IsZero() {
		// Clocks of two controllers may differ; time does not run backwards.
		r.durations.WithLabelValues(provider, phase).Observe(max(to.Sub(from), 0).Seconds())
	}
}

func orUnknown(value string) string {
	if value == "" {
		return unknown
	}
	return value
}
