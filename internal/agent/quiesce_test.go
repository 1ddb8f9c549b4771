package agent

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

func quiescing(q fleet.Quiesce) link.Command {
	return link.Command{Step: fleet.Step{Kind: fleet.StepStop, Server: "db-1", Epoch: 4, Quiesce: true}, Quiesce: &q}
}

// A server that cannot be quiesced is not stopped, unless its spec says so; the program
// is told whom it is for, and nothing of it outlives its time.
func TestQuiesce(t *testing.T) {
	a := &Agent{opt: Options{Log: slog.New(slog.DiscardHandler)}}
	dir := t.TempDir()
	sh := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	path := filepath.Join(dir, "who")
	ok := quiescing(fleet.Quiesce{Command: sh("echo $RELIGHT_SERVER $RELIGHT_EPOCH > " + path), Within: fleet.Duration(time.Minute), OnFailure: fleet.QuiesceRefuse})
	if err := a.quiesce(t.Context(), ok); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "db-1 4\n" {
		t.Errorf("it was run as %q, %v", text, err)
	}

	for name, c := range map[string]struct {
		q    fleet.Quiesce
		want string
	}{
		"fails":   {fleet.Quiesce{Command: sh("echo a backup runs; exit 3"), Within: fleet.Duration(time.Minute)}, "exit status 3: a backup runs"},
		"hangs":   {fleet.Quiesce{Command: sh("sleep 1000 & sleep 1000"), Within: fleet.Duration(100 * time.Millisecond)}, "did not end within 100ms"},
		"is none": {fleet.Quiesce{Command: []string{dir + "/none"}, Within: fleet.Duration(time.Minute)}, "no such file"},
	} {
		c.q.OnFailure = fleet.QuiesceRefuse
		err := a.quiesce(t.Context(), quiescing(c.q))
		if !errors.Is(err, errQuiesce) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("one that %s: %v, want %q", name, err, c.want)
		}
		c.q.OnFailure = fleet.QuiesceGoOn
		if err := a.quiesce(t.Context(), quiescing(c.q)); err != nil {
			t.Errorf("one that %s keeps a server from its stop: %v", name, err)
		}
	}

	for name, change := range map[string]func(*link.Command){
		"of a recovery":    func(c *link.Command) { c.Step.Quiesce = false },
		"of another step":  func(c *link.Command) { c.Step.Kind = fleet.StepLaunch },
		"without any spec": func(c *link.Command) { c.Quiesce = nil },
	} {
		c := quiescing(fleet.Quiesce{Command: []string{"/bin/false"}, Within: fleet.Duration(time.Minute), OnFailure: fleet.QuiesceRefuse})
		change(&c)
		if err := a.quiesce(t.Context(), c); err != nil {
			t.Errorf("a command %s runs it: %v", name, err)
		}
	}
}
