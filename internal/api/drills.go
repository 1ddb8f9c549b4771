package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

type drillInput struct {
	Body client.DrillRequest
}

type drillEndInput struct {
	ID   string `path:"id" maxLength:"253"`
	Body fleet.DrillResult
}

func (s *server) drills(a huma.API) {
	read(a, s, "list-drills", "/drills", "Drills, newest first", "drills",
		func(ctx context.Context) (client.List[fleet.Drill], error) { return s.backend.Drills(ctx) })
	add(a, s, op{id: "begin-drill", method: http.MethodPost, path: "/drills", summary: "Record that something is about to be broken on purpose, or be refused", tag: "drills", status: http.StatusCreated},
		func(ctx context.Context, in *drillInput) (*answer[fleet.Drill], error) {
			return wrap(s.backend.BeginDrill(ctx, by(ctx), in.Body))
		})
	add(a, s, op{id: "end-drill", method: http.MethodPost, path: "/drills/{id}/end", summary: "Record what came of a drill", tag: "drills"},
		func(ctx context.Context, in *drillEndInput) (*answer[fleet.Drill], error) {
			return wrap(s.backend.EndDrill(ctx, by(ctx), in.ID, in.Body))
		})
}
