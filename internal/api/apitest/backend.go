// Package apitest is a small engine without machines for tests of whatever
// stands on the HTTP interface. It keeps documents and guards in memory and
// tells of servers what a test sets.
package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// Token is accepted by tests that authenticate as Person.
const (
	Token  = "test-token"
	Person = "kim"
)

// Backend is the engine. Set fields before the first call; methods lock.
type Backend struct {
	Now func() time.Time
	// Whys and Plans answer by server name, Heals, Incident and Hosts as they are.
	Whys        map[string]client.Why
	Plans       map[string]client.Plan
	HealTo      client.HealAnswer
	HostRows    []client.HostRow
	DrillRows   []fleet.Drill
	SpareTo     client.SpareView
	Asked       []client.ApprovalRow
	Kept        []client.KeptSnapshot
	Left        []client.Orphan
	IncidentOf  map[string]client.IncidentView
	Report      client.DoctorReport
	PowerReport client.PowerReport
	ArrayReport client.ArrayReport
	Audit       client.AuditReport
	Trial       client.WebhookTrial
	// Saved is what a backup holds, without its sum.
	Saved []byte
	// Fail, if set, is asked before each call with its name.
	Fail func(call string) error

	mu       sync.Mutex
	docs     map[string]client.Document
	revision client.Revision
	windows  []fleet.Maintenance
	frozen   *fleet.Freeze
	storm    *fleet.StormRecord
	paused   map[string]fleet.Pause
	events   []client.EventRecord
	watchers map[int]chan client.EventRecord
	nextID   int
	calls    []string
}

// New makes an empty engine whose clock is now.
func New(now func() time.Time) *Backend {
	return &Backend{
		Now: now, Whys: map[string]client.Why{}, Plans: map[string]client.Plan{},
		IncidentOf: map[string]client.IncidentView{}, docs: map[string]client.Document{},
		paused: map[string]fleet.Pause{}, watchers: map[int]chan client.EventRecord{},
	}
}

// Calls lists the changing calls, each as "by: call arguments".
func (b *Backend) Calls() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

func (b *Backend) enter(call string) error {
	if b.Fail != nil {
		if err := b.Fail(call); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) change(by, call string, args ...any) error {
	if err := b.enter(call); err != nil {
		return err
	}
	b.calls = append(b.calls, strings.TrimSpace(by+": "+call+" "+strings.TrimSuffix(fmt.Sprintln(args...), "\n")))
	return nil
}

// Emit records an event and sends it to those who watch.
func (b *Backend) Emit(e event.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.emit(e)
}

func (b *Backend) emit(e event.Event) {
	e.Version = event.Version
	if e.At.IsZero() {
		e.At = b.Now()
	}
	r := client.EventRecord{ID: strconv.Itoa(len(b.events) + 1), Event: e}
	b.events = append(b.events, r)
	for _, id := range slices.Sorted(maps.Keys(b.watchers)) {
		b.watchers[id] <- r
	}
}

// Break ends all open streams, as a controller that dies does.
func (b *Backend) Break() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, ch := range b.watchers {
		close(ch)
		delete(b.watchers, id)
	}
}

// Apply implements api.Backend.
func (b *Backend) Apply(_ context.Context, by string, req client.ApplyRequest) (client.ApplyAnswer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := client.ApplyAnswer{DryRun: req.DryRun}
	if err := b.change(by, "apply", len(req.Documents)); err != nil {
		return out, err
	}
	for _, d := range req.Documents {
		a, err := b.apply(by, d, req.DryRun)
		if err != nil {
			return out, err
		}
		out.Documents = append(out.Documents, a)
	}
	return out, nil
}

func (b *Backend) apply(by string, d client.Document, dry bool) (client.Applied, error) {
	old, ok := b.docs[d.ID()]
	a := client.Applied{Kind: d.Kind, Name: d.Metadata.Name, Result: client.Created, Revision: old.Revision}
	if d.Revision != 0 && d.Revision != old.Revision {
		return a, client.NewProblem(client.CodeConflict, "%s stands at revision %d, not %d", d.ID(), old.Revision, d.Revision)
	}
	if d.Metadata.Labels["refuse"] != "" {
		a.Result = client.Failed
		a.Problem = client.NewProblem(client.CodeInvalidDocument, "%s: %s", d.ID(), d.Metadata.Labels["refuse"])
		return a, nil
	}
	if ok {
		a.Changes = changes(old.Spec, d.Spec)
		a.Result = client.Changed
		if len(a.Changes) == 0 {
			a.Result = client.Unchanged
		}
	}
	if dry || a.Result == client.Unchanged {
		return a, nil
	}
	b.revision++
	d.Revision, a.Revision = b.revision, b.revision
	b.docs[d.ID()] = d
	if d.Kind == client.KindServer {
		b.emit(event.Event{Kind: event.ServerDeclared, Server: d.Metadata.Name, By: by, Message: d.Metadata.Name + " was declared"})
	}
	return a, nil
}

// changes compares the top fields of two specs.
func changes(from, to json.RawMessage) []client.Change {
	var f, t map[string]json.RawMessage
	_ = json.Unmarshal(from, &f)
	_ = json.Unmarshal(to, &t)
	names := map[string]bool{}
	for k := range f {
		names[k] = true
	}
	for k := range t {
		names[k] = true
	}
	var out []client.Change
	for _, k := range slices.Sorted(maps.Keys(names)) {
		if string(f[k]) != string(t[k]) {
			out = append(out, client.Change{Field: "spec." + k, From: f[k], To: t[k]})
		}
	}
	return out
}

// Documents implements api.Backend.
func (b *Backend) Documents(_ context.Context, kind client.Kind, _ client.ListQuery) (client.List[client.Document], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := client.List[client.Document]{Items: []client.Document{}}
	for _, id := range slices.Sorted(maps.Keys(b.docs)) {
		if b.docs[id].Kind == kind {
			out.Items = append(out.Items, b.docs[id])
		}
	}
	return out, b.enter("documents")
}

// Document implements api.Backend.
func (b *Backend) Document(_ context.Context, kind client.Kind, name string) (client.Document, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.document(kind, name)
}

func (b *Backend) document(kind client.Kind, name string) (client.Document, error) {
	d, ok := b.docs[client.Document{Kind: kind, Metadata: client.Metadata{Name: name}}.ID()]
	if !ok {
		return d, client.NotFound(string(kind), name)
	}
	return d, b.enter("document")
}

// Delete implements api.Backend.
func (b *Backend) Delete(_ context.Context, by string, kind client.Kind, name string, ifMatch client.Revision) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, err := b.document(kind, name)
	if err != nil {
		return err
	}
	if ifMatch != 0 && ifMatch != d.Revision {
		return client.NewProblem(client.CodeConflict, "%s stands at revision %d, not %d", d.ID(), d.Revision, ifMatch)
	}
	if err := b.change(by, "delete", d.ID()); err != nil {
		return err
	}
	delete(b.docs, d.ID())
	return nil
}
