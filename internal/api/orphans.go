package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"relight/internal/api/client"
)

func (s *server) orphans(a huma.API) {
	add(a, s, op{id: "list-orphans", method: http.MethodGet, path: "/orphans", summary: "What hosts and arrays have of servers that are not in the fleet", tag: "hosts"},
		func(ctx context.Context, _ *struct{}) (*answer[client.List[client.Orphan]], error) {
			return wrap(s.backend.Orphans(ctx))
		})
}
