package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"relight/internal/provider/onprem/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hello = `{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}` + "\n"

// peer plays QEMU: it says hello and answers each command with what answer returns;
// an empty one is no answer.
func peer(t *testing.T, answer func(command, id string, args json.RawMessage) string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	go func() {
		defer theirs.Close()
		if _, err := theirs.Write([]byte(hello)); err != nil {
			return
		}
		for s := bufio.NewScanner(theirs); s.Scan(); {
			var r struct {
				Execute   string
				ID        string
				Arguments json.RawMessage
			}
			if json.Unmarshal(s.Bytes(), &r) != nil {
				return
			}
			text := `{"return": {}, "id": "` + r.ID + `"}`
			if r.Execute != "qmp_capabilities" {
				text = answer(r.Execute, r.ID, r.Arguments)
			}
			if text == "" {
				continue
			}
			if _, err := theirs.Write([]byte(text + "\n")); err != nil {
				return
			}
		}
	}()
	return ours
}

func talk(t *testing.T, events func(Event), answer func(command, id string, args json.RawMessage) string) *Monitor {
	t.Helper()
	m, err := Talk(t.Context(), peer(t, answer), events)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func TestCommandsAndEvents(t *testing.T) {
	var seen []string
	m := talk(t, func(e Event) { seen = append(seen, e.Name) }, func(command, id string, _ json.RawMessage) string {
		switch command {
		case "query-status":
			// Between a command and its answer comes what comes.
			return `{"event": "STOP", "data": {}, "timestamp": {}}` + "\n\n" +
				`{"return": {"status": "late"}, "id": "99"}` + "\n" +
				`{"return": {"status": "guest-panicked", "running": false}, "id": "` + id + `"}`
		case "query-blockstats":
			return `{"return": [{"stats": {"rd_operations": 1, "wr_operations": 2, "flush_operations": 3}}, {"stats": {"wr_operations": 5}}], "id": "` + id + `"}`
		default:
			return `{"error": {"class": "GenericError", "desc": "no"}, "id": "` + id + `"}`
		}
	})
	if s, err := m.Status(t.Context()); err != nil || s != Panicked {
		t.Errorf("%q, %v", s, err)
	}
	if c, err := m.Counters(t.Context()); err != nil || c != (Counters{1, 7, 3}) {
		t.Errorf("%+v, %v", c, err)
	}
	var no *Refusal
	if err := m.Pause(t.Context()); !errors.As(err, &no) || no.Command != "stop" || no.Desc != "no" {
		t.Error(err)
	}
	if len(seen) != 1 || seen[0] != "STOP" {
		t.Errorf("events: %v", seen)
	}
}

func TestAResetOfAHeldMachineGoesOn(t *testing.T) {
	state, done := "guest-panicked", []string{}
	m := talk(t, nil, func(command, id string, _ json.RawMessage) string {
		done = append(done, command)
		if command == "cont" {
			state = "running"
		}
		return `{"return": {"status": "` + state + `"}, "id": "` + id + `"}`
	})
	if err := m.Reset(t.Context()); err != nil || state != "running" {
		t.Errorf("%s, %v", state, err)
	}
	if err := m.Reset(t.Context()); err != nil || strings.Join(done, " ") != "system_reset query-status cont system_reset query-status" {
		t.Errorf("%v, %v", done, err)
	}
}

// The network is told where a machine is more than once, since nobody answers.
func TestAnnounce(t *testing.T) {
	var asked []string
	fail := false
	m := talk(t, nil, func(command, id string, args json.RawMessage) string {
		asked = append(asked, command+" "+string(args))
		if fail {
			return `{"error": {"class": "GenericError", "desc": "no"}, "id": "` + id + `"}`
		}
		return `{"return": {}, "id": "` + id + `"}`
	})
	if err := m.Announce(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := `announce-self {"initial":50,"max":550,"rounds":5,"step":100}`
	if len(asked) != 1 || asked[0] != want {
		t.Errorf("asked %q, want %s", asked, want)
	}
	fail = true
	if err := m.Announce(t.Context()); err == nil {
		t.Error("a refusal is no success")
	}
}

// What an earlier try has plugged in is left alone.
func TestPlugGoesOnWhereItStopped(t *testing.T) {
	nodes, devices, objects := map[string]bool{}, map[string]bool{}, map[string]bool{}
	calls, fail := 0, 3
	list := func(names map[string]bool, key string) string {
		var out []map[string]string
		for n := range names {
			out = append(out, map[string]string{key: n})
		}
		b, _ := json.Marshal(out)
		if out == nil {
			return "[]"
		}
		return string(b)
	}
	m := talk(t, nil, func(command, id string, args json.RawMessage) string {
		var a map[string]any
		_ = json.Unmarshal(args, &a)
		result := "{}"
		switch command {
		case "query-named-block-nodes":
			result = list(nodes, "node-name")
		case "qom-list":
			result = list(map[string]map[string]bool{"/objects": objects, "/machine/peripheral": devices}[a["path"].(string)], "name")
		case "object-add", "blockdev-add", "device_add":
			into, name := nodes, a["node-name"]
			switch command {
			case "object-add":
				into, name = objects, a["id"]
			case "device_add":
				into, name = devices, a["id"]
			}
			if calls++; calls == fail || into[name.(string)] {
				return `{"error": {"class": "GenericError", "desc": "no"}, "id": "` + id + `"}`
			}
			into[name.(string)] = true
		}
		return `{"return": ` + result + `, "id": "` + id + `"}`
	})
	disks := []link.Disk{disk("data", 12), disk("more", 13)}
	for fail = 1; fail <= 6; fail++ {
		calls = 0
		clear(nodes)
		clear(devices)
		clear(objects)
		if err := m.Plug(t.Context(), disks); err == nil {
			t.Fatalf("call %d failed and nobody said so", fail)
		}
		calls, fail = 0, fail+100
		if err := m.Plug(t.Context(), disks); err != nil || len(nodes) != 2 || len(devices) != 2 || len(objects) != 2 {
			t.Errorf("after a failure at %d: %v; %v %v %v", fail-100, err, nodes, devices, objects)
		}
		calls = 0
		if err := m.Plug(t.Context(), disks); err != nil || calls != 0 {
			t.Errorf("once more made %d calls, %v", calls, err)
		}
		fail -= 100
	}
}

func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		began := time.Now()
		if _, err := Talk(context.Background(), ours, nil); !errors.Is(err, ErrNoMonitor) || time.Since(began) != answerWithin {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		m, err := Talk(context.Background(), peer(t, func(string, string, json.RawMessage) string { return "" }), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := m.Continue(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		m.Close()
		if err := m.Continue(context.Background()); !errors.Is(err, ErrNoMonitor) {
			t.Error(err)
		}
	})
}

func TestGarbage(t *testing.T) {
	for _, words := range []string{"hello\n", `{"return": {}}` + "\n", "[]\n", strings.Repeat("x", maxMessage+1), ""} {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Write([]byte(words))
			_ = theirs.Close()
		}()
		if _, err := Talk(t.Context(), ours, nil); !errors.Is(err, ErrGarbage) && !errors.Is(err, ErrNoMonitor) {
			t.Errorf("%.20q: %v", words, err)
		}
	}
}

// Whatever a monitor says after its greeting, the client ends or answers; it never
// panics or hangs.
func FuzzMonitor(f *testing.F) {
	f.Add([]byte(`{"return": {"status": "running"}, "id": "2"}` + "\n"))
	f.Add([]byte(`{"event": "STOP"}` + "\n" + `{"error": null, "id": "2"}` + "\n{"))
	f.Add([]byte(`{"return": [], "id": "2"}` + "\n"))
	f.Fuzz(func(t *testing.T, words []byte) {
		ours, theirs := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer theirs.Close()
			in := bufio.NewScanner(theirs)
			_, _ = theirs.Write([]byte(hello))
			in.Scan() // qmp_capabilities
			_, _ = theirs.Write([]byte(`{"return": {}, "id": "1"}` + "\n"))
			in.Scan()
			_, _ = theirs.Write(words)
		}()
		m, err := Talk(t.Context(), ours, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = m.Status(t.Context())
		m.Close()
		<-ended
	})
}
