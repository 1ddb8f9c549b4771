package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"relight/internal/api/client"
)

type tokenInput struct {
	Body client.JoinTokenRequest
}

func (s *server) hosts(a huma.API) {
	read(a, s, "list-hosts", "/hosts", "Enrolled hosts", "hosts",
		func(ctx context.Context) (client.List[client.HostRow], error) { return s.backend.Hosts(ctx) })
	read(a, s, "spare", "/spare", "Whether the loss of any one host could be borne", "hosts",
		func(ctx context.Context) (client.SpareView, error) { return s.backend.Spare(ctx) })
	add(a, s, op{id: "create-join-token", method: http.MethodPost, path: "/hosts/tokens", summary: "Make a token with which one host may enrol", tag: "hosts", status: http.StatusCreated},
		func(ctx context.Context, in *tokenInput) (*answer[client.JoinToken], error) {
			return wrap(s.backend.CreateJoinToken(ctx, by(ctx), in.Body))
		})
	add(a, s, op{id: "remove-host", method: http.MethodDelete, path: "/hosts/{name}", summary: "End a host's enrolment", tag: "hosts", status: http.StatusNoContent},
		func(ctx context.Context, in *named) (*empty, error) {
			return &empty{}, s.backend.RemoveHost(ctx, by(ctx), in.Name)
		})
}

func (s *server) power(a huma.API) {
	add(a, s, op{id: "get-power", method: http.MethodGet, path: "/hosts/{name}/power", summary: "The state of a host's power devices", tag: "hosts"},
		func(ctx context.Context, in *named) (*answer[client.PowerReport], error) {
			return wrap(s.backend.Power(ctx, in.Name))
		})
}

type examineInput struct {
	Name string `path:"name" maxLength:"253"`
	Body client.ArrayExamination
}

func (s *server) arrays(a huma.API) {
	add(a, s, op{id: "examine-array", method: http.MethodPost, path: "/arrays/{name}/examine", summary: "Try an array's fence and reservations on a scratch LUN", tag: "arrays"},
		func(ctx context.Context, in *examineInput) (*answer[client.ArrayReport], error) {
			return wrap(s.backend.ExamineArray(ctx, by(ctx), in.Name, in.Body))
		})
}

func (s *server) incidents(a huma.API) {
	add(a, s, op{id: "list-incidents", method: http.MethodGet, path: "/incidents", summary: "Incidents, newest first", tag: "incidents"},
		func(ctx context.Context, in *page) (*answer[client.List[client.IncidentRow]], error) {
			q, err := in.query()
			if err != nil {
				return nil, err
			}
			return wrap(s.backend.Incidents(ctx, q))
		})
	add(a, s, op{id: "get-incident", method: http.MethodGet, path: "/incidents/{name}", summary: "One incident with what was done", tag: "incidents"},
		func(ctx context.Context, in *named) (*answer[client.IncidentView], error) {
			return wrap(s.backend.Incident(ctx, in.Name))
		})
}

func (s *server) engine(a huma.API) {
	read(a, s, "doctor", "/doctor", "The engine's view of its own health", "engine",
		func(ctx context.Context) (client.DoctorReport, error) { return s.backend.Doctor(ctx) })
	add(a, s, op{id: "try-webhook", method: http.MethodPost, path: "/webhook/test", summary: "Send a test message to the webhook", tag: "engine"},
		func(ctx context.Context, _ *none) (*answer[client.WebhookTrial], error) {
			return wrap(s.backend.TryWebhook(ctx, by(ctx)))
		})
	read(a, s, "version", "/version", "Which program answers", "engine",
		func(ctx context.Context) (client.Version, error) { return s.backend.Version(ctx) })
	read(a, s, "schema", "/schema", "JSON Schema of documents", "engine",
		func(ctx context.Context) (json.RawMessage, error) { return s.backend.Schema(ctx) })
	read(a, s, "verify-audit", "/audit/verify", "Check the whole audit record", "audit",
		func(ctx context.Context) (client.AuditReport, error) { return s.backend.VerifyAudit(ctx) })
	add(a, s, op{id: "list-audit-entries", method: http.MethodGet, path: "/audit/entries", summary: "One shard's chain of audit entries", tag: "audit"},
		func(ctx context.Context, in *auditInput) (*answer[client.List[client.AuditEntry]], error) {
			return wrap(s.backend.AuditEntries(ctx, client.AuditQuery{Shard: in.Shard, After: in.After, Limit: in.Limit}))
		})
}

type auditInput struct {
	Shard int    `query:"shard" minimum:"0"`
	After uint64 `query:"after" doc:"number of the last entry that is known"`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
}
