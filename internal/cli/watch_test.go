package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"relight/internal/api"
	"relight/internal/api/apitest"
	"relight/internal/api/client"
	"relight/internal/cli"
	"relight/internal/core/decide"
	"relight/internal/core/event"
)

// live is an engine with a command that runs against it.
type live struct {
	*apitest.Backend
	env    map[string]string
	lines  *bufio.Reader
	errs   *buffer
	cancel context.CancelFunc
	code   chan client.Exit
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func serve(t *testing.T) *live {
	t.Helper()
	b := apitest.New(clock)
	scenario(b)
	srv := httptest.NewServer(api.New(api.Options{
		Backend: b, Now: clock, Auth: api.NewTokens(map[string]api.Person{apitest.Token: {Name: apitest.Person}}),
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(apitest.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	return &live{Backend: b, env: map[string]string{"RELIGHT_SERVER": srv.URL, "RELIGHT_TOKEN_FILE": token}}
}

// start runs a command that goes on until it is interrupted.
func (l *live) start(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r, w := io.Pipe()
	l.lines, l.errs, l.cancel, l.code = bufio.NewReader(r), &buffer{}, cancel, make(chan client.Exit, 1)
	go func() {
		l.code <- cli.Run(ctx, deps(nil, w, l.errs, env(l.env)), args)
		_ = w.Close()
	}()
}

func (l *live) line(t *testing.T) string {
	t.Helper()
	s, err := l.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%v; on standard error: %s", err, l.errs)
	}
	return s
}

// interrupt ends the command as Ctrl-C does.
func (l *live) interrupt(t *testing.T) {
	t.Helper()
	l.cancel()
	go func() { _, _ = io.Copy(io.Discard, l.lines) }()
	if code := <-l.code; code != client.ExitInterrupted {
		t.Errorf("exit code %d; on standard error: %s", code, l.errs)
	}
}

func TestWatchEventsGoesOnAfterABreak(t *testing.T) {
	l := serve(t)
	l.start(t, "events", "lic-01", "--watch", "-o", "json")
	if first := l.line(t); !strings.Contains(first, "lic-01 is down") {
		t.Errorf("first line: %s", first)
	}
	l.line(t) // declared
	l.Break()
	l.Emit(event.Event{Kind: event.RecoveryHealed, Server: "web-01", Message: "of another server"})
	l.Emit(event.Event{Kind: event.RecoveryHealed, Server: "lic-01", Message: "lic-01 is healed"})
	var r client.EventRecord
	if err := json.Unmarshal([]byte(l.line(t)), &r); err != nil || r.Event.Message != "lic-01 is healed" {
		t.Errorf("%+v %v", r, err)
	}
	if !strings.Contains(l.errs.String(), "trying again") {
		t.Errorf("the break was not told: %q", l.errs)
	}
	l.interrupt(t)
}

func TestWatchServersPrintsWhatChanged(t *testing.T) {
	l := serve(t)
	l.start(t, "get", "servers", "--watch", "-o", "json")
	for range 3 {
		l.line(t)
	}
	doc := client.Document{Kind: client.KindServer, Metadata: client.Metadata{Name: "web-01"}, Spec: json.RawMessage(`{"mode":"observe"}`)}
	if _, err := l.Apply(t.Context(), "ola", client.ApplyRequest{Documents: []client.Document{doc}}); err != nil {
		t.Fatal(err)
	}
	var row client.ServerRow
	if err := json.Unmarshal([]byte(l.line(t)), &row); err != nil || row.Name != "web-01" || row.Mode != "observe" {
		t.Errorf("%+v %v", row, err)
	}
	l.interrupt(t)
}

// once runs a command to its end.
func (l *live) once(args ...string) (client.Exit, string, string) {
	var out, errs bytes.Buffer
	code := cli.Run(context.Background(), deps(nil, &out, &errs, env(l.env)), args)
	return code, out.String(), errs.String()
}

func TestHealTellsWhatHoldsIt(t *testing.T) {
	for gate, want := range map[string]client.Exit{
		decide.GateFreeze: client.ExitRefused, decide.GateApproval: client.ExitNeedsApproval, decide.GateProgress: client.ExitOK,
	} {
		l := serve(t)
		l.HealTo = client.HealAnswer{Message: "recorded", Decision: decide.Decision{Hold: &decide.Hold{Gate: gate, Reason: "because"}}}
		if code, _, errs := l.once("heal", "web-01", "--yes"); code != want || !strings.Contains(errs, "next: relight") {
			t.Errorf("%s: exit %d, %s", gate, code, errs)
		}
	}
}

func TestHealWaitsForTheOutcome(t *testing.T) {
	for kind, want := range map[event.Kind]client.Exit{event.RecoveryHealed: client.ExitOK, event.RecoveryGaveUp: client.ExitRefused} {
		l := serve(t)
		l.Emit(event.Event{Kind: kind, Server: "web-01", Message: "that is it", At: at.Add(time.Second)})
		if code, _, errs := l.once("heal", "web-01", "--yes", "--wait", "--timeout", "30s"); code != want || !strings.Contains(errs, "that is it") {
			t.Errorf("%s: exit %d, %s", kind, code, errs)
		}
	}
}

func TestEnginesFailuresHaveCodes(t *testing.T) {
	for code, want := range map[client.Code]client.Exit{
		client.CodeLostLease: client.ExitConflict, client.CodeUnavailable: client.ExitUnreachable, client.CodeForbidden: client.ExitRefused,
	} {
		l := serve(t)
		l.Fail = func(string) error { return client.NewProblem(code, "no") }
		for _, args := range [][]string{{"get", "servers"}, {"doctor"}, {"why", "web-01"}} {
			if got, out, _ := l.once(args...); got != want || out != "" {
				t.Errorf("%s %v: exit %d, %q", code, args, got, out)
			}
		}
	}
}

// A comparison that fails must not look like one that found a difference.
func TestComparisonsFailAboveOne(t *testing.T) {
	l := serve(t)
	l.Fail = func(string) error { return client.NewProblem(client.CodeInternal, "no") }
	for _, args := range [][]string{{"plan", "web-01"}, {"diff", "-f", "testdata/site.yaml"}} {
		if code, _, _ := l.once(args...); code <= client.ExitFailed {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}

func TestBadNewsIsAnExitCode(t *testing.T) {
	l := serve(t)
	l.Audit.OK, l.Audit.Shards[0].OK, l.Audit.Shards[0].Reason = false, false, "hash differs"
	if code, out, _ := l.once("audit", "verify"); code != client.ExitFailed || !strings.Contains(out, "BROKEN") {
		t.Errorf("audit: exit %d, %s", code, out)
	}
	l.Report.Checks[0].State = client.DoctorFail
	if code, out, _ := l.once("doctor"); code != client.ExitFailed || !strings.Contains(out, "fail") {
		t.Errorf("doctor: exit %d, %s", code, out)
	}
}

func TestConfigPrecedence(t *testing.T) {
	l := serve(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "relight", "client.json")
	good, token := l.env["RELIGHT_SERVER"], l.env["RELIGHT_TOKEN_FILE"]
	if err := client.WriteFile(path, client.File{Current: "good", Contexts: map[string]client.Context{
		"good": {Server: good, TokenFile: token}, "bad": {Server: "http://127.0.0.1:1", TokenFile: token},
	}}); err != nil {
		t.Fatal(err)
	}
	const ok, gone = client.ExitOK, client.ExitUnreachable
	for _, c := range []struct {
		env  map[string]string
		args []string
		want client.Exit
	}{
		{map[string]string{"XDG_CONFIG_HOME": dir}, nil, ok},
		{map[string]string{"XDG_CONFIG_HOME": "/nosuch", "RELIGHT_CONFIG": path}, nil, ok},
		{map[string]string{"RELIGHT_CONFIG": path, "RELIGHT_CONTEXT": "bad"}, nil, gone},
		{map[string]string{"RELIGHT_CONFIG": path, "RELIGHT_CONTEXT": "bad"}, []string{"--context", "good"}, ok},
		{map[string]string{"RELIGHT_CONFIG": path, "RELIGHT_SERVER": "http://127.0.0.1:1"}, nil, gone},
		{map[string]string{"RELIGHT_SERVER": "http://127.0.0.1:1", "RELIGHT_TOKEN_FILE": token}, []string{"--server", good}, ok},
		// A server named by hand does not get another engine's token.
		{map[string]string{"RELIGHT_CONFIG": path, "RELIGHT_SERVER": good}, nil, client.ExitFailed},
	} {
		l.env = c.env
		if code, _, errs := l.once(append([]string{"get", "servers"}, c.args...)...); code != c.want {
			t.Errorf("%v %v: exit %d: %s", c.env, c.args, code, errs)
		}
	}
}
