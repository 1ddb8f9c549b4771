package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/lab"
)

// exe is the program under test, built once; empty if this machine cannot carry a
// lab.
var exe string

func TestMain(m *testing.M) { os.Exit(tests(m)) }

func tests(m *testing.M) int {
	if lab.Missing().Err() == nil {
		dir, err := os.MkdirTemp("", "relight-lab-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		exe = filepath.Join(dir, "relight")
		if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", exe, "relight/cmd/relight").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		if gone, err := lab.Sweep(context.Background()); err != nil || len(gone) > 0 {
			fmt.Fprintln(os.Stderr, "labs of tests that ended early:", gone, err)
		}
	}
	return m.Run()
}

// need skips where no lab can be built, loudly.
func need(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a lab")
	}
	if err := lab.Missing().Err(); err != nil {
		t.Skipf("SKIPPED, AND NOTHING ELSE TESTS THIS: %v", err)
	}
}

// up builds a lab of the test's own.
func up(t *testing.T, name string, change ...func(*lab.Options)) *lab.Lab {
	t.Helper()
	need(t)
	o := lab.Options{Name: fmt.Sprintf("%s%d", name, os.Getpid()%100000), Exe: exe, Owned: true}
	for _, c := range change {
		c(&o)
	}
	l, err := lab.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			t.Error(err)
		}
		if left := lab.Left(l.Name); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return l
}

// reaches tries a TCP connection from a node.
func reaches(t *testing.T, l *lab.Lab, node, addr string) bool {
	t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", "rlab-"+l.Name+"-"+node,
		"timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/"+host+"/"+port)
	return cmd.Run() == nil
}

func await(t *testing.T, what string, yes func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for !yes() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-every.C:
		}
	}
}

func ask(t *testing.T, l *lab.Lab, plug, action string) (int, string) {
	t.Helper()
	var out strings.Builder
	in := fmt.Sprintf("# a comment\n lab=%s\naction=%s\n\nplug=%s\nignored=x\n", l.Name, action, plug)
	return lab.Power(t.Context(), strings.NewReader(in), &out), out.String()
}

// inContact lists the hosts with which the controller is in contact.
func inContact(t *testing.T, l *lab.Lab) []string {
	t.Helper()
	return hosts(t, l, func(h client.HostRow) bool { return h.InContact == "yes" })
}

// beating lists the hosts that write their heartbeats to the SAN.
func beating(t *testing.T, l *lab.Lab) []string {
	t.Helper()
	return hosts(t, l, func(h client.HostRow) bool { return h.InContact == "yes" && h.StorageBeat == "yes" })
}

func hosts(t *testing.T, l *lab.Lab, which func(client.HostRow) bool) []string {
	t.Helper()
	c, err := l.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list, err := c.Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range list.Items {
		if which(h) {
			out = append(out, h.Name)
		}
	}
	slices.Sort(out)
	return out
}

func TestCables(t *testing.T) {
	l := up(t, "c")
	ctx := t.Context()
	controller := strings.Replace(strings.Replace(l.Portal(), "10.77.", "10.78.", 1), ".1:3260", ".2:7443", 1)
	check := func(node string, storage, management bool) {
		t.Helper()
		if got := reaches(t, l, node, l.Portal()); got != storage {
			t.Errorf("%s reaches the SAN: %v, want %v", node, got, storage)
		}
		if got := reaches(t, l, node, controller); got != management {
			t.Errorf("%s reaches the controller: %v, want %v", node, got, management)
		}
	}
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check("ha", true, true)
	fail(l.Break(ctx, "ha", "storage"))
	check("ha", false, true)
	check("hb", true, true)
	fail(l.Break(ctx, "ha", "management"))
	check("ha", false, false)
	fail(l.MendFault(ctx, "ha", "storage"))
	// The kernel tells of a port that came up with up to a second's delay.
	await(t, "ha reaches the SAN again", func() bool { return reaches(t, l, "ha", l.Portal()) })
	check("ha", true, false)
	if cut, err := l.IsCut(ctx, "ha", lab.Management); err != nil || !cut {
		t.Errorf("cut: %v, %v", cut, err)
	}
	await(t, "the controller misses ha", func() bool { return slices.Equal(inContact(t, l), []string{"hb", "hc"}) })
	fail(l.MendFault(ctx, "ha", "management"))
	await(t, "all are in contact", func() bool { return len(inContact(t, l)) == 3 })
	if err := l.Break(ctx, "cl", "storage"); err == nil {
		t.Error("a cable that is not there was cut")
	}
	if err := l.Break(ctx, "hx", "power"); err == nil {
		t.Error("a host that is not there was switched off")
	}
}

// TestStorageHeartbeats: the hosts' heartbeats lie on a LUN of the SAN. A host that does not
// reach it, or one that is away, has none.
func TestStorageHeartbeats(t *testing.T) {
	l := up(t, "b")
	for _, step := range []struct {
		do          func(*lab.Lab, context.Context, string, string) error
		node, fault string
		want        []string
	}{
		{nil, "", "", lab.Hosts()},
		{(*lab.Lab).Break, "san", "storage", nil},
		{(*lab.Lab).Break, "ha", "storage", nil},
		{(*lab.Lab).MendFault, "san", "storage", []string{"hb", "hc"}},
		{(*lab.Lab).Break, "san", "mute", []string{"hb", "hc"}}, // it serves on
		{(*lab.Lab).MendFault, "san", "mute", []string{"hb", "hc"}},
		{(*lab.Lab).Break, "san", "kill", nil},
		{(*lab.Lab).MendFault, "ha", "storage", nil},
		{(*lab.Lab).Break, "hb", "power", nil},
		{(*lab.Lab).MendFault, "hb", "power", nil},
		{(*lab.Lab).MendFault, "san", "kill", lab.Hosts()},
		{(*lab.Lab).Break, "san", "restart", lab.Hosts()},
	} {
		if step.do != nil {
			if err := step.do(l, t.Context(), step.node, step.fault); err != nil {
				t.Fatal(err)
			}
		}
		await(t, fmt.Sprintf("after %s of %s, heartbeats of %v", step.fault, step.node, step.want), func() bool {
			return slices.Equal(beating(t, l), step.want)
		})
	}
}

func TestPower(t *testing.T) {
	l := up(t, "p")
	want := func(plug, action string, code int) {
		t.Helper()
		if got, said := ask(t, l, plug, action); got != code {
			t.Fatalf("%s %s ended with %d, want %d: %s", action, plug, got, code, said)
		}
	}
	// One that forgot its parents and all it was told belongs to the host as well.
	stray := exec.CommandContext(t.Context(), "ip", "netns", "exec", "rlab-"+l.Name+"-hb", "setsid", "env", "-i", "/bin/sleep", "1000")
	if err := stray.Start(); err != nil {
		t.Fatal(err)
	}
	want("hb", "status", 0)
	want("hb", "off", 0)
	want("hb", "status", 2)
	if err := stray.Wait(); err == nil {
		t.Error("a stray process ended by itself")
	}
	await(t, "the controller misses hb", func() bool { return slices.Equal(inContact(t, l), []string{"ha", "hc"}) })
	want("hb", "off", 0) // it is
	want("hb", "on", 0)
	want("hb", "status", 0)
	await(t, "hb is back", func() bool { return len(inContact(t, l)) == 3 })
	want("hb", "reboot", 0)
	await(t, "hb is back again", func() bool { return len(inContact(t, l)) == 3 })
	want("hb", "explode", 1)
	want("san", "off", 1)
	want("../hb", "status", 1)
	if code, said := ask(t, l, "hb", "metadata"); code != 0 || !strings.Contains(said, "<resource-agent") {
		t.Errorf("metadata ended with %d: %s", code, said)
	}
}

func TestKillAndStartAgain(t *testing.T) {
	l := up(t, "k")
	for _, f := range [][2]string{{"ctl", "restart"}, {"san", "restart"}} {
		if err := l.Break(t.Context(), f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "all are in contact", func() bool { return len(inContact(t, l)) == 3 })
	if !reaches(t, l, "hc", l.Portal()) {
		t.Error("the SAN does not answer after its restart")
	}
	if err := l.Break(t.Context(), "hc", "agent"); err != nil {
		t.Fatal(err)
	}
	await(t, "the controller misses hc", func() bool { return len(inContact(t, l)) == 2 })
	if err := l.MendFault(t.Context(), "hc", "agent"); err != nil {
		t.Fatal(err)
	}
	await(t, "hc is back", func() bool { return len(inContact(t, l)) == 3 })
}

// TestLeftovers: what an owner that was killed has left is taken down by the
// warden, and half a lab by anybody.
func TestLeftovers(t *testing.T) {
	need(t)
	name := fmt.Sprintf("l%d", os.Getpid()%100000)
	t.Cleanup(func() { _ = lab.Down(context.Background(), name) })
	if err := exec.CommandContext(t.Context(), "ip", "netns", "add", "rlab-"+name+"-hb").Run(); err != nil {
		t.Fatal(err)
	}
	list, err := lab.List()
	if err != nil || !slices.Contains(list, name) {
		t.Fatalf("labs %v, %v", list, err)
	}
	if err := lab.Down(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if left := lab.Left(name); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
	if _, err := lab.Open(name); !errors.Is(err, lab.ErrNone) {
		t.Errorf("error %v", err)
	}
	l, err := lab.Up(t.Context(), lab.Options{Name: name, Exe: exe})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Up(t.Context(), lab.Options{Name: name, Exe: exe}); !errors.Is(err, lab.ErrExists) {
		t.Errorf("a second lab of that name: %v", err)
	}
	// The owner's end of the pipe closes without a word.
	if err := lab.Watch(strings.NewReader("done"), l.Name); err != nil || len(lab.Left(name)) == 0 {
		t.Fatalf("a dismissed warden did something: %v", err)
	}
	if err := lab.Watch(strings.NewReader(""), l.Name); err != nil || len(lab.Left(name)) > 0 {
		t.Fatalf("the warden left %v: %v", lab.Left(name), err)
	}
}
