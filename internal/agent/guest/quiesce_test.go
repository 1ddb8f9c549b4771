package guest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReply(t *testing.T) {
	for _, r := range []Reply{{ID: 1 << 60, OK: true, Frozen: 2, Detail: "the guest holds still"}, {ID: 2, Detail: "freeze /srv: busy"}} {
		if got, err := ParseReply(r.Line()); err != nil || got != r {
			t.Errorf("%q gave %+v, %v", r.Line(), got, err)
		}
	}
	for _, bad := range []string{"", replyPrefix, replyPrefix + "1 ok 0", replyPrefix + "1 maybe 0 x", replyPrefix + "x ok 0 x", replyPrefix + "1 ok -1 x", Beat{Server: "a", Epoch: 1, State: Works}.Line()} {
		if _, err := ParseReply(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What is frozen: each device that is written to, once, the last mounted first.
func TestWritable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mountinfo")
	text := `22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
23 22 0:21 / /proc rw - proc proc rw
24 22 254:16 / /srv/my\040data rw - xfs /dev/vdb rw
25 22 254:16 /sub /home rw - xfs /dev/vdb rw
26 22 254:32 / /mnt ro - ext4 /dev/vdc rw
27 22 254:48 / /med rw - iso9660 /dev/sr0 ro
28 22 0:30 / /nfs rw - nfs server:/dev/x rw
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := writable(path)
	if err != nil || !slices.Equal(got, []string{"/srv/my data", "/"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// held starts a guest with a hook that notes its word, or fails.
func held(t *testing.T, script string) (g *inside, notes func() string) {
	t.Helper()
	dir := t.TempDir()
	hook, log := filepath.Join(dir, "hook"), filepath.Join(dir, "log")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho $1 $RELIGHT_SERVER $RELIGHT_EPOCH >> "+log+"\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	g = &inside{told: make(chan struct{}), cfg: Config{Quiesce: hook}, mountinfo: "/dev/null"}
	g.become("db-1", 7)
	return g, func() string {
		b, _ := os.ReadFile(log)
		return strings.ReplaceAll(string(b), "\n", ",")
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	limit, tick := time.After(30*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-limit:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// free reports whether the application could write.
func (g *inside) free() bool {
	if !g.writing.TryLock() {
		return false
	}
	g.writing.Unlock()
	return true
}

func TestQuiesceAndThaw(t *testing.T) {
	g, notes := held(t, "")
	replies := make(chan Reply, 2)
	g.obeyQuiesce(Order{ID: 5, Hold: time.Hour}, func(r Reply) { replies <- r })
	if r := <-replies; !r.OK || r.ID != 5 || r.Frozen != 0 || g.free() || notes() != "freeze db-1 7," {
		t.Errorf("%+v, free %v, %s", r, g.free(), notes())
	}
	g.obeyQuiesce(Order{ID: 6, Hold: time.Hour}, func(r Reply) { replies <- r })
	if r := <-replies; r.OK || r.ID != 6 {
		t.Errorf("held twice: %+v", r)
	}
	g.obeyThaw()
	until(t, "it goes on", g.free)
	if notes() != "freeze db-1 7,thaw db-1 7," {
		t.Error(notes())
	}
	g.obeyThaw() // once more is nothing
}

// A guest whose program fails or hangs goes on as it was, and says why; one that is
// forgotten goes on by itself.
func TestQuiesceFails(t *testing.T) {
	for script, want := range map[string]string{"exit 3": "exit status 3", "exec sleep 1000": "did not end in time"} {
		g, notes := held(t, "test $1 = thaw || "+script)
		replies := make(chan Reply, 1)
		g.obeyQuiesce(Order{ID: 1, Hold: 200 * time.Millisecond}, func(r Reply) { replies <- r })
		if r := <-replies; r.OK || !strings.Contains(r.Detail, want) {
			t.Errorf("%s: %+v", script, r)
		}
		until(t, "it goes on", g.free)
		if notes() != "freeze db-1 7,thaw db-1 7," {
			t.Errorf("%s: %s", script, notes())
		}
	}
	g, _ := held(t, "")
	replies := make(chan Reply, 1)
	g.obeyQuiesce(Order{ID: 1, Hold: 50 * time.Millisecond}, func(r Reply) { replies <- r })
	<-replies
	until(t, "nobody thaws it", g.free)

	g, _ = held(t, "")
	g.writing.Lock() // a write that does not end
	g.obeyQuiesce(Order{ID: 1, Hold: 50 * time.Millisecond}, func(r Reply) { replies <- r })
	if r := <-replies; r.OK || !strings.Contains(r.Detail, "does not end") {
		t.Errorf("%+v", r)
	}
}

// A real file system: while it is frozen a write waits, and after the thaw it ends.
func TestFreezeForReal(t *testing.T) {
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(at, 0o755))
	must(os.WriteFile(image, nil, 0o600))
	must(os.Truncate(image, 16<<20))
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: needs mkfs.ext4 (apt-get install e2fsprogs): %v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, at).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: needs root and loop devices: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", at).Run() })
	mounts, err := writable("/proc/self/mountinfo")
	must(err)
	if !slices.Contains(mounts, at) {
		t.Fatalf("%s is not among %v", at, mounts)
	}
	thaw, err := freeze(at)
	must(err)
	if _, err := freeze(at); !errors.Is(err, unix.EBUSY) {
		t.Errorf("frozen twice: %v", err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(filepath.Join(at, "x"), []byte("x"), 0o600) }()
	select {
	case err := <-wrote:
		t.Errorf("a frozen file system was written to: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	thaw()
	must(<-wrote)
	if _, err := freeze("/proc"); err == nil {
		t.Error("/proc was frozen")
	}
}
