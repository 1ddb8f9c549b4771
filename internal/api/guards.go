package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

type approvalInput struct {
	Name string `path:"name" maxLength:"253"`
	Body client.ApprovalRequest
}

type maintenanceInput struct {
	Body client.MaintenanceRequest
}

type goOnInput struct {
	Name string `path:"name" maxLength:"253"`
	Body client.ReasonRequest
}

type freezeInput struct {
	Body client.ReasonRequest
}

func (s *server) guards(a huma.API) {
	for _, deny := range []bool{false, true} {
		id, summary := "approve", "Approve a plan that asks"
		if deny {
			id, summary = "deny", "Refuse a plan that asks"
		}
		add(a, s, op{id: id, method: http.MethodPost, path: "/servers/{name}/" + id, summary: summary, tag: "guards"},
			func(ctx context.Context, in *approvalInput) (*answer[client.ApprovalAnswer], error) {
				return wrap(s.backend.Answer(ctx, by(ctx), in.Name, in.Body, deny))
			})
	}
	read(a, s, "list-approvals", "/approvals", "Plans that wait for people", "guards",
		func(ctx context.Context) (client.List[client.ApprovalRow], error) { return s.backend.Approvals(ctx) })
	s.maintenance(a)
	s.storm(a)
	s.freeze(a)
}

func (s *server) maintenance(a huma.API) {
	add(a, s, op{id: "start-maintenance", method: http.MethodPost, path: "/maintenance", summary: "Open a maintenance window", tag: "guards", status: http.StatusCreated},
		func(ctx context.Context, in *maintenanceInput) (*answer[fleet.Maintenance], error) {
			if in.Body.For.Std() < time.Second {
				return nil, client.NewProblem(client.CodeBadRequest, "a maintenance window needs a length of at least 1s").
					WithNext("relight maintain start SCOPE --for 1h --reason ...")
			}
			if in.Body.From.IsZero() {
				in.Body.From = s.now()
			}
			return wrap(s.backend.StartMaintenance(ctx, by(ctx), in.Body))
		})
	read(a, s, "list-maintenance", "/maintenance", "Windows that have not ended", "guards",
		func(ctx context.Context) (client.List[fleet.Maintenance], error) { return s.backend.Maintenances(ctx) })
	add(a, s, op{id: "get-maintenance", method: http.MethodGet, path: "/maintenance/{name}", summary: "One maintenance window", tag: "guards"},
		func(ctx context.Context, in *named) (*answer[fleet.Maintenance], error) {
			return wrap(s.backend.Maintenance(ctx, in.Name))
		})
	add(a, s, op{id: "end-maintenance", method: http.MethodDelete, path: "/maintenance/{name}", summary: "End a maintenance window early", tag: "guards", status: http.StatusNoContent},
		func(ctx context.Context, in *named) (*empty, error) {
			return &empty{}, s.backend.EndMaintenance(ctx, by(ctx), in.Name)
		})
}

func (s *server) storm(a huma.API) {
	read(a, s, "get-storm", "/storm", "The storm that holds recoveries", "guards",
		func(ctx context.Context) (client.StormView, error) { return s.backend.Storm(ctx) })
	add(a, s, op{id: "storm-go-on", method: http.MethodPost, path: "/storm/{name}/go-on", summary: "Let the recoveries go on that a storm holds", tag: "guards"},
		func(ctx context.Context, in *goOnInput) (*answer[fleet.StormRecord], error) {
			return wrap(s.backend.StormGoOn(ctx, by(ctx), in.Name, in.Body.Reason))
		})
}

func (s *server) freeze(a huma.API) {
	add(a, s, op{id: "freeze", method: http.MethodPost, path: "/freeze", summary: "Stop every destructive step of the fleet", tag: "guards"},
		func(ctx context.Context, in *freezeInput) (*answer[fleet.Freeze], error) {
			return wrap(s.backend.SetFreeze(ctx, by(ctx), in.Body.Reason))
		})
	read(a, s, "get-freeze", "/freeze", "The fleet-wide stop", "guards",
		func(ctx context.Context) (client.FreezeView, error) { return s.backend.Freeze(ctx) })
	add(a, s, op{id: "unfreeze", method: http.MethodDelete, path: "/freeze", summary: "End the fleet-wide stop", tag: "guards", status: http.StatusNoContent},
		func(ctx context.Context, _ *none) (*empty, error) {
			return &empty{}, s.backend.ClearFreeze(ctx, by(ctx))
		})
}
