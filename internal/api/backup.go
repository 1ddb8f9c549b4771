package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"relight/internal/api/client"
)

// backups registers the call that hands out everything, keys included. It is a
// POST so that those who may only look are refused.
func (s *server) backups(a huma.API) {
	add(a, s, op{id: "backup", method: http.MethodPost, path: "/backup", summary: "Everything that the engine remembers, its secrets included, as one file", tag: "engine"}, s.backup)
	a.OpenAPI().Paths[Prefix+"/backup"].Post.Responses["200"] = &huma.Response{
		Description: "the backup; its last 32 bytes are the SHA-256 of all before",
		Content:     map[string]*huma.MediaType{client.BackupType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}
}

func (s *server) backup(ctx context.Context, _ *none) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, w := humago.Unwrap(hctx)
		out := &patient{w: w, rc: http.NewResponseController(w)}
		err := s.backend.Backup(ctx, by(ctx), out)
		_ = out.rc.SetWriteDeadline(time.Time{}) // the connection serves others after us
		switch {
		case err == nil:
		case !out.begun:
			s.writeProblem(hctx, problemOr(s.fail("backup", err), nil))
		default:
			s.log.Error("backup ended early", "error", err)
			// The status line is gone; only a broken connection tells the caller.
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// patient gives a slow reader time for each piece, and a dead one no more.
type patient struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

// pieceWithin is how long one piece of a backup may take to be sent.
const pieceWithin = 30 * time.Second

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	if !p.begun {
		p.begun = true
		p.w.Header().Set("Content-Type", client.BackupType)
		p.w.Header().Set("Cache-Control", "no-store")
	}
	_ = p.rc.SetWriteDeadline(time.Now().Add(pieceWithin))
	return p.w.Write(b)
}
