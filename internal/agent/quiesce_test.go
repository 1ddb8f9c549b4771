package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
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
	if _, err := a.quiesce(t.Context(), ok); err != nil {
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
		_, err := a.quiesce(t.Context(), quiescing(c.q))
		if !errors.Is(err, errQuiesce) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("one that %s: %v, want %q", name, err, c.want)
		}
		c.q.OnFailure = fleet.QuiesceGoOn
		if said, err := a.quiesce(t.Context(), quiescing(c.q)); err != nil || !strings.Contains(said, c.want) {
			t.Errorf("one that %s keeps a server from its stop, or is not told of: %q, %v", name, said, err)
		}
	}

	for name, change := range map[string]func(*link.Command){
		"of a recovery":    func(c *link.Command) { c.Step.Quiesce = false },
		"of another step":  func(c *link.Command) { c.Step.Kind = fleet.StepLaunch },
		"without any spec": func(c *link.Command) { c.Quiesce = nil },
	} {
		c := quiescing(fleet.Quiesce{Command: []string{"/bin/false"}, Within: fleet.Duration(time.Minute), OnFailure: fleet.QuiesceRefuse})
		change(&c)
		if _, err := a.quiesce(t.Context(), c); err != nil {
			t.Errorf("a command %s runs it: %v", name, err)
		}
	}
}

// fakeGuests is a driver whose guests answer as they are told to.
type fakeGuests struct {
	Driver
	err           error
	stop          error
	asked, thawed int
}

func (f *fakeGuests) Quiesce(ctx context.Context, server string, epoch fleet.Epoch) (string, error) {
	f.asked++
	if server != "db-1" || epoch != 4 {
		return "", errNotLive
	}
	if errors.Is(f.err, context.DeadlineExceeded) {
		<-ctx.Done()
		return "", context.Cause(ctx)
	}
	return "quiesced: the guest holds still", f.err
}

func (f *fakeGuests) Thaw(string, fleet.Epoch) { f.thawed++ }

func (f *fakeGuests) Instances() []Instance { return nil }

func (f *fakeGuests) Do(context.Context, link.Command) (Effect, error) {
	return Effect{Detail: "reaped"}, f.stop
}

// A guest is asked in the same way as a program is run: one that refuses or is silent is
// not stopped, unless the spec says so. What came of it is in the step's record, and a
// guest whose stop fails goes on.
func TestQuiesceInTheGuest(t *testing.T) {
	cmd := func(within time.Duration, fails fleet.QuiesceFailure) link.Command {
		c := quiescing(fleet.Quiesce{Guest: true, Within: fleet.Duration(within), OnFailure: fails})
		c.ID, c.Within = "token", fleet.Duration(time.Minute)
		return c
	}
	run := func(f *fakeGuests, c link.Command) link.Result {
		memory, err := openMemory(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		a := &Agent{opt: Options{Log: slog.New(slog.DiscardHandler), Machines: f, Driver: f}, memory: memory, desk: newDesk()}
		return a.execute(t.Context(), c)
	}
	f := &fakeGuests{}
	if r := run(f, cmd(time.Minute, fleet.QuiesceRefuse)); r.Error != "" || r.Note != "quiesced: the guest holds still" || r.Detail != "reaped" || f.thawed != 0 {
		t.Errorf("%+v, thawed %d", r, f.thawed)
	}
	f = &fakeGuests{stop: errNotEnded}
	if r := run(f, cmd(time.Minute, fleet.QuiesceRefuse)); r.Error == "" || f.thawed != 1 {
		t.Errorf("the stop fails: %+v, thawed %d", r, f.thawed)
	}
	for want, err := range map[string]error{"the disk is full": errors.New("the disk is full"), "not within 50ms": context.DeadlineExceeded} {
		f = &fakeGuests{err: err}
		if r := run(f, cmd(50*time.Millisecond, fleet.QuiesceRefuse)); r.Class != provider.Refused || !strings.Contains(r.Error, want) || r.Detail != "" {
			t.Errorf("refuse, %s: %+v", want, r)
		}
		if r := run(f, cmd(50*time.Millisecond, fleet.QuiesceGoOn)); r.Error != "" || r.Detail != "reaped" || !strings.Contains(r.Note, "not quiesced, and stopped all the same") || !strings.Contains(r.Note, want) {
			t.Errorf("go on, %s: %+v", want, r)
		}
	}
	a := &Agent{opt: Options{Log: slog.New(slog.DiscardHandler), Machines: &Domains{}}}
	if _, err := a.quiesce(t.Context(), cmd(time.Minute, fleet.QuiesceRefuse)); !errors.Is(err, errNoGuestHook) {
		t.Errorf("a host that cannot ask: %v", err)
	}
}
