package apitest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// StartMaintenance implements api.Backend.
func (b *Backend) StartMaintenance(_ context.Context, by string, req client.MaintenanceRequest) (fleet.Maintenance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := fleet.Maintenance{
		ID: fmt.Sprintf("m-%d", len(b.windows)+1), Scope: req.Scope, Owner: by, Reason: req.Reason,
		From: req.From, Until: req.From.Add(req.For.Std()),
	}
	b.windows = append(b.windows, m)
	return m, b.change(by, "maintenance", req.Scope, req.For, req.Reason)
}

// Maintenances implements api.Backend.
func (b *Backend) Maintenances(context.Context) (client.List[fleet.Maintenance], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return client.List[fleet.Maintenance]{Items: append([]fleet.Maintenance{}, b.windows...)}, b.enter("maintenances")
}

// Maintenance implements api.Backend.
func (b *Backend) Maintenance(_ context.Context, id string) (fleet.Maintenance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.windows {
		if m.ID == id {
			return m, nil
		}
	}
	return fleet.Maintenance{}, client.NotFound("maintenance", id)
}

// EndMaintenance implements api.Backend.
func (b *Backend) EndMaintenance(_ context.Context, by, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.windows)
	b.windows = slices.DeleteFunc(b.windows, func(m fleet.Maintenance) bool { return m.ID == id })
	if len(b.windows) == n {
		return client.NotFound("maintenance", id)
	}
	return b.change(by, "end-maintenance", id)
}

// Storm implements api.Backend.
func (b *Backend) Storm(context.Context) (client.StormView, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return client.StormView{Storm: b.storm}, b.enter("storm")
}

// StormGoOn implements api.Backend.
func (b *Backend) StormGoOn(_ context.Context, by, id, reason string) (fleet.StormRecord, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.storm == nil || b.storm.ID != id {
		return fleet.StormRecord{}, client.NotFound("storm", id)
	}
	b.storm.GoOn = &fleet.GoOn{By: by, Reason: reason, At: b.Now()}
	return *b.storm, b.change(by, "storm-go-on", id, reason)
}

// SetFreeze implements api.Backend.
func (b *Backend) SetFreeze(_ context.Context, by, reason string) (fleet.Freeze, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frozen = &fleet.Freeze{By: by, Reason: reason, At: b.Now()}
	return *b.frozen, b.change(by, "freeze", reason)
}

// Freeze implements api.Backend.
func (b *Backend) Freeze(context.Context) (client.FreezeView, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return client.FreezeView{Freeze: b.frozen}, b.enter("freeze")
}

// ClearFreeze implements api.Backend.
func (b *Backend) ClearFreeze(_ context.Context, by string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frozen = nil
	return b.change(by, "unfreeze")
}

// Hosts implements api.Backend.
func (b *Backend) Hosts(context.Context) (client.List[client.HostRow], error) {
	return client.List[client.HostRow]{Items: append([]client.HostRow{}, b.HostRows...)}, b.enter("hosts")
}

// Spare implements api.Backend.
func (b *Backend) Spare(context.Context) (client.SpareView, error) {
	return b.SpareTo, b.enter("spare")
}

// BeginDrill implements api.Backend.
func (b *Backend) BeginDrill(_ context.Context, by string, req client.DrillRequest) (fleet.Drill, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.document(client.KindServer, req.Server); err != nil {
		return fleet.Drill{}, err
	}
	return fleet.Drill{ID: "D-1", Name: req.Name, Server: req.Server, By: by, Begun: b.Now(), Expected: req.Name.Expectation()}, b.change(by, "drill", req.Name, req.Server)
}

// EndDrill implements api.Backend.
func (b *Backend) EndDrill(_ context.Context, by, id string, result fleet.DrillResult) (fleet.Drill, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fleet.Drill{ID: id, By: by, Ended: b.Now(), Result: result}, b.change(by, "drill-ended", id, result.Passed)
}

// Drills implements api.Backend.
func (b *Backend) Drills(context.Context) (client.List[fleet.Drill], error) {
	return client.List[fleet.Drill]{Items: append([]fleet.Drill{}, b.DrillRows...)}, b.enter("drills")
}

// CreateJoinToken implements api.Backend.
func (b *Backend) CreateJoinToken(_ context.Context, by string, req client.JoinTokenRequest) (client.JoinToken, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := client.JoinToken{Token: "join-secret", Host: req.Host, Until: b.Now().Add(req.For.Std()), Command: "relight agent --join join-secret"}
	return t, b.change(by, "join-token", req.Host)
}

// RemoveHost implements api.Backend.
func (b *Backend) RemoveHost(_ context.Context, by, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.HostRows {
		if h.Name == name {
			return b.change(by, "remove-host", name)
		}
	}
	return client.NotFound("host", name)
}

// Incidents implements api.Backend.
func (b *Backend) Incidents(context.Context, client.ListQuery) (client.List[client.IncidentRow], error) {
	out := client.List[client.IncidentRow]{Items: []client.IncidentRow{}}
	for _, id := range slices.Sorted(maps.Keys(b.IncidentOf)) {
		out.Items = append(out.Items, b.IncidentOf[id].IncidentRow)
	}
	return out, b.enter("incidents")
}

// Incident implements api.Backend.
func (b *Backend) Incident(_ context.Context, id string) (client.IncidentView, error) {
	if v, ok := b.IncidentOf[id]; ok {
		return v, nil
	}
	return client.IncidentView{}, client.NotFound("incident", id)
}

func wanted(q client.EventQuery, number int, r client.EventRecord) bool {
	var after int
	_, _ = fmt.Sscan(q.After, &after)
	return number > after && !r.Event.At.Before(q.Since) &&
		(q.Server == "" || q.Server == r.Event.Server) && (q.Incident == "" || q.Incident == r.Event.Incident)
}

// Events implements api.Backend.
func (b *Backend) Events(_ context.Context, q client.EventQuery) (client.List[client.EventRecord], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := client.List[client.EventRecord]{Items: []client.EventRecord{}}
	for i, r := range b.events {
		if !wanted(q, i+1, r) {
			continue
		}
		if q.Limit > 0 && len(out.Items) == q.Limit {
			out.Next = out.Items[len(out.Items)-1].ID
			break
		}
		out.Items = append(out.Items, r)
	}
	return out, b.enter("events")
}

// WatchEvents implements api.Backend.
func (b *Backend) WatchEvents(ctx context.Context, q client.EventQuery) (<-chan client.EventRecord, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.enter("watch"); err != nil {
		return nil, err
	}
	ch := make(chan client.EventRecord, 1024)
	for i, r := range b.events {
		if (q.After != "" || !q.Since.IsZero()) && wanted(q, i+1, r) {
			ch <- r
		}
	}
	b.nextID++
	id := b.nextID
	b.watchers[id] = ch
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, id)
	})
	return ch, nil
}

// Watching tells how many streams are open.
func (b *Backend) Watching() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.watchers)
}

// VerifyAudit implements api.Backend.
func (b *Backend) VerifyAudit(context.Context) (client.AuditReport, error) {
	return b.Audit, b.enter("verify-audit")
}

// AuditEntries implements api.Backend.
func (b *Backend) AuditEntries(_ context.Context, q client.AuditQuery) (client.List[client.AuditEntry], error) {
	return client.List[client.AuditEntry]{Items: []client.AuditEntry{
		{Shard: q.Shard, Number: q.After + 1, Prev: "00", Hash: "01", Body: json.RawMessage(`{}`)},
	}}, b.enter("audit-entries")
}

// Backup implements api.Backend. Fail is asked again, as "backup-end", after all
// but the last byte is written.
func (b *Backend) Backup(_ context.Context, by string, w io.Writer) error {
	if err := b.change(by, "backup"); err != nil {
		return err
	}
	sum := sha256.Sum256(b.Saved)
	all := append(slices.Clone(b.Saved), sum[:]...)
	if _, err := w.Write(all[:len(all)-1]); err != nil {
		return err
	}
	if err := b.enter("backup-end"); err != nil {
		return err
	}
	_, err := w.Write(all[len(all)-1:])
	return err
}

// TryWebhook implements api.Backend.
func (b *Backend) TryWebhook(_ context.Context, by string) (client.WebhookTrial, error) {
	return b.Trial, b.change(by, "try-webhook")
}

// Power implements api.Backend.
func (b *Backend) Power(_ context.Context, host string) (client.PowerReport, error) {
	report := b.PowerReport
	report.Host = host
	return report, b.enter("power")
}

// ExamineArray implements api.Backend.
func (b *Backend) ExamineArray(_ context.Context, by, array string, req client.ArrayExamination) (client.ArrayReport, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if array != b.ArrayReport.Array {
		return client.ArrayReport{}, client.NewProblem(client.CodeNotFound, "no site declares array %q", array).WithNext("relight doctor")
	}
	return b.ArrayReport, b.change(by, "examine-array", array, req.LUN, req.Watch.Std().String())
}

// Doctor implements api.Backend.
func (b *Backend) Doctor(context.Context) (client.DoctorReport, error) {
	return b.Report, b.enter("doctor")
}

// Version implements api.Backend.
func (b *Backend) Version(context.Context) (client.Version, error) {
	return client.Version{Version: "v0.0.0-test", API: client.APIVersion}, b.enter("version")
}

// Schema implements api.Backend.
func (b *Backend) Schema(context.Context) (json.RawMessage, error) {
	return json.RawMessage(`{"type":"object"}`), b.enter("schema")
}

// Clock returns a clock that stands still at t.
func Clock(t time.Time) func() time.Time { return func() time.Time { return t } }
