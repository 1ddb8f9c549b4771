package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// approvalFor is how long an approval or a statement is good.
const approvalFor = time.Hour

// maxWindow is the longest maintenance window: a forgotten one must end.
const maxWindow = 7 * 24 * time.Hour

// set writes one guard with its event and wakes whom it concerns.
func (b *Backend) set(ctx context.Context, e event.Event, write func(*Tx) error) error {
	err := b.Journal.Do(ctx, b.Clock.Now(), func(tx *Tx) error {
		if err := write(tx); err != nil {
			return err
		}
		tx.Emit(e)
		return nil
	})
	if err == nil {
		b.Loops.Wake(e.Server)
	}
	return err
}

// Pause implements api.Backend.
func (b *Backend) Pause(ctx context.Context, by, name, reason string) (fleet.Pause, error) {
	if _, ok := b.State.Server(name); !ok {
		return fleet.Pause{}, noServer(name)
	}
	p := fleet.Pause{Server: name, By: by, Reason: reason, At: b.Clock.Now()}
	return p, b.set(ctx, event.Event{Kind: event.GuardSet, Server: name, By: by, Message: by + " pauses it: " + reason}, func(tx *Tx) error {
		tx.Put(kindPause, name, p)
		return nil
	})
}

// Resume implements api.Backend.
func (b *Backend) Resume(ctx context.Context, by, name string) error {
	if _, ok := b.State.Server(name); !ok {
		return noServer(name)
	}
	return b.set(ctx, event.Event{Kind: event.GuardCleared, Server: name, By: by, Message: by + " resumes it"}, func(tx *Tx) error {
		if _, ok := TxGet[fleet.Pause](tx, kindPause, name); !ok {
			return problem(client.CodeNotFound, "%s is not paused", name).WithNext("relight why %s", name)
		}
		tx.Delete(kindPause, name)
		return nil
	})
}

// Approvals implements api.Backend: every server that asks, with what it asks.
func (b *Backend) Approvals(context.Context) (client.List[client.ApprovalRow], error) {
	now := b.Clock.Now()
	var list client.List[client.ApprovalRow]
	for _, s := range b.State.Servers() {
		v := b.Viewer.View(s.Name, now)
		d := decide.Next(v.View, now)
		if d.Hold == nil || d.Hold.Gate != decide.GateApproval {
			continue
		}
		row := client.ApprovalRow{
			Server: s.Name, Epoch: v.Status.Epoch, Plan: d.Hold.Plan, Reason: v.Finding.Reason, Asked: v.Finding.Since,
			Needed: max(s.Spec.Approvals, 1),
		}
		for _, step := range decide.Foresee(v.View, now, planSteps).Steps {
			row.Steps = append(row.Steps, step.Why)
		}
		for _, a := range v.Guards.Approvals {
			if a.Epoch == row.Epoch && a.Plan == row.Plan && now.Before(a.Until) {
				row.Given = append(row.Given, a)
			}
		}
		list.Items = append(list.Items, row)
	}
	return list, nil
}

func approvalID(server string, epoch fleet.Epoch, plan, by string) string {
	return fmt.Sprintf("%s.%d.%s.%s", server, epoch, plan, by)
}

// Answer implements api.Backend.
func (b *Backend) Answer(ctx context.Context, by, name string, req client.ApprovalRequest, denied bool) (client.ApprovalAnswer, error) {
	now := b.Clock.Now()
	v := b.Viewer.View(name, now)
	if !v.known {
		return client.ApprovalAnswer{}, noServer(name)
	}
	d := decide.Next(v.View, now)
	if d.Hold == nil || d.Hold.Plan == "" {
		return client.ApprovalAnswer{}, problem(client.CodeNotFound, "%s asks nothing now: %s", name, d.Reason).WithNext("relight why %s", name)
	}
	if req.Plan != d.Hold.Plan || req.Epoch != v.Status.Epoch {
		return client.ApprovalAnswer{}, problem(client.CodeConflict, "the plan has changed since you read it: now plan %s of epoch %d", d.Hold.Plan, v.Status.Epoch).WithNext("relight plan %s", name)
	}
	if decide.Requester(v.View) == by && !denied {
		return client.ApprovalAnswer{}, problem(client.CodeForbidden, "%s asked for it and cannot approve it", by).WithNext("relight get approvals")
	}
	id := approvalID(name, req.Epoch, req.Plan, by)
	a := fleet.Approval{ID: id, Server: name, Epoch: req.Epoch, Plan: req.Plan, By: by, Denied: denied, Reason: req.Reason, At: now, Until: now.Add(approvalFor)}
	word := "approves"
	if denied {
		word = "denies"
	}
	err := b.set(ctx, event.Event{Kind: event.GuardSet, Server: name, By: by, Epoch: req.Epoch, Message: fmt.Sprintf("%s %s plan %s: %s", by, word, req.Plan, req.Reason)}, func(tx *Tx) error {
		tx.Put(kindApproval, id, a)
		return nil
	})
	given := []string{by}
	for _, old := range v.Guards.Approvals {
		if old.Plan == req.Plan && old.Epoch == req.Epoch && !old.Denied && now.Before(old.Until) && !slices.Contains(given, old.By) {
			given = append(given, old.By)
		}
	}
	answer := client.ApprovalAnswer{Approval: a, Given: len(given), Needed: max(v.Server.Spec.Approvals, 1)}
	answer.Message = fmt.Sprintf("%d of %d given", answer.Given, answer.Needed)
	if denied {
		answer.Given, answer.Message = len(given)-1, "denied; it stays as it is"
	}
	return answer, err
}

// StartMaintenance implements api.Backend.
func (b *Backend) StartMaintenance(ctx context.Context, by string, req client.MaintenanceRequest) (fleet.Maintenance, error) {
	now := b.Clock.Now()
	length := req.For.Std()
	if length <= 0 || length > maxWindow {
		return fleet.Maintenance{}, problem(client.CodeBadRequest, "a window lasts between 1s and %s, not %s", fleet.Duration(maxWindow), req.For)
	}
	if err := b.checkScope(req.Scope); err != nil {
		return fleet.Maintenance{}, err
	}
	m := fleet.Maintenance{Scope: req.Scope, Owner: by, Reason: req.Reason, From: req.From}
	if m.From.IsZero() {
		m.From = now
	}
	m.Until = m.From.Add(length)
	m.Warning = b.holdsNothing(m.Scope)
	m.ID = "m-" + now.UTC().Format("20060102-150405.000")
	return m, b.set(ctx, event.Event{Kind: event.GuardSet, By: by, Message: fmt.Sprintf("%s opens window %s for %s until %s: %s", by, m.ID, m.Scope, m.Until.Format(time.RFC3339), m.Reason) + warned(m.Warning)}, func(tx *Tx) error {
		if _, taken := TxGet[fleet.Maintenance](tx, kindWindow, m.ID); taken {
			return problem(client.CodeConflict, "another window was opened in the same moment; try again")
		}
		tx.Put(kindWindow, m.ID, m)
		return nil
	})
}

// checkScope refuses a scope that holds nothing: a typing error must not look
// like a guard (S5).
func (b *Backend) checkScope(scope string) error {
	if scope == "fleet" {
		return nil
	}
	for _, s := range b.State.Servers() {
		if scope == "server "+s.Name {
			return nil
		}
	}
	for _, s := range b.State.Sites() {
		if scope == "site "+s.Name {
			return nil
		}
	}
	for _, name := range b.State.Names(kindHost) {
		if scope == "site "+name {
			return nil
		}
	}
	return problem(client.CodeNotFound, "scope %q holds nothing: it is \"fleet\", \"site NAME\" or \"server NAME\"", scope).WithNext("relight get sites")
}

// Maintenances implements api.Backend.
func (b *Backend) Maintenances(context.Context) (client.List[fleet.Maintenance], error) {
	return client.List[fleet.Maintenance]{Items: All[fleet.Maintenance](b.State, kindWindow)}, nil
}

// Maintenance implements api.Backend.
func (b *Backend) Maintenance(_ context.Context, id string) (fleet.Maintenance, error) {
	m, ok := Get[fleet.Maintenance](b.State, kindWindow, id)
	if !ok {
		return m, problem(client.CodeNotFound, "there is no window %q", id).WithNext("relight maintain list")
	}
	return m, nil
}

// EndMaintenance implements api.Backend.
func (b *Backend) EndMaintenance(ctx context.Context, by, id string) error {
	return b.set(ctx, event.Event{Kind: event.GuardCleared, By: by, Message: by + " ends window " + id}, func(tx *Tx) error {
		if _, ok := TxGet[fleet.Maintenance](tx, kindWindow, id); !ok {
			return problem(client.CodeNotFound, "there is no window %q", id).WithNext("relight maintain list")
		}
		tx.Delete(kindWindow, id)
		return nil
	})
}

// SetFreeze implements api.Backend.
func (b *Backend) SetFreeze(ctx context.Context, by, reason string) (fleet.Freeze, error) {
	f := fleet.Freeze{By: by, Reason: reason, At: b.Clock.Now()}
	return f, b.set(ctx, event.Event{Kind: event.GuardSet, By: by, Message: by + " freezes the fleet: " + reason}, func(tx *Tx) error {
		tx.Put(kindFreeze, "fleet", f)
		return nil
	})
}

// Freeze implements api.Backend.
func (b *Backend) Freeze(context.Context) (client.FreezeView, error) {
	f, ok := Get[fleet.Freeze](b.State, kindFreeze, "fleet")
	if !ok {
		return client.FreezeView{}, nil
	}
	return client.FreezeView{Freeze: &f}, nil
}

// ClearFreeze implements api.Backend.
func (b *Backend) ClearFreeze(ctx context.Context, by string) error {
	return b.set(ctx, event.Event{Kind: event.GuardCleared, By: by, Message: by + " ends the freeze"}, func(tx *Tx) error {
		if _, ok := TxGet[fleet.Freeze](tx, kindFreeze, "fleet"); !ok {
			return problem(client.CodeNotFound, "the fleet is not frozen")
		}
		tx.Delete(kindFreeze, "fleet")
		return nil
	})
}
