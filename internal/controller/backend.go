package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"relight/internal/api"
	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider"
	"relight/internal/spec"
)

// Backend is what the engine does for the interface: it reads the state and
// writes people's wishes through the journal. It decides nothing either.
type Backend struct {
	Journal   *Journal
	State     *State
	Healer    *Healer
	Viewer    *Viewer
	Collector *Collector
	Chronicle *Chronicle
	Loops     *Loops
	Clock     Clock
	Log       *slog.Logger
	// Enrolment and Hosts serve the host commands; nil where no hosts are ours.
	Enrolment *Enrolment
	Build     client.Version
	// Spares answers whether the loss of a host could be borne; nil where nobody asks.
	Spares *SpareWatch
	// Webhook is nil without one.
	Webhook *Teller
	// Providers names those that are wired here; documents for others are refused.
	Providers []string
	// Changed is told after documents changed, to hand them to the providers.
	Changed func()
	// Kept lists what arrays keep of a server's LUNs; nil where there are none.
	Kept func(context.Context, ...fleet.Server) []provider.Kept
	// Left lists what is left of servers that are not in the fleet; nil where no hosts
	// are ours.
	Left func(context.Context) []provider.Orphan
	// restoring is held while a snapshot is put back.
	restoring sync.Mutex
	// Alone runs an examination of an array, unless another one is under way there.
	Alone func(array string, run func()) bool
	// Examine runs the doctor's checks.
	Examine func(context.Context) []client.DoctorCheck
}

// Enrolment is what the backend needs to let hosts in and out.
type Enrolment struct {
	Authority *enrol.Authority
	Vault     enrol.Vault
	// Forget takes a host out.
	Forget func(ctx context.Context, name string) error
	// URL is where agents reach the controller.
	URL string
}

var _ api.Backend = (*Backend)(nil)

func problem(code client.Code, format string, args ...any) *client.Problem {
	return client.NewProblem(code, format, args...)
}

func noServer(name string) *client.Problem {
	return problem(client.CodeNotFound, "there is no server %q", name).WithNext("relight get servers")
}

// Servers implements api.Backend.
func (b *Backend) Servers(_ context.Context, q client.ListQuery) (client.List[client.ServerRow], error) {
	now := b.Clock.Now()
	var list client.List[client.ServerRow]
	for _, s := range b.State.Servers() {
		if s.Name <= q.Cursor || !matches(s.Labels, q.Selector) {
			continue
		}
		if q.Limit > 0 && len(list.Items) == q.Limit {
			list.Next = list.Items[len(list.Items)-1].Name
			break
		}
		list.Items = append(list.Items, b.row(s, now))
	}
	return list, nil
}

func matches(labels, selector map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

func (b *Backend) row(s fleet.Server, now time.Time) client.ServerRow {
	v := b.Viewer.View(s.Name, now)
	row := client.ServerRow{
		Name: s.Name, Labels: s.Labels, Verdict: v.Finding.Verdict, Since: v.Finding.Since, Phase: v.Status.Phase, Epoch: v.Status.Epoch,
		Host: v.Status.Host, Mode: decide.Strictest(v.Guards.Modes).Mode, Provider: s.Spec.Provider, Incident: v.Status.Incident,
		Message: v.Status.Message, Revision: client.Revision(b.State.Revision(kindServer, s.Name)),
	}
	if row.Message == "" && v.Finding.Verdict != fleet.Healthy {
		row.Message = v.Finding.Reason
	}
	for _, a := range s.Spec.Identity.Addresses {
		row.Addresses = append(row.Addresses, a.IP)
	}
	for _, vol := range s.Spec.Identity.Volumes {
		row.Volumes = append(row.Volumes, vol.Name)
	}
	return row
}

// Server implements api.Backend.
func (b *Backend) Server(ctx context.Context, name string) (client.ServerView, error) {
	now := b.Clock.Now()
	v := b.Viewer.View(name, now)
	if !v.known {
		return client.ServerView{}, noServer(name)
	}
	raw, err := b.document(ctx, client.KindServer, name)
	if err != nil {
		return client.ServerView{}, err
	}
	return client.ServerView{
		Server: v.Server, Raw: raw, Status: whereItIs(v), Finding: v.Finding, Observed: v.Observed,
		Decision: decide.Next(v.View, now), Revision: raw.Revision,
	}, nil
}

// Why implements api.Backend. It asks the same decider as the heal loop.
func (b *Backend) Why(_ context.Context, name string) (client.Why, error) {
	now := b.Clock.Now()
	v := b.Viewer.View(name, now)
	if !v.known {
		return client.Why{}, noServer(name)
	}
	why := client.Why{Server: name, At: now, Finding: v.Finding, Status: whereItIs(v), Decision: decide.Next(v.View, now), Guards: v.Guards}
	why.Watching = decide.Watching(v.View)
	why.Grade = b.gradeOf(why)
	for _, r := range b.Chronicle.Latest(10, func(e event.Event) bool { return e.Server == name }) {
		why.Events = append(why.Events, client.EventRecord{ID: r.ID(), Event: r.Event})
	}
	return why, nil
}

// gradeOf is how far the proof goes of the epoch that a server's recovery is to replace:
// that of the next step, or else of the step that stood on it.
func (b *Backend) gradeOf(w client.Why) *fleet.Grade {
	epoch := w.Status.Epoch
	if r := w.Status.Recovery; r != nil {
		epoch = r.From
	}
	if g, is := w.Decision.Proof.Grade(); is && w.Decision.Proof.Epoch() == epoch {
		return &g
	}
	for _, r := range b.Chronicle.Latest(1, func(e event.Event) bool {
		return e.Kind == event.EpochProved && e.Server == w.Server && e.Epoch == epoch
	}) {
		return r.Event.Grade
	}
	return nil
}

// planSteps bounds a simulated plan.
const planSteps = 32

// Plan implements api.Backend: it runs the decider forward over a copy, as if
// every step did what it should.
func (b *Backend) Plan(_ context.Context, name string, q client.PlanQuery) (client.Plan, error) {
	now := b.Clock.Now()
	v := b.Viewer.View(name, now)
	if !v.known {
		return client.Plan{}, noServer(name)
	}
	if q.Host != "" || q.Back {
		host, err := moveGoal(v, q.Host, q.Back)
		if err != nil {
			return client.Plan{}, err
		}
		wish := moveRequest(v, host, "plan", "", now)
		wish.Snapshot = q.Snapshot
		v.Request = &wish
	} else if q.Rung != "" {
		v.Request = &fleet.Request{Server: name, Epoch: v.Status.Epoch, Rung: q.Rung, To: q.To, By: "plan", At: now}
	}
	if v.Request != nil && v.Request.Host != "" {
		if why := decide.NoMove(v.View, v.Request.Host, v.Request.Snapshot); why != "" {
			why = fmt.Sprintf("it cannot be moved to %s: %s", v.Request.Host, why)
			return client.Plan{Server: name, Host: v.Request.Host, From: v.Status.Epoch, Reason: why, Hold: &decide.Hold{Gate: decide.GatePlacement, Reason: why, NeedsPerson: true}}, nil
		}
	}
	real := decide.Next(v.View, now)
	plan := client.Plan{Server: name, From: v.Status.Epoch, Reason: real.Reason, Hold: real.Hold, Gates: real.Gates, Candidates: real.Candidates}
	if real.Hold != nil {
		plan.Hash = real.Hold.Plan
	}
	if v.Request != nil {
		plan.Host = v.Request.Host
	}
	ahead := decide.Foresee(v.View, now, planSteps)
	for _, step := range ahead.Steps {
		plan.Steps = append(plan.Steps, client.PlanStep{Sentence: step.Why, Step: step})
		plan.Rung = step.Rung
	}
	plan.To = ahead.Epoch
	if len(plan.Candidates) == 0 {
		plan.Candidates = ahead.Candidates
	}
	return plan, nil
}

// Heal implements api.Backend.
func (b *Backend) Heal(ctx context.Context, by, name string, req client.HealRequest) (client.HealAnswer, error) {
	now := b.Clock.Now()
	status := b.State.Status(name)
	server, ok := b.State.Server(name)
	if !ok {
		return client.HealAnswer{}, noServer(name)
	}
	if status.Recovery != nil {
		return client.HealAnswer{}, problem(client.CodeRefused, "a recovery of %s runs already: %s", name, status.Recovery.Rung).WithNext("relight why %s", name)
	}
	if req.Rung != "" && !slices.Contains(fleet.Rungs(), req.Rung) {
		return client.HealAnswer{}, problem(client.CodeBadRequest, "%q is not a rung; the rungs are %v", req.Rung, fleet.Rungs())
	}
	if why := decide.NoRung(server, b.Viewer.Traits[server.Spec.Provider].For(server), req.Rung); why != "" {
		return client.HealAnswer{}, problem(client.CodeRefused, "%s", why).WithNext("relight plan %s", name)
	}
	request := fleet.Request{Server: name, Epoch: status.Epoch, Rung: req.Rung, To: req.To, By: by, Reason: req.Reason, At: now}
	err := b.Journal.Do(ctx, now, func(tx *Tx) error {
		tx.Put(kindRequest, name, request)
		tx.Emit(event.Event{Kind: event.GuardSet, Server: name, By: by, Epoch: status.Epoch, Message: by + " asks for a recovery: " + req.Reason})
		return nil
	})
	if err != nil {
		return client.HealAnswer{}, err
	}
	v := b.Viewer.View(name, b.Clock.Now())
	d := decide.Next(v.View, b.Clock.Now())
	b.Loops.Wake(name)
	return client.HealAnswer{Request: request, Decision: d, Message: d.Reason}, nil
}

// ConfirmFence implements api.Backend: a person states that an epoch is dead.
func (b *Backend) ConfirmFence(ctx context.Context, by, name string, req client.FenceConfirmRequest) (client.FenceConfirmAnswer, error) {
	now := b.Clock.Now()
	server, ok := b.State.Server(name)
	if !ok {
		return client.FenceConfirmAnswer{}, noServer(name)
	}
	v := b.Viewer.View(name, now)
	if req.Epoch != v.Status.Epoch {
		return client.FenceConfirmAnswer{}, problem(client.CodeRefused, "the epoch in question is %d, not %d", v.Status.Epoch, req.Epoch).WithNext("relight why %s", name)
	}
	if v.Finding.Verdict == fleet.Healthy {
		return client.FenceConfirmAnswer{}, problem(client.CodeRefused, "epoch %d is healthy: %s", req.Epoch, v.Finding.Reason).WithNext("relight why %s", name)
	}
	if r := v.Status.Recovery; r != nil && r.To == req.Epoch {
		// Said of an epoch that comes to life a moment later, it would stay a proof (S2).
		return client.FenceConfirmAnswer{}, problem(client.CodeRefused, "epoch %d is being started; whether it is dead can be said once this try is over", req.Epoch).WithNext("relight why %s", name)
	}
	evidence := fleet.Evidence{Method: fleet.Attested, Server: name, Epoch: req.Epoch, By: by, At: now, Detail: req.Reason}
	need, given, complete := max(server.Spec.Approvals, 1), "", false
	err := b.Journal.Do(ctx, now, func(tx *Tx) error {
		status, _ := TxGet[fleet.Status](tx, kindStatus, name)
		status.Server = name
		if r := status.Recovery; status.Epoch != req.Epoch || r != nil && r.To == req.Epoch {
			return problem(client.CodeConflict, "something was done about %s meanwhile", name).WithNext("relight why %s", name)
		}
		if status.Recovery == nil {
			// That it was not healthy is recorded with the word: what makes it healthy again
			// is news then, and makes the word void.
			tellVerdict(tx, &status, v.Finding)
			tx.Put(kindStatus, name, status)
		}
		people := attesters(tx, name, req.Epoch, by, now, req.Reason)
		complete, given = people >= need, fmt.Sprintf("%d of %d", people, need)
		tx.Emit(event.Event{
			Kind: event.FenceAttested, Server: name, By: by, Epoch: req.Epoch, Evidence: []fleet.Evidence{evidence},
			Message: fmt.Sprintf("%s states that epoch %d is dead (%s): %s", by, req.Epoch, given, req.Reason),
		})
		if !complete {
			return nil
		}
		status.Evidence = append(slices.Clone(status.Evidence), evidence)
		tx.Put(kindStatus, name, status)
		return nil
	})
	if err != nil {
		return client.FenceConfirmAnswer{}, err
	}
	b.Loops.Wake(name)
	msg := "recorded; the recovery goes on"
	if !complete {
		msg = "recorded, " + given + "; another person must confirm it too"
	}
	return client.FenceConfirmAnswer{Evidence: evidence, Complete: complete, Message: msg}, nil
}

// attesters counts the different people who have attested this epoch, this one
// included; statements are kept as approvals of the plan "attest".
func attesters(tx *Tx, name string, epoch fleet.Epoch, by string, now time.Time, reason string) int {
	id := approvalID(name, epoch, attestPlan, by)
	tx.Put(kindApproval, id, fleet.Approval{ID: id, Server: name, Epoch: epoch, Plan: attestPlan, By: by, Reason: reason, At: now, Until: now.Add(approvalFor)})
	people := map[string]bool{by: true}
	for _, a := range statements(tx, name) {
		if a.Epoch == epoch && now.Before(a.Until) {
			people[a.By] = true
		}
	}
	return len(people)
}

// statements are what people have stated of a server's epochs, by their ids.
func statements(tx *Tx, server string) []fleet.Approval {
	return slices.DeleteFunc(All[fleet.Approval](tx.state, kindApproval), func(a fleet.Approval) bool {
		return a.Server != server || a.Plan != attestPlan
	})
}

// dropWords takes back what people stated of an epoch that is seen to work: a word of then
// must not make another one complete at the next failure (S2).
func dropWords(tx *Tx, status fleet.Status) {
	if status.Verdict != fleet.Healthy || status.Recovery != nil {
		return
	}
	for _, a := range statements(tx, status.Server) {
		tx.Delete(kindApproval, a.ID)
	}
}

// attestPlan is the plan name under which statements of death are kept.
const attestPlan = "attest"

// Schema implements api.Backend.
func (b *Backend) Schema(context.Context) (json.RawMessage, error) { return spec.Schema(), nil }

// Version implements api.Backend.
func (b *Backend) Version(context.Context) (client.Version, error) { return b.Build, nil }
