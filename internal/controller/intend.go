package controller

import (
	"context"
	"fmt"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// intend writes the decision's intent, what it takes, and its audit entries in
// one transaction, if the state still is what the decision was made from (S6).
func (h *Healer) intend(ctx context.Context, v viewed, d decide.Decision, now time.Time) error {
	return h.Journal.Do(ctx, now, func(tx *Tx) error {
		status, _ := TxGet[fleet.Status](tx, kindStatus, v.Server.Name)
		if tx.state.Revision(kindStatus, v.Server.Name) != v.statusRev || tx.touched(kindStatus, v.Server.Name) {
			return errAgain
		}
		if tx.saysElse(v.Server.Name, v.said) {
			return errAgain
		}
		status.Server = v.Server.Name
		if err := take(tx, v, d); err != nil {
			return err
		}
		if d.Step.Kind == fleet.StepAdopt {
			adoptPlace(tx, v, d.Step.Host)
		}
		if d.Begins != nil {
			tellVerdict(tx, &status, v.Finding)
		}
		next := decide.Intend(status, d, now)
		if d.Begins != nil {
			next.Recovery.Incident = next.Incident
			tx.Delete(kindRequest, v.Server.Name)
		}
		emitIntent(tx, status, next, v, d)
		if d.Step.Kind.Record() {
			endRecovery(tx, status, &next, *d.Step)
			next, _ = decide.Refuted(next) // what was said while the recovery ran
			dropWords(tx, next)
		}
		tx.Put(kindStatus, v.Server.Name, next)
		return nil
	})
}

// take uses up the budgets and the place that the decision names, if they still
// allow it: other servers may have taken them since.
func take(tx *Tx, v viewed, d decide.Decision) error {
	if err := takeLives(tx, v, d.Takes.Lives); err != nil {
		return err
	}
	for _, domain := range d.Takes.Budgets {
		b, _ := TxGet[Budget](tx, kindBudget, domain)
		limit := v.domain(domain).Budget
		used, _ := decide.Used(b.Begun, limit.Window.Std(), tx.Now)
		if used >= limit.Steps {
			return errAgain
		}
		tx.Put(kindBudget, domain, Budget{Begun: decide.Took(b.Begun, limit.Window.Std(), tx.Now)})
	}
	if d.Takes.Host == "" {
		return nil
	}
	return takePlace(tx, v, d.Takes)
}

// takeLives counts once more the servers of the domains that must keep some alive.
// Who takes one away writes the domain's record: of two in one transaction the second
// decides again, when the first counts as not alive any more (S5).
func takeLives(tx *Tx, v viewed, domains []string) error {
	for _, domain := range domains {
		if tx.touched(kindBudget, domain) || tx.state.alive(domain) <= v.domain(domain).Budget.KeepAlive {
			return errAgain
		}
	}
	for _, domain := range domains {
		b, _ := TxGet[Budget](tx, kindBudget, domain)
		tx.Put(kindBudget, domain, b)
	}
	return nil
}

func takePlace(tx *Tx, v viewed, takes decide.Takes) error {
	name := v.Server.Name
	place, _ := TxGet[Place](tx, kindPlace, takes.Host)
	units, _ := place.others(name)
	tx.state.mu.RLock()
	_, used := tx.state.withBound(takes.Host, place).others(name)
	tx.state.mu.RUnlock()
	for _, host := range v.Hosts {
		if host.Name == takes.Host && used+takes.Units > host.Units {
			return errAgain
		}
	}
	units[name] = takes.Units
	tx.Put(kindPlace, takes.Host, Place{Units: units})
	if old := v.Status.Host; old != "" && old != takes.Host {
		freePlace(tx, old, name)
	}
	return nil
}

// adoptPlace counts a server where it was found running, full or not: otherwise
// its host would be filled twice, and be switched off as if nobody lived there.
func adoptPlace(tx *Tx, v viewed, host string) {
	if old := v.Status.Host; old != "" && old != host {
		freePlace(tx, old, v.Server.Name)
	}
	countOn(tx, host, v.Server)
}

// countOn counts a server on its host, with the units of its spec.
func countOn(tx *Tx, host string, server fleet.Server) {
	if host == "" {
		return
	}
	place, _ := TxGet[Place](tx, kindPlace, host)
	units, _ := place.others(server.Name)
	units[server.Name] = max(server.Spec.Placement.Units, 1)
	tx.Put(kindPlace, host, Place{Units: units})
}

func freePlace(tx *Tx, host, server string) {
	place, ok := TxGet[Place](tx, kindPlace, host)
	if !ok || place.Units[server] == 0 {
		return
	}
	units, _ := place.others(server)
	tx.Put(kindPlace, host, Place{Units: units})
}

func (v viewed) domain(name string) fleet.Domain {
	for _, d := range v.Around.Domains {
		if d.Name == name {
			return d
		}
	}
	return fleet.Domain{}
}

func emitIntent(tx *Tx, before, after fleet.Status, v viewed, d decide.Decision) {
	base := event.Event{Server: v.Server.Name, Host: d.Step.Host, Incident: after.Incident, Epoch: d.Step.Epoch}
	if r := after.Recovery; r != nil {
		base.Recovery = r.ID
	} else if r := before.Recovery; r != nil {
		base.Recovery = r.ID
	}
	if d.Begins != nil {
		e := base
		e.Kind, e.Verdict, e.Finding, e.Message = event.RecoveryBegun, v.Finding.Verdict, &v.Finding, fmt.Sprintf("%s begins: %s", d.Begins.Rung, d.Begins.Cause)
		if d.Begins.Requested != "" {
			e.By = d.Begins.Requested
		}
		tx.Emit(e)
	}
	if d.Step.Kind.NeedsProof() && d.Step.Epoch > before.Epoch && d.Proof.Epoch() > 0 {
		e := base
		e.Kind, e.Epoch, e.Evidence, e.Message = event.EpochProved, d.Proof.Epoch(), d.Proof.Evidence(), d.Proof.String()
		if g, is := d.Proof.Grade(); is {
			e.Grade = &g
			e.Message += fmt.Sprintf(" (grade %s)", g.Name)
		}
		tx.Emit(e)
	}
	if d.Step.Kind.Record() {
		return
	}
	e := base
	e.Kind, e.Destructive, e.Message = event.StepIntended, d.Step.Kind.Destructive(), d.Step.Why
	e.Step = &fleet.StepRecord{Step: *d.Step, State: fleet.StepIntended, Begun: tx.Now}
	tx.Emit(e)
}

// endRecovery emits what a record step means and, if it ends the recovery,
// closes the server's part of the incident.
func endRecovery(tx *Tx, before fleet.Status, after *fleet.Status, step fleet.Step) {
	kinds := map[fleet.StepKind]event.Kind{
		fleet.StepClose: event.RecoveryHealed, fleet.StepClimb: event.RecoveryClimbed,
		fleet.StepGiveUp: event.RecoveryGaveUp, fleet.StepAdopt: event.VerdictChanged, fleet.StepCallOff: event.MoveCalledOff,
	}
	e := event.Event{
		Kind: kinds[step.Kind], Server: step.Server, Host: after.Host, Incident: before.Incident, Epoch: after.Epoch, Message: step.Why,
		Step: &fleet.StepRecord{Step: step, State: fleet.StepDone, Begun: tx.Now, Ended: tx.Now, Tries: 1},
	}
	if before.Recovery != nil {
		e.Recovery = before.Recovery.ID
	}
	tx.Emit(e)
	if step.Kind == fleet.StepClose {
		after.Verdict, after.VerdictSince, after.AilingSince = fleet.Healthy, tx.Now, time.Time{}
	}
	if step.Kind == fleet.StepClose || step.Kind == fleet.StepGiveUp {
		leaveIncident(tx, before, after, step.Kind == fleet.StepClose)
	}
}
