package controller

import (
	"context"

	"relight/internal/api/client"
	"relight/internal/core/event"
)

// pageSize is how many events one page holds if the caller does not say.
const pageSize = 500

func wanted(q client.EventQuery) func(event.Event) bool {
	return func(e event.Event) bool {
		return (q.Server == "" || e.Server == q.Server) && (q.Incident == "" || e.Incident == q.Incident) && !e.At.Before(q.Since)
	}
}

// Events implements api.Backend.
func (b *Backend) Events(_ context.Context, q client.EventQuery) (client.List[client.EventRecord], error) {
	var list client.List[client.EventRecord]
	records, _, err := b.Chronicle.after(q.After)
	if err != nil {
		return list, problem(client.CodeCursorGone, "the events after %s are no longer kept here", q.After)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = pageSize
	}
	match := wanted(q)
	for _, r := range records {
		if !match(r.Event) {
			continue
		}
		if len(list.Items) == limit {
			list.Next = list.Items[limit-1].ID
			break
		}
		list.Items = append(list.Items, client.EventRecord{ID: r.ID(), Event: r.Event})
	}
	return list, nil
}

// WatchEvents implements api.Backend.
func (b *Backend) WatchEvents(ctx context.Context, q client.EventQuery) (<-chan client.EventRecord, error) {
	records, bell, err := b.Chronicle.after(q.After)
	if err != nil {
		return nil, problem(client.CodeCursorGone, "the events after %s are no longer kept here", q.After)
	}
	if q.After == "" && q.Since.IsZero() && len(records) > 0 {
		q.After = records[len(records)-1].ID()
		records = nil
	}
	out := make(chan client.EventRecord)
	match := wanted(q)
	go func() {
		defer close(out)
		cursor := q.After
		for {
			for _, r := range records {
				cursor = r.ID()
				if !match(r.Event) {
					continue
				}
				select {
				case out <- client.EventRecord{ID: cursor, Event: r.Event}:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-bell:
			case <-ctx.Done():
				return
			}
			if records, bell, err = b.Chronicle.after(cursor); err != nil {
				return // the reader was too slow; it resumes and is told so
			}
		}
	}()
	return out, nil
}

// VerifyAudit implements api.Backend.
func (b *Backend) VerifyAudit(ctx context.Context) (client.AuditReport, error) {
	verified, err := b.Chronicle.Verify(ctx)
	if err != nil {
		return client.AuditReport{}, problem(client.CodeInternal, "the audit record cannot be verified: %v", err)
	}
	report := client.AuditReport{OK: true, At: b.Clock.Now()}
	for _, v := range verified {
		row := client.AuditShard{Shard: v.Shard, Entries: v.Entries, Head: v.Head.Hash.String(), OK: v.Err == nil}
		if v.Err != nil {
			report.OK = false
			row.Reason, row.BrokenAt = v.Err.Error(), brokenAt(v.Err)
		}
		report.Shards = append(report.Shards, row)
	}
	return report, nil
}

// AuditEntries implements api.Backend.
func (b *Backend) AuditEntries(ctx context.Context, q client.AuditQuery) (client.List[client.AuditEntry], error) {
	var list client.List[client.AuditEntry]
	if q.Shard < 0 || q.Shard >= Shards {
		return list, problem(client.CodeBadRequest, "shards are 0 to %d", Shards-1)
	}
	entries, err := b.Chronicle.Entries(ctx, q.Shard)
	if err != nil {
		return list, err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = pageSize
	}
	for _, e := range entries {
		if e.Seq <= q.After {
			continue
		}
		if len(list.Items) == limit {
			list.Next = "more"
			break
		}
		list.Items = append(list.Items, client.AuditEntry{Shard: e.Shard, Number: e.Seq, Prev: e.Prev.String(), Hash: e.Hash.String(), Body: e.Raw})
	}
	return list, nil
}

// Incidents implements api.Backend, the latest first.
func (b *Backend) Incidents(_ context.Context, q client.ListQuery) (client.List[client.IncidentRow], error) {
	var list client.List[client.IncidentRow]
	all := All[Incident](b.State, kindIncident)
	for i := len(all) - 1; i >= 0; i-- {
		if q.Cursor != "" && all[i].ID >= q.Cursor {
			continue
		}
		if q.Limit > 0 && len(list.Items) == q.Limit {
			list.Next = list.Items[len(list.Items)-1].ID
			break
		}
		list.Items = append(list.Items, incidentRow(all[i]))
	}
	return list, nil
}

func incidentRow(in Incident) client.IncidentRow {
	return client.IncidentRow{ID: in.ID, Cause: in.Cause, Opened: in.Opened, Closed: in.Closed, Servers: in.Servers, Message: in.Message}
}

// Incident implements api.Backend.
func (b *Backend) Incident(_ context.Context, id string) (client.IncidentView, error) {
	in, ok := Get[Incident](b.State, kindIncident, id)
	if !ok {
		return client.IncidentView{}, problem(client.CodeNotFound, "there is no incident %q", id).WithNext("relight get incidents")
	}
	view := client.IncidentView{IncidentRow: incidentRow(in)}
	for _, r := range in.Recoveries {
		view.Recoveries = append(view.Recoveries, recoveryView(r))
	}
	for _, server := range in.Open {
		if r := b.State.Status(server).Recovery; r != nil {
			view.Recoveries = append(view.Recoveries, client.RecoveryView{Server: server, Recovery: *r})
		}
	}
	for _, r := range b.Chronicle.Latest(pageSize, func(e event.Event) bool { return e.Incident == id }) {
		view.Events = append(view.Events, client.EventRecord{ID: r.ID(), Event: r.Event})
	}
	return view, nil
}

func recoveryView(r EndedRecovery) client.RecoveryView {
	v := client.RecoveryView{Server: r.Server, Recovery: r.Recovery, Ended: r.Ended, Healed: r.Healed}
	if !r.Recovery.DownSince.IsZero() {
		v.RTO = durationOf(r.Ended.Sub(r.Recovery.DownSince))
	}
	return v
}
