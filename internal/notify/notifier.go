package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"relight/internal/api/client"
)

type eventsInput struct {
	After    string `query:"after" doc:"id after which to start"`
	Since    string `query:"since" doc:"a moment (RFC 3339) or a span before now such as 10m"`
	Server   string `query:"server"`
	Incident string `query:"incident"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
}

type streamInput struct {
	After       string `query:"after" doc:"id after which to start; the next event if absent"`
	Since       string `query:"since" doc:"a moment (RFC 3339) or a span before now such as 10m"`
	Server      string `query:"server"`
	Incident    string `query:"incident"`
	LastEventID string `header:"Last-Event-ID" doc:"id of the last event that was seen; wins over after"`
}

func (s *server) query(in eventsInput) (client.EventQuery, error) {
	q := client.EventQuery{After: in.After, Server: in.Server, Incident: in.Incident, Limit: in.Limit}
	if in.Since == "" {
		return q, nil
	}
	if d, err := time.ParseDuration(in.Since); err == nil && d >= 0 {
		q.Since = s.now().Add(-d)
		return q, nil
	}
	at, err := time.Parse(time.RFC3339Nano, in.Since)
	if err != nil {
		return q, client.NewProblem(client.CodeBadRequest, "since: %q is neither a moment such as 2026-11-21T09:14:03Z nor a span such as 10m", in.Since).
			WithNext("relight events --since 10m")
	}
	q.Since = at
	return q, nil
}

func (s *server) events(a huma.API) {
	add(a, s, op{id: "list-events", method: http.MethodGet, path: "/events", summary: "Events, oldest first", tag: "events"},
		func(ctx context.Context, in *eventsInput) (*answer[client.List[client.EventRecord]], error) {
			q, err := s.query(*in)
			if err != nil {
				return nil, err
			}
			return wrap(s.backend.Events(ctx, q))
		})
	add(a, s, op{id: "stream-events", method: http.MethodGet, path: "/events/stream", summary: "Events as they happen (server-sent events)", tag: "events"}, s.stream)
	record := a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.EventRecord](), true, "EventRecord")
	a.OpenAPI().Paths[Prefix+"/events/stream"].Get.Responses["200"] = &huma.Response{
		Description: "one message per event: id is the cursor, data an EventRecord",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: record}},
	}
}

func (s *server) stream(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
	q, err := s.query(eventsInput{After: in.After, Since: in.Since, Server: in.Server, Incident: in.Incident})
	if err != nil {
		return nil, err
	}
	if in.LastEventID != "" {
		q.After, q.Since = in.LastEventID, time.Time{}
	}
	records, err := s.backend.WatchEvents(ctx, q)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, w := humago.Unwrap(hctx)
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
		s.send(ctx, w, records)
	}}, nil
}

// send writes records until the watch or the caller ends. A reader that takes
// nothing for a while is cut off: it would hold memory for ever, and it can
// resume where it was.
func (s *server) send(ctx context.Context, w http.ResponseWriter, records <-chan client.EventRecord) {
	rc := http.NewResponseController(w)
	write := func(format string, args ...any) bool {
		_ = rc.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return false
		}
		return rc.Flush() == nil
	}
	tick := time.NewTicker(s.keepAlive)
	defer tick.Stop()
	if !write(": relight events\n\n") {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !write(":\n\n") {
				return
			}
		case r, ok := <-records:
			if !ok {
				return
			}
			data, err := json.Marshal(r)
			if err != nil {
				s.log.Error("event not written", "id", r.ID, "error", err)
				return
			}
			if !write("id: %s\nevent: %s\ndata: %s\n\n", r.ID, r.Event.Kind, data) {
				return
			}
		}
	}
}
