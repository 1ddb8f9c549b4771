package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"relight/internal/api"
	"relight/internal/api/apitest"
	"relight/internal/api/client"
	"relight/internal/core/event"
)

var update = flag.Bool("update", false, "write docs/openapi.json")

var _ api.Backend = (*apitest.Backend)(nil)

var start = time.Date(2026, 11, 21, 9, 14, 15, 0, time.UTC)

type engine struct {
	*apitest.Backend
	url string
}

func run(t *testing.T) engine {
	t.Helper()
	b := apitest.New(apitest.Clock(start))
	srv := httptest.NewServer(api.New(api.Options{
		Backend: b,
		Now:     b.Now,
		Auth: api.NewTokens(map[string]api.Person{
			apitest.Token: {Name: apitest.Person}, "look": {Name: "ola", ReadOnly: true},
		}),
		Mount: func(m *http.ServeMux) {
			m.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
		},
	}))
	t.Cleanup(srv.CloseClientConnections)
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	return engine{Backend: b, url: srv.URL}
}

func (e engine) client(t *testing.T, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Server: e.url, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestOpenAPIIsCurrent(t *testing.T) {
	const path = "../../docs/openapi.json"
	got := api.OpenAPI()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not current; run: go test ./internal/api -run OpenAPI -update", path)
	}
}

// operations lists "METHOD /path" of the description.
func operations(t *testing.T) []string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	var out []string
	for path, methods := range doc.Paths {
		for m := range methods {
			out = append(out, strings.ToUpper(m)+" "+path)
		}
	}
	if len(out) < 30 {
		t.Fatalf("only %d operations are described", len(out))
	}
	return out
}

func TestEveryOperationNeedsAToken(t *testing.T) {
	e := run(t)
	for _, o := range operations(t) {
		for _, token := range []string{"", "wrong"} {
			p := call(t, e.url, o, token)
			if p.Status != http.StatusUnauthorized || p.Code != client.CodeUnauthenticated || p.Next == "" {
				t.Errorf("%s with token %q: %+v", o, token, p)
			}
		}
		if method, _, _ := strings.Cut(o, " "); method == http.MethodGet {
			continue
		}
		if p := call(t, e.url, o, "look"); p.Status != http.StatusForbidden || p.Code != client.CodeForbidden {
			t.Errorf("%s by a reader: %+v", o, p)
		}
	}
	if calls := e.Calls(); len(calls) != 0 {
		t.Errorf("calls without the right came through: %v", calls)
	}
}

func call(t *testing.T, url, operation, token string) client.Problem {
	t.Helper()
	method, path, _ := strings.Cut(operation, " ")
	req, err := http.NewRequest(method, url+strings.ReplaceAll(path, "{name}", "x"), strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var p client.Problem
	if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("%s: content type %q", operation, ct)
	}
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		t.Errorf("%s: %v", operation, err)
	}
	if p.Status != resp.StatusCode {
		t.Errorf("%s: status %d but body says %d", operation, resp.StatusCode, p.Status)
	}
	return p
}

func TestMountedRoutesNeedNoToken(t *testing.T) {
	e := run(t)
	for _, path := range []string{"/livez", "/api/v1/openapi.json"} {
		resp, err := http.Get(e.url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

func TestFrameworkErrorsAreProblems(t *testing.T) {
	e := run(t)
	for o, status := range map[string]int{
		"POST /api/v1/servers/x/fence-confirm": http.StatusUnprocessableEntity,
		"GET /api/v1/events?limit=0":           http.StatusUnprocessableEntity,
		"GET /api/v1/events?since=yesterday":   http.StatusBadRequest,
		"GET /api/v1/servers?selector=tier":    http.StatusBadRequest,
		"GET /api/v1/nothing":                  http.StatusNotFound,
		"POST /api/v1/maintenance":             http.StatusUnprocessableEntity,
	} {
		p := call(t, e.url, o, apitest.Token)
		if p.Status != status || !strings.HasPrefix(string(p.Code), "RELIGHT-E") || p.Next == "" || p.Detail == "" {
			t.Errorf("%s: %+v", o, p)
		}
	}
}

func TestUnforeseenErrorsKeepTheirText(t *testing.T) {
	e := run(t)
	e.Fail = func(string) error { return errors.New("secret path") }
	p := call(t, e.url, "GET /api/v1/doctor", apitest.Token)
	if p.Code != client.CodeInternal || strings.Contains(p.Detail, "secret") {
		t.Errorf("%+v", p)
	}
}

func doc(name, spec string) client.Document {
	return client.Document{Kind: client.KindServer, Metadata: client.Metadata{Name: name}, Spec: json.RawMessage(spec)}
}

func TestApplyAndConditions(t *testing.T) {
	e := run(t)
	c, ctx := e.client(t, apitest.Token), t.Context()
	got, err := c.Apply(ctx, client.ApplyRequest{Documents: []client.Document{doc("lic-01", `{"mode":"auto"}`)}, DryRun: true})
	if err != nil || !got.DryRun || got.Documents[0].Result != client.Created {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := c.Server(ctx, "lic-01"); exitOf(err) != client.ExitNotFound {
		t.Errorf("a dry run created the server: %v", err)
	}
	got, err = c.Apply(ctx, client.ApplyRequest{Documents: []client.Document{doc("lic-01", `{"mode":"auto"}`)}})
	if err != nil || got.Documents[0].Revision != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	d := doc("lic-01", `{"mode":"ask"}`)
	d.Revision = 7
	if _, err := c.Apply(ctx, client.ApplyRequest{Documents: []client.Document{d}}); exitOf(err) != client.ExitConflict {
		t.Errorf("apply at another revision: %v", err)
	}
	if err := c.Delete(ctx, client.KindServer, "lic-01", 7); exitOf(err) != client.ExitConflict {
		t.Errorf("delete at another revision: %v", err)
	}
	if err := c.Delete(ctx, client.KindServer, "lic-01", 1); err != nil {
		t.Error(err)
	}
}

func TestIfMatchHeader(t *testing.T) {
	e := run(t)
	for match, status := range map[string]int{`"9"`: 412, `x`: 400, `"0"`: 200} {
		req, _ := http.NewRequest(http.MethodPost, e.url+"/api/v1/apply", strings.NewReader(`[{"kind":"Site","metadata":{"name":"dc1"},"spec":{}}]`))
		req.Header.Set("Authorization", "Bearer "+apitest.Token)
		req.Header.Set("If-Match", match)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("If-Match %s: %s", match, resp.Status)
		}
	}
}

func exitOf(err error) client.Exit {
	var p *client.Problem
	if !errors.As(err, &p) {
		return -1
	}
	return p.Exit()
}

func TestStreamResumesAfterABreak(t *testing.T) {
	e := run(t)
	c := e.client(t, apitest.Token)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	e.Emit(event.Event{Kind: event.HostJoined, Message: "one"})
	e.Emit(event.Event{Kind: event.HostJoined, Message: "two"})
	var got []string
	breaks := 0
	for r, err := range c.WatchEvents(ctx, client.EventQuery{Since: start.Add(-time.Hour)}) {
		if err != nil {
			breaks++
			continue
		}
		got = append(got, r.ID+r.Event.Message)
		if len(got) == 2 {
			e.Break()
			// Emitted while nobody watches: only the cursor can bring it.
			e.Emit(event.Event{Kind: event.HostJoined, Message: "three"})
		}
		if len(got) == 3 {
			break
		}
	}
	if strings.Join(got, " ") != "1one 2two 3three" || breaks != 1 {
		t.Errorf("got %v with %d breaks", got, breaks)
	}
}

func TestStreamEndsOnARefusal(t *testing.T) {
	e := run(t)
	e.Fail = func(string) error { return client.NewProblem(client.CodeCursorGone, "too old") }
	n := 0
	for _, err := range e.client(t, apitest.Token).WatchEvents(t.Context(), client.EventQuery{After: "1"}) {
		n++
		var p *client.Problem
		if !errors.As(err, &p) || p.Code != client.CodeCursorGone {
			t.Errorf("%v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d answers", n)
	}
}
