package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"relight/internal/core/fleet"
)

func get[T any](ctx context.Context, c *Client, query url.Values, path ...string) (T, error) {
	var out T
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: query}, &out)
	return out, err
}

func post[T any](ctx context.Context, c *Client, body any, path ...string) (T, error) {
	var out T
	err := c.do(ctx, call{method: http.MethodPost, path: path, body: body}, &out)
	return out, err
}

func (c *Client) delete(ctx context.Context, path ...string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: path}, nil)
}

func (q ListQuery) values() url.Values {
	v := url.Values{}
	if len(q.Selector) > 0 {
		v.Set("selector", FormatSelector(q.Selector))
	}
	if q.Cursor != "" {
		v.Set("cursor", q.Cursor)
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("after", q.After)
	set("server", q.Server)
	set("incident", q.Incident)
	if !q.Since.IsZero() {
		set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.Limit > 0 {
		set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// Apply creates or changes documents.
func (c *Client) Apply(ctx context.Context, req ApplyRequest) (ApplyAnswer, error) {
	in := call{method: http.MethodPost, path: []string{"apply"}, body: req.Documents}
	if req.DryRun {
		in.query = url.Values{"dryRun": {"true"}}
	}
	var out ApplyAnswer
	err := c.do(ctx, in, &out)
	return out, err
}

// Documents lists one page of sites or policies, as they were applied. Servers
// have Servers.
func (c *Client) Documents(ctx context.Context, kind Kind, q ListQuery) (List[Document], error) {
	return get[List[Document]](ctx, c, q.values(), kind.Plural())
}

// Document returns one site or policy as it was applied. A server's document is
// in its ServerView.
func (c *Client) Document(ctx context.Context, kind Kind, name string) (Document, error) {
	return get[Document](ctx, c, nil, kind.Plural(), name)
}

// Delete deletes a document; ifMatch of 0 sets no condition. What a server's
// volumes hold stays.
func (c *Client) Delete(ctx context.Context, kind Kind, name string, ifMatch Revision) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{kind.Plural(), name}, ifMatch: ifMatch}, nil)
}

// Servers lists one page of servers.
func (c *Client) Servers(ctx context.Context, q ListQuery) (List[ServerRow], error) {
	return get[List[ServerRow]](ctx, c, q.values(), "servers")
}

// Server returns everything about one server.
func (c *Client) Server(ctx context.Context, name string) (ServerView, error) {
	return get[ServerView](ctx, c, nil, "servers", name)
}

// Why says what is known and done about a server.
func (c *Client) Why(ctx context.Context, name string) (Why, error) {
	return get[Why](ctx, c, nil, "servers", name, "why")
}

// Plan says what would be done about a server.
func (c *Client) Plan(ctx context.Context, name string, q PlanQuery) (Plan, error) {
	v := url.Values{}
	if q.Rung != "" {
		v.Set("rung", string(q.Rung))
	}
	if q.To != "" {
		v.Set("to", q.To)
	}
	if q.Host != "" {
		v.Set("host", q.Host)
	}
	if q.Back {
		v.Set("back", "true")
	}
	if q.Snapshot {
		v.Set("snapshot", "true")
	}
	return get[Plan](ctx, c, v, "servers", name, "plan")
}

// Heal asks for a recovery.
func (c *Client) Heal(ctx context.Context, name string, req HealRequest) (HealAnswer, error) {
	return post[HealAnswer](ctx, c, req, "servers", name, "heal")
}

// Move asks for a planned move of a working server.
func (c *Client) Move(ctx context.Context, name string, req MoveRequest) (HealAnswer, error) {
	return post[HealAnswer](ctx, c, req, "servers", name, "move")
}

// Pause stops recoveries of one server.
func (c *Client) Pause(ctx context.Context, name, reason string) (fleet.Pause, error) {
	return post[fleet.Pause](ctx, c, ReasonRequest{Reason: reason}, "servers", name, "pause")
}

// Resume ends a pause.
func (c *Client) Resume(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodPost, path: []string{"servers", name, "resume"}}, nil)
}

// ConfirmFence states that an epoch is dead.
func (c *Client) ConfirmFence(ctx context.Context, name string, req FenceConfirmRequest) (FenceConfirmAnswer, error) {
	return post[FenceConfirmAnswer](ctx, c, req, "servers", name, "fence-confirm")
}

// Approve approves a plan that asks.
func (c *Client) Approve(ctx context.Context, name string, req ApprovalRequest) (ApprovalAnswer, error) {
	return post[ApprovalAnswer](ctx, c, req, "servers", name, "approve")
}

// Deny refuses a plan that asks.
func (c *Client) Deny(ctx context.Context, name string, req ApprovalRequest) (ApprovalAnswer, error) {
	return post[ApprovalAnswer](ctx, c, req, "servers", name, "deny")
}

// Approvals lists the plans that wait for people.
func (c *Client) Approvals(ctx context.Context) (List[ApprovalRow], error) {
	return get[List[ApprovalRow]](ctx, c, nil, "approvals")
}

// StartMaintenance opens a maintenance window.
func (c *Client) StartMaintenance(ctx context.Context, req MaintenanceRequest) (fleet.Maintenance, error) {
	return post[fleet.Maintenance](ctx, c, req, "maintenance")
}

// Maintenances lists the windows that have not ended.
func (c *Client) Maintenances(ctx context.Context) (List[fleet.Maintenance], error) {
	return get[List[fleet.Maintenance]](ctx, c, nil, "maintenance")
}

// Maintenance returns one window.
func (c *Client) Maintenance(ctx context.Context, id string) (fleet.Maintenance, error) {
	return get[fleet.Maintenance](ctx, c, nil, "maintenance", id)
}

// EndMaintenance ends a window early.
func (c *Client) EndMaintenance(ctx context.Context, id string) error {
	return c.delete(ctx, "maintenance", id)
}

// Storm returns the storm that is recorded, if there is one.
func (c *Client) Storm(ctx context.Context) (StormView, error) {
	return get[StormView](ctx, c, nil, "storm")
}

// StormGoOn lets the recoveries go on that the storm holds; a larger one that came
// since holds them all the same.
func (c *Client) StormGoOn(ctx context.Context, id, reason string) (fleet.StormRecord, error) {
	return post[fleet.StormRecord](ctx, c, ReasonRequest{Reason: reason}, "storm", id, "go-on")
}

// SetFreeze stops every destructive step of the fleet.
func (c *Client) SetFreeze(ctx context.Context, reason string) (fleet.Freeze, error) {
	return post[fleet.Freeze](ctx, c, ReasonRequest{Reason: reason}, "freeze")
}

// Freeze returns the fleet-wide stop, if there is one.
func (c *Client) Freeze(ctx context.Context) (FreezeView, error) {
	return get[FreezeView](ctx, c, nil, "freeze")
}

// ClearFreeze ends the fleet-wide stop.
func (c *Client) ClearFreeze(ctx context.Context) error { return c.delete(ctx, "freeze") }

// BeginDrill records that something is about to be broken on purpose, or is refused.
func (c *Client) BeginDrill(ctx context.Context, req DrillRequest) (fleet.Drill, error) {
	return post[fleet.Drill](ctx, c, req, "drills")
}

// EndDrill records what came of a drill.
func (c *Client) EndDrill(ctx context.Context, id string, result fleet.DrillResult) (fleet.Drill, error) {
	return post[fleet.Drill](ctx, c, result, "drills", id, "end")
}

// Drills lists the drills, the newest first.
func (c *Client) Drills(ctx context.Context) (List[fleet.Drill], error) {
	return get[List[fleet.Drill]](ctx, c, nil, "drills")
}

// Spare says whether the servers of each single host could be placed on the others.
func (c *Client) Spare(ctx context.Context) (SpareView, error) {
	return get[SpareView](ctx, c, nil, "spare")
}

// Hosts lists the enrolled hosts.
func (c *Client) Hosts(ctx context.Context) (List[HostRow], error) {
	return get[List[HostRow]](ctx, c, nil, "hosts")
}

// CreateJoinToken makes a token with which one host may enrol.
func (c *Client) CreateJoinToken(ctx context.Context, req JoinTokenRequest) (JoinToken, error) {
	return post[JoinToken](ctx, c, req, "hosts", "tokens")
}

// RemoveHost ends a host's enrolment.
func (c *Client) RemoveHost(ctx context.Context, name string) error {
	return c.delete(ctx, "hosts", name)
}

// Incidents lists one page of incidents, newest first.
func (c *Client) Incidents(ctx context.Context, q ListQuery) (List[IncidentRow], error) {
	return get[List[IncidentRow]](ctx, c, q.values(), "incidents")
}

// Incident returns one incident with what was done.
func (c *Client) Incident(ctx context.Context, id string) (IncidentView, error) {
	return get[IncidentView](ctx, c, nil, "incidents", id)
}

// Events lists one page of events, oldest first.
func (c *Client) Events(ctx context.Context, q EventQuery) (List[EventRecord], error) {
	return get[List[EventRecord]](ctx, c, q.values(), "events")
}

// VerifyAudit checks the whole audit record.
func (c *Client) VerifyAudit(ctx context.Context) (AuditReport, error) {
	return get[AuditReport](ctx, c, nil, "audit", "verify")
}

// AuditEntries lists one page of a shard's chain.
func (c *Client) AuditEntries(ctx context.Context, q AuditQuery) (List[AuditEntry], error) {
	v := url.Values{"shard": {strconv.Itoa(q.Shard)}, "after": {strconv.FormatUint(q.After, 10)}}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return get[List[AuditEntry]](ctx, c, v, "audit", "entries")
}

// Power reads the state of a host's power devices.
func (c *Client) Power(ctx context.Context, host string) (PowerReport, error) {
	return get[PowerReport](ctx, c, nil, "hosts", host, "power")
}

// Doctor returns the engine's view of its own health.
func (c *Client) Doctor(ctx context.Context) (DoctorReport, error) {
	return get[DoctorReport](ctx, c, nil, "doctor")
}

// Version says which program answers.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, nil, "version")
}

// Schema returns the JSON Schema of documents.
func (c *Client) Schema(ctx context.Context) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, nil, "schema")
}
