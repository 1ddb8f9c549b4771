package api

import (
	"context"
	"encoding/json"
	"io"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// Backend is what the engine does for the interface. Its errors are
// *client.Problem (wrapped or not); any other error reads as an internal one,
// whose text is logged and not sent. by is the name of the person who asked.
type Backend interface {
	// Apply creates or changes documents. A document that stands at another
	// revision than it carries is a CodeConflict. An error means that nothing was
	// done; Applied.Problem tells of a single document that failed.
	Apply(ctx context.Context, by string, req client.ApplyRequest) (client.ApplyAnswer, error)
	// Documents and Document serve sites and policies as they were applied.
	Documents(ctx context.Context, kind client.Kind, q client.ListQuery) (client.List[client.Document], error)
	Document(ctx context.Context, kind client.Kind, name string) (client.Document, error)
	// Delete deletes a document of any kind; ifMatch of 0 sets no condition.
	Delete(ctx context.Context, by string, kind client.Kind, name string, ifMatch client.Revision) error

	Servers(ctx context.Context, q client.ListQuery) (client.List[client.ServerRow], error)
	Server(ctx context.Context, name string) (client.ServerView, error)
	// Why may leave Next empty; the interface fills it.
	Why(ctx context.Context, name string) (client.Why, error)
	// Plan simulates; it changes nothing.
	Plan(ctx context.Context, name string, q client.PlanQuery) (client.Plan, error)
	// Heal records the request. That a gate holds it is told in the answer's
	// Decision, not as an error.
	Heal(ctx context.Context, by, name string, req client.HealRequest) (client.HealAnswer, error)
	// Move records the request for a planned move, or refuses what cannot be done.
	Move(ctx context.Context, by, name string, req client.MoveRequest) (client.HealAnswer, error)
	Pause(ctx context.Context, by, name, reason string) (fleet.Pause, error)
	Resume(ctx context.Context, by, name string) error
	ConfirmFence(ctx context.Context, by, name string, req client.FenceConfirmRequest) (client.FenceConfirmAnswer, error)

	// Snapshots lists what arrays keep of a server's LUNs, or of all servers' if server
	// is empty. An array that does not answer is told in its row.
	Snapshots(ctx context.Context, server string) (client.List[client.KeptSnapshot], error)
	// RestoreSnapshot puts a snapshot back on all of a server's LUNs, and returns once
	// that is done, or refuses while an epoch of it may run.
	RestoreSnapshot(ctx context.Context, by, server, snapshot, reason string) (client.SnapshotAnswer, error)
	DeleteSnapshot(ctx context.Context, by, server, snapshot string) (client.SnapshotAnswer, error)

	// Orphans lists what hosts and arrays have of servers that are not in the fleet.
	// Whoever cannot be asked is told in a row.
	Orphans(ctx context.Context) (client.List[client.Orphan], error)

	Approvals(ctx context.Context) (client.List[client.ApprovalRow], error)
	// Answer records a person's answer to a plan; denied tells which.
	Answer(ctx context.Context, by, name string, req client.ApprovalRequest, denied bool) (client.ApprovalAnswer, error)

	StartMaintenance(ctx context.Context, by string, req client.MaintenanceRequest) (fleet.Maintenance, error)
	Maintenances(ctx context.Context) (client.List[fleet.Maintenance], error)
	Maintenance(ctx context.Context, id string) (fleet.Maintenance, error)
	EndMaintenance(ctx context.Context, by, id string) error

	// Storm is the storm that is recorded; StormGoOn lets that very one go on.
	Storm(ctx context.Context) (client.StormView, error)
	StormGoOn(ctx context.Context, by, id, reason string) (fleet.StormRecord, error)

	SetFreeze(ctx context.Context, by, reason string) (fleet.Freeze, error)
	Freeze(ctx context.Context) (client.FreezeView, error)
	ClearFreeze(ctx context.Context, by string) error

	Hosts(ctx context.Context) (client.List[client.HostRow], error)
	// Spare says whether the servers of each single host could be placed elsewhere.
	Spare(ctx context.Context) (client.SpareView, error)
	CreateJoinToken(ctx context.Context, by string, req client.JoinTokenRequest) (client.JoinToken, error)
	RemoveHost(ctx context.Context, by, name string) error
	// Power reads the state of a host's power devices. It switches nothing.
	Power(ctx context.Context, host string) (client.PowerReport, error)
	// ExamineArray tries an array's fence and reservations on a scratch LUN.
	ExamineArray(ctx context.Context, by, array string, req client.ArrayExamination) (client.ArrayReport, error)

	// BeginDrill records that a person is about to break something, or refuses it;
	// EndDrill records what came of it.
	BeginDrill(ctx context.Context, by string, req client.DrillRequest) (fleet.Drill, error)
	EndDrill(ctx context.Context, by, id string, result fleet.DrillResult) (fleet.Drill, error)
	Drills(ctx context.Context) (client.List[fleet.Drill], error)

	Incidents(ctx context.Context, q client.ListQuery) (client.List[client.IncidentRow], error)
	Incident(ctx context.Context, id string) (client.IncidentView, error)

	// Events lists one page, oldest first; List.Next is the After of the next.
	Events(ctx context.Context, q client.EventQuery) (client.List[client.EventRecord], error)
	// WatchEvents sends events after q.After (or from q.Since on, or the next
	// ones) until ctx ends, and closes the channel when it can send no more. An
	// After that is no longer in the record is a CodeCursorGone.
	WatchEvents(ctx context.Context, q client.EventQuery) (<-chan client.EventRecord, error)

	VerifyAudit(ctx context.Context) (client.AuditReport, error)
	AuditEntries(ctx context.Context, q client.AuditQuery) (client.List[client.AuditEntry], error)

	// Backup writes everything that the engine remembers to w, as of one moment.
	// After an error what was written is worth nothing.
	Backup(ctx context.Context, by string, w io.Writer) error

	// TryWebhook sends one test message and tells what the receiver answered.
	TryWebhook(ctx context.Context, by string) (client.WebhookTrial, error)

	Doctor(ctx context.Context) (client.DoctorReport, error)
	Version(ctx context.Context) (client.Version, error)
	// Schema returns the JSON Schema of documents.
	Schema(ctx context.Context) (json.RawMessage, error)
}
