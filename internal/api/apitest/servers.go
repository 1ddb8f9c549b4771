package apitest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

func (b *Backend) row(d client.Document) client.ServerRow {
	w := b.Whys[d.Metadata.Name]
	var spec struct {
		Mode fleet.Mode `json:"mode"`
	}
	_ = json.Unmarshal(d.Spec, &spec)
	return client.ServerRow{
		Name: d.Metadata.Name, Labels: d.Metadata.Labels, Revision: d.Revision, Verdict: w.Finding.Verdict,
		Since: w.Finding.Since, Phase: w.Status.Phase, Epoch: w.Status.Epoch, Host: w.Status.Host,
		Mode: spec.Mode, Incident: w.Status.Incident, Message: w.Finding.Reason,
	}
}

// Servers implements api.Backend; the cursor is the last name.
func (b *Backend) Servers(_ context.Context, q client.ListQuery) (client.List[client.ServerRow], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := client.List[client.ServerRow]{Items: []client.ServerRow{}}
	for _, id := range slices.Sorted(maps.Keys(b.docs)) {
		d := b.docs[id]
		if d.Kind != client.KindServer || d.Metadata.Name <= q.Cursor || !matches(d.Metadata.Labels, q.Selector) {
			continue
		}
		if q.Limit > 0 && len(out.Items) == q.Limit {
			out.Next = out.Items[len(out.Items)-1].Name
			break
		}
		out.Items = append(out.Items, b.row(d))
	}
	return out, b.enter("servers")
}

func matches(labels, selector map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// Server implements api.Backend.
func (b *Backend) Server(_ context.Context, name string) (client.ServerView, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, err := b.document(client.KindServer, name)
	if err != nil {
		return client.ServerView{}, err
	}
	w := b.Whys[name]
	v := client.ServerView{Raw: d, Status: w.Status, Finding: w.Finding, Decision: w.Decision, Revision: d.Revision}
	v.Server.Name, v.Server.Labels = d.Metadata.Name, d.Metadata.Labels
	_ = json.Unmarshal(d.Spec, &v.Server.Spec)
	return v, nil
}

// Why implements api.Backend.
func (b *Backend) Why(_ context.Context, name string) (client.Why, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w, ok := b.Whys[name]; ok {
		return w, b.enter("why")
	}
	return client.Why{}, client.NotFound("server", name)
}

// Plan implements api.Backend.
func (b *Backend) Plan(_ context.Context, name string, q client.PlanQuery) (client.Plan, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.Plans[name]
	if !ok {
		return p, client.NotFound("server", name)
	}
	if q.Rung != "" {
		p.Rung = q.Rung
	}
	p.Host = q.Host
	return p, b.enter("plan")
}

// Heal implements api.Backend.
func (b *Backend) Heal(_ context.Context, by, name string, req client.HealRequest) (client.HealAnswer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.document(client.KindServer, name); err != nil {
		return client.HealAnswer{}, err
	}
	out := b.HealTo
	out.Request = fleet.Request{Server: name, Rung: req.Rung, To: req.To, By: by, Reason: req.Reason, At: b.Now()}
	return out, b.change(by, "heal", name, req.Rung, req.To, req.Reason)
}

// Move implements api.Backend.
func (b *Backend) Move(_ context.Context, by, name string, req client.MoveRequest) (client.HealAnswer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.document(client.KindServer, name); err != nil {
		return client.HealAnswer{}, err
	}
	out := b.HealTo
	out.Request = fleet.Request{Server: name, Host: req.To, By: by, Reason: req.Reason, At: b.Now()}
	return out, b.change(by, "move", name, req.To, req.Back, req.Reason)
}

// Pause implements api.Backend.
func (b *Backend) Pause(_ context.Context, by, name, reason string) (fleet.Pause, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.document(client.KindServer, name); err != nil {
		return fleet.Pause{}, err
	}
	b.paused[name] = fleet.Pause{Server: name, By: by, Reason: reason, At: b.Now()}
	b.emit(event.Event{Kind: event.GuardSet, Server: name, By: by, Message: name + " was paused"})
	return b.paused[name], b.change(by, "pause", name, reason)
}

// Resume implements api.Backend.
func (b *Backend) Resume(_ context.Context, by, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.paused[name]; !ok {
		return client.NotFound("pause", name).WithNext("relight why %s", name)
	}
	delete(b.paused, name)
	return b.change(by, "resume", name)
}

// ConfirmFence implements api.Backend.
func (b *Backend) ConfirmFence(_ context.Context, by, name string, req client.FenceConfirmRequest) (client.FenceConfirmAnswer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w, ok := b.Whys[name]
	if !ok {
		return client.FenceConfirmAnswer{}, client.NotFound("server", name)
	}
	if w.Status.Epoch != req.Epoch {
		return client.FenceConfirmAnswer{}, client.NewProblem(client.CodeConflict, "%s is at epoch %d, not %d", name, w.Status.Epoch, req.Epoch).
			WithNext("relight why %s", name)
	}
	e := fleet.Evidence{Method: fleet.Attested, Server: name, Epoch: req.Epoch, By: by, At: b.Now(), Detail: req.Reason}
	return client.FenceConfirmAnswer{Evidence: e, Complete: true, Message: "the confirmation stands"}, b.change(by, "fence-confirm", name, req.Epoch, req.Reason)
}

// Approvals implements api.Backend.
func (b *Backend) Approvals(context.Context) (client.List[client.ApprovalRow], error) {
	return client.List[client.ApprovalRow]{Items: append([]client.ApprovalRow{}, b.Asked...)}, b.enter("approvals")
}

// Answer implements api.Backend.
func (b *Backend) Answer(_ context.Context, by, name string, req client.ApprovalRequest, denied bool) (client.ApprovalAnswer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.Asked {
		if r.Server != name {
			continue
		}
		if r.Epoch != req.Epoch || r.Plan != req.Plan {
			return client.ApprovalAnswer{}, client.NewProblem(client.CodeConflict, "the plan for %s has changed", name).WithNext("relight get approvals")
		}
		a := fleet.Approval{ID: "a-1", Server: name, Epoch: req.Epoch, Plan: req.Plan, By: by, Denied: denied, Reason: req.Reason, At: b.Now(), Until: r.Until}
		return client.ApprovalAnswer{Approval: a, Given: len(r.Given) + 1, Needed: r.Needed, Message: "the answer stands"},
			b.change(by, "answer", name, req.Epoch, req.Plan, denied)
	}
	return client.ApprovalAnswer{}, client.NotFound("question about", name).WithNext("relight get approvals")
}
