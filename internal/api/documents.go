package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"relight/internal/api/client"
)

// maxApply is the largest apply: a cell's worth of documents goes in several.
const maxApply = 64 << 20

type applyInput struct {
	DryRun  bool   `query:"dryRun" doc:"say what would change and change nothing"`
	IfMatch string `header:"If-Match" doc:"the revision that the document must stand at; for one document only"`
	Body    []client.Document
}

func (in *applyInput) request() (client.ApplyRequest, error) {
	req := client.ApplyRequest{Documents: in.Body, DryRun: in.DryRun}
	if len(in.Body) == 0 {
		return req, client.NewProblem(client.CodeBadRequest, "there is no document to apply").WithNext("relight apply -f FILE")
	}
	if in.IfMatch == "" {
		return req, nil
	}
	if len(in.Body) != 1 {
		return req, client.NewProblem(client.CodeBadRequest, "If-Match is for one document; set revision in each of several")
	}
	rev, err := client.ParseETag(in.IfMatch)
	req.Documents[0].Revision = rev
	return req, err
}

type deleteInput struct {
	Name    string `path:"name" maxLength:"253"`
	IfMatch string `header:"If-Match" doc:"the revision that the document must stand at"`
}

func (s *server) documents(a huma.API) {
	add(a, s, op{id: "apply", method: http.MethodPost, path: "/apply", summary: "Create or change documents", tag: "documents", maxBody: maxApply},
		func(ctx context.Context, in *applyInput) (*answer[client.ApplyAnswer], error) {
			req, err := in.request()
			if err != nil {
				return nil, err
			}
			return wrap(s.backend.Apply(ctx, by(ctx), req))
		})
	for _, k := range client.Kinds() {
		s.deletion(a, k)
		if k != client.KindServer {
			s.plainDocuments(a, k)
		}
	}
}

func (s *server) deletion(a huma.API, k client.Kind) {
	add(a, s, op{
		id: "delete-" + string(k), method: http.MethodDelete, path: "/" + k.Plural() + "/{name}",
		summary: "Delete a document; what volumes hold stays", tag: "documents", status: http.StatusNoContent,
	}, func(ctx context.Context, in *deleteInput) (*empty, error) {
		var rev client.Revision
		if in.IfMatch != "" {
			var err error
			if rev, err = client.ParseETag(in.IfMatch); err != nil {
				return nil, err
			}
		}
		return &empty{}, s.backend.Delete(ctx, by(ctx), k, in.Name, rev)
	})
}

func (s *server) plainDocuments(a huma.API, k client.Kind) {
	add(a, s, op{
		id: "list-" + k.Plural(), method: http.MethodGet, path: "/" + k.Plural(),
		summary: "List documents as they were applied", tag: "documents",
	}, func(ctx context.Context, in *page) (*answer[client.List[client.Document]], error) {
		q, err := in.query()
		if err != nil {
			return nil, err
		}
		return wrap(s.backend.Documents(ctx, k, q))
	})
	add(a, s, op{
		id: "get-" + string(k), method: http.MethodGet, path: "/" + k.Plural() + "/{name}",
		summary: "One document as it was applied", tag: "documents",
	}, func(ctx context.Context, in *named) (*tagged[client.Document], error) {
		d, err := s.backend.Document(ctx, k, in.Name)
		if err != nil {
			return nil, err
		}
		return &tagged[client.Document]{ETag: d.Revision.ETag(), Body: d}, nil
	})
}
