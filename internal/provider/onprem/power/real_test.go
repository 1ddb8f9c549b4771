package power

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// agent returns the path of a fence agent of the package fence-agents.
func agent(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIPPED: %s is not installed: apt-get install fence-agents", name)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("SKIPPED: fence agents need python3")
	}
	return path
}

// dummy is ClusterLabs' own agent for tests, whose device is a file.
func dummy(t *testing.T, plug string) (fleet.PowerDevice, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(file, []byte("on"), 0o600); err != nil {
		t.Fatal(err)
	}
	return fleet.PowerDevice{Command: []string{agent(t, "fence_dummy")}, Plug: plug, Options: map[string]string{"status_file": file, "quiet": "1"}}, file
}

func TestRealAgentSwitches(t *testing.T) {
	a, fileA := dummy(t, "1")
	b, fileB := dummy(t, "2")
	if state, err := Read(t.Context(), a); err != nil || state != On {
		t.Fatalf("before: %v, %v", state, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said, err := Switch(ctx, fleet.Power{Levels: []fleet.PowerLevel{{All: []fleet.PowerDevice{a, b}}}})
	if err != nil || said != "read back as off: fence_dummy plug 1, fence_dummy plug 2" {
		t.Fatalf("%q, %v", said, err)
	}
	for _, file := range []string{fileA, fileB} {
		if text, _ := os.ReadFile(file); string(text) != "off" {
			t.Errorf("%s holds %q", file, text)
		}
	}
	if _, err := Switch(ctx, single(a)); err != nil {
		t.Errorf("again: %v", err)
	}
}

// fence_dummy of type fail takes every switch and says that it cannot tell.
func TestRealAgentThatFails(t *testing.T) {
	d, _ := dummy(t, "1")
	d.Options["type"] = "fail"
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if said, err := Switch(ctx, single(d)); err == nil {
		t.Errorf("switched off: %s", said)
	}
	if r := Look(ctx, single(d)); len(r) != 1 || r[0].Err == nil && r[0].State == Off {
		t.Errorf("looks off: %+v", r)
	}
}

// Agents for devices that are not there fail in words and within their time.
func TestRealAgentsAgainstNothing(t *testing.T) {
	for name, options := range map[string]map[string]string{
		"fence_virsh":   {"ip": "127.0.0.1", "ipport": "1", "username": "x", "password_script": "/bin/true", "login_timeout": "1"},
		"fence_ipmilan": {"ip": "127.0.0.1", "ipport": "1", "username": "x", "password_script": "/bin/true"},
		"fence_apc":     {"ip": "127.0.0.1", "ipport": "1", "username": "x", "password_script": "/bin/true", "ssh": "1", "login_timeout": "1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := fleet.PowerDevice{Command: []string{agent(t, name)}, Plug: "1", Options: options, Timeout: fleet.Duration(20 * time.Second)}
			var code *CodeError
			if state, err := Read(t.Context(), d); !errors.As(err, &code) || code.Said == "" {
				t.Errorf("%s, %v: want an exit code with words", state, err)
			}
			d.Options["ipadr"] = "127.0.0.1"
			r := Look(t.Context(), single(d))
			if len(r) != 1 || r[0].Err == nil || !slices.ContainsFunc(r[0].Doubts, func(s string) bool { return strings.Contains(s, `"ipadr"`) }) {
				t.Errorf("a slip of the pen is not seen: %+v", r)
			}
		})
	}
}

// Each installed agent describes itself in a form that is understood; those without
// off and status are named.
func TestRealMetadata(t *testing.T) {
	agent(t, "fence_dummy")
	paths, err := filepath.Glob("/usr/sbin/fence_a*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		d := fleet.PowerDevice{Command: []string{path}, Timeout: fleet.Duration(20 * time.Second)}
		a := run(t.Context(), d, "metadata")
		if a.code != 0 {
			continue // a library that is not installed, or no fence agent
		}
		m, err := parseMetadata(a.out)
		if err != nil || len(m.Parameters) == 0 || len(m.Actions) == 0 {
			t.Errorf("%s: %d parameters, %d actions, %v", name, len(m.Parameters), len(m.Actions), err)
		}
	}
}
