package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"relight/internal/api/client"
)

type snapshotsInput struct {
	Server string `query:"server" maxLength:"253" doc:"of this server's LUNs only"`
}

type snapshotInput struct {
	Name     string `path:"name" maxLength:"253"`
	Snapshot string `path:"snapshot" maxLength:"253"`
}

type restoreInput struct {
	Name     string `path:"name" maxLength:"253"`
	Snapshot string `path:"snapshot" maxLength:"253"`
	Body     client.ReasonRequest
}

func (s *server) snapshots(a huma.API) {
	add(a, s, op{id: "list-snapshots", method: http.MethodGet, path: "/snapshots", summary: "What arrays keep of servers' LUNs", tag: "snapshots"},
		func(ctx context.Context, in *snapshotsInput) (*answer[client.List[client.KeptSnapshot]], error) {
			return wrap(s.backend.Snapshots(ctx, in.Server))
		})
	add(a, s, op{id: "restore-snapshot", method: http.MethodPost, path: "/servers/{name}/snapshots/{snapshot}/restore", summary: "Put a snapshot of a server's LUNs back", tag: "snapshots"},
		func(ctx context.Context, in *restoreInput) (*answer[client.SnapshotAnswer], error) {
			return wrap(s.backend.RestoreSnapshot(ctx, by(ctx), in.Name, in.Snapshot, in.Body.Reason))
		})
	add(a, s, op{id: "delete-snapshot", method: http.MethodDelete, path: "/servers/{name}/snapshots/{snapshot}", summary: "Delete a snapshot of a server's LUNs", tag: "snapshots", status: http.StatusOK},
		func(ctx context.Context, in *snapshotInput) (*answer[client.SnapshotAnswer], error) {
			return wrap(s.backend.DeleteSnapshot(ctx, by(ctx), in.Name, in.Snapshot))
		})
}
