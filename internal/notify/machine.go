package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"relight/internal/api/client"
)

// problemOr returns the problem in err, or other if there is none.
func problemOr(err error, other *client.Problem) *client.Problem {
	var p *client.Problem
	if errors.As(err, &p) {
		return p
	}
	return other
}

// fail turns a backend's error into the problem that is sent. The text of an
// unforeseen error stays in the log: it may name what callers must not learn.
func (s *server) fail(op string, err error) error {
	var p *client.Problem
	if errors.As(err, &p) {
		return p
	}
	s.log.Error("call failed", "operation", op, "error", err)
	return client.NewProblem(client.CodeInternal, "%s failed; the engine's log says why", op)
}

func (s *server) writeProblem(ctx huma.Context, p *client.Problem) {
	ctx.SetHeader("Content-Type", p.ContentType(""))
	ctx.SetStatus(p.Status)
	s.encode(ctx.BodyWriter(), p)
}

func writeProblemHTTP(w http.ResponseWriter, p *client.Problem) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// asProblem is a response transformer that gives the framework's own errors our
// form, without touching its global error constructor.
func asProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := client.CodeBadRequest
	if m.Status >= http.StatusInternalServerError {
		code = client.CodeInternal
	}
	p := client.NewProblem(code, "%s", m.Detail)
	// The framework has sent its status line already; the body must agree.
	p.Status = m.Status
	for _, d := range m.Errors {
		if d != nil {
			p.Fields = append(p.Fields, client.Field{Where: d.Location, Message: d.Message})
		}
	}
	return p, nil
}
