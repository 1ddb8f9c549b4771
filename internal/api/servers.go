package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

type planInput struct {
	Name string `path:"name" maxLength:"253"`
	Rung string `query:"rung" enum:"restartApp,reboot,recover,relaunch,move" doc:"the action to plan; the ladder's first if absent"`
	To   string `query:"to" doc:"site of a move"`
	Host string `query:"host" doc:"plan a move of the working server to this host"`
	Back bool   `query:"back" doc:"plan a move back to the host that it came from"`
	// Snapshot is of a planned move.
	Snapshot bool `query:"snapshot" doc:"plan a move with snapshots of its LUNs"`
}

type moveInput struct {
	Name string `path:"name" maxLength:"253"`
	Body client.MoveRequest
}

type healInput struct {
	Name string `path:"name" maxLength:"253"`
	Body client.HealRequest
}

type reasonInput struct {
	Name string `path:"name" maxLength:"253"`
	Body client.ReasonRequest
}

type fenceInput struct {
	Name string `path:"name" maxLength:"253"`
	Body client.FenceConfirmRequest
}

func (s *server) servers(a huma.API) {
	add(a, s, op{id: "list-servers", method: http.MethodGet, path: "/servers", summary: "List servers", tag: "servers"},
		func(ctx context.Context, in *page) (*answer[client.List[client.ServerRow]], error) {
			q, err := in.query()
			if err != nil {
				return nil, err
			}
			return wrap(s.backend.Servers(ctx, q))
		})
	add(a, s, op{id: "get-server", method: http.MethodGet, path: "/servers/{name}", summary: "Everything about one server", tag: "servers"},
		func(ctx context.Context, in *named) (*tagged[client.ServerView], error) {
			v, err := s.backend.Server(ctx, in.Name)
			if err != nil {
				return nil, err
			}
			return &tagged[client.ServerView]{ETag: v.Revision.ETag(), Body: v}, nil
		})
	add(a, s, op{id: "why", method: http.MethodGet, path: "/servers/{name}/why", summary: "What is known and done about a server, and why not more", tag: "servers"},
		s.why)
	add(a, s, op{id: "plan", method: http.MethodGet, path: "/servers/{name}/plan", summary: "What would be done about a server now", tag: "servers"},
		func(ctx context.Context, in *planInput) (*answer[client.Plan], error) {
			return wrap(s.backend.Plan(ctx, in.Name, client.PlanQuery{Rung: fleet.Rung(in.Rung), To: in.To, Host: in.Host, Back: in.Back, Snapshot: in.Snapshot}))
		})
	s.serverDeeds(a)
}

func (s *server) why(ctx context.Context, in *named) (*answer[client.Why], error) {
	w, err := s.backend.Why(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if len(w.Next) == 0 {
		w.Next = client.NextCommands(w)
	}
	return &answer[client.Why]{Body: w}, nil
}

func (s *server) serverDeeds(a huma.API) {
	add(a, s, op{id: "heal", method: http.MethodPost, path: "/servers/{name}/heal", summary: "Ask for a recovery", tag: "servers", status: http.StatusAccepted},
		func(ctx context.Context, in *healInput) (*answer[client.HealAnswer], error) {
			return wrap(s.backend.Heal(ctx, by(ctx), in.Name, in.Body))
		})
	add(a, s, op{id: "move", method: http.MethodPost, path: "/servers/{name}/move", summary: "Ask for a planned move of a working server", tag: "servers", status: http.StatusAccepted},
		func(ctx context.Context, in *moveInput) (*answer[client.HealAnswer], error) {
			return wrap(s.backend.Move(ctx, by(ctx), in.Name, in.Body))
		})
	add(a, s, op{id: "pause", method: http.MethodPost, path: "/servers/{name}/pause", summary: "Stop recoveries of a server", tag: "servers"},
		func(ctx context.Context, in *reasonInput) (*answer[fleet.Pause], error) {
			return wrap(s.backend.Pause(ctx, by(ctx), in.Name, in.Body.Reason))
		})
	add(a, s, op{id: "resume", method: http.MethodPost, path: "/servers/{name}/resume", summary: "End a pause", tag: "servers", status: http.StatusNoContent},
		func(ctx context.Context, in *named) (*empty, error) {
			return &empty{}, s.backend.Resume(ctx, by(ctx), in.Name)
		})
	add(a, s, op{id: "fence-confirm", method: http.MethodPost, path: "/servers/{name}/fence-confirm", summary: "State that an epoch is dead", tag: "servers"},
		func(ctx context.Context, in *fenceInput) (*answer[client.FenceConfirmAnswer], error) {
			return wrap(s.backend.ConfirmFence(ctx, by(ctx), in.Name, in.Body))
		})
}
