package mount

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

	"golang.org/x/sys/unix"

	"relight/internal/core/fleet"
	"relight/internal/core/mount"
)

// initiator is open-iscsi and the kernel below it, as far as the agent sees them: records,
// logins, and what a login brings into sysfs. A real login is TestGuestLogsIn of package agent.
type initiator struct {
	*rig
	// dead are portals that do not answer, secret what the array knows, and luns the
	// disks of its units.
	dead   []string
	secret string
	luns   map[int]string
	set    map[string]string
	logins int
}

const (
	targetName = "iqn.2026-01.org.example.san:till.e3"
	ownName    = "iqn.2026-01.org.example:till.e3"
)

func newInitiator(t *testing.T) *initiator {
	t.Helper()
	i := &initiator{rig: newRig(t), secret: "secretsecret1234", luns: map[int]string{}, set: map[string]string{}}
	i.Run = func(ctx context.Context, argv ...string) (string, int, error) {
		if argv[0] == "iscsiadm" {
			return i.adm(argv[1:])
		}
		i.ran = append(i.ran, argv)
		return run(ctx, argv...)
	}
	return i
}

// after is the word behind a flag.
func after(argv []string, flag string) string {
	if n := slices.Index(argv, flag); n >= 0 && n+1 < len(argv) {
		return argv[n+1]
	}
	return ""
}

// adm is iscsiadm 2.1.8, as it was seen to answer.
func (i *initiator) adm(argv []string) (string, int, error) {
	portal := after(argv, "-p")
	switch {
	case after(argv, "-m") == "iface" && after(argv, "-o") == "":
		if i.set["iface"] == "" {
			return "iSCSI ERROR: Failed to open /etc/iscsi/ifaces", 6, nil
		}
	case after(argv, "-o") == "new" && after(argv, "-m") == "iface":
		i.set["iface"] = after(argv, "-I")
	case after(argv, "-o") == "new":
		for name := range i.set {
			if strings.HasPrefix(name, "node.") {
				delete(i.set, name) // a record that is made anew has nothing of before
			}
		}
	case after(argv, "-o") == "update":
		i.set[after(argv, "-n")] = after(argv, "-v")
	case slices.Contains(argv, "--rescan"):
		i.show()
	case slices.Contains(argv, "--login"):
		i.logins++
		if slices.Contains(i.dead, portal) {
			return "iscsiadm: Could not login to " + portal, 8, nil
		}
		if i.set["node.session.auth.password"] != i.secret || i.set["iface.initiatorname"] != ownName {
			return "iscsiadm: initiator reported error (24 - iSCSI login failed due to authorization failure) for " + i.set["node.session.auth.password"], 24, nil
		}
		i.session("session1", targetName, ownName)
		i.show()
	}
	return "", 0, nil
}

func (i *initiator) session(name, target, as string) {
	dir := filepath.Join(i.Sys, "class/iscsi_session", name)
	must(i.t, os.MkdirAll(dir, 0o755))
	must(i.t, os.WriteFile(filepath.Join(dir, "targetname"), []byte(target+"\n"), 0o600))
	must(i.t, os.WriteFile(filepath.Join(dir, "initiatorname"), []byte(as+"\n"), 0o600))
}

// show lets the units of the session appear.
func (i *initiator) show() {
	for unit, real := range i.luns {
		i.unit("session1", unit, real)
	}
}

func (i *initiator) unit(session string, unit int, real string) {
	name := fmt.Sprintf("sd%c", 'a'+unit)
	if session != "session1" {
		name += "x"
	}
	dir := filepath.Join(i.Sys, "class/iscsi_session", session, "device/target2:0:0", fmt.Sprintf("2:0:0:%d", unit), "block", name)
	must(i.t, os.MkdirAll(dir, 0o755))
	var st unix.Stat_t
	must(i.t, unix.Stat(real, &st))
	must(i.t, os.WriteFile(filepath.Join(dir, "dev"), fmt.Appendf(nil, "%d:%d\n", unix.Major(st.Rdev), unix.Minor(st.Rdev)), 0o600))
	_ = os.Symlink(real, filepath.Join(i.Dev, name)) // it may be there
}

// till is its data, with the logins that the controller tells of once told is true.
func (i *initiator) till(epoch fleet.Epoch, told *bool) *Volumes {
	i.t.Helper()
	v := i.volume(format)
	v.ID, v.LUN = "", &fleet.LUN{Array: "san-1", Name: "till-data", Unit: 2}
	secret := i.secret
	all := New(i.Machine, epoch, []fleet.Volume{v})
	all.Logins = func(context.Context) (map[string]LUN, error) {
		if !*told {
			return nil, errors.New("the array does not let the epoch in")
		}
		return map[string]LUN{"data": {
			Portals: []string{"10.0.9.1:3260", "10.0.9.2:3260"}, Target: targetName, Unit: 2,
			Initiator: ownName, User: "till.e3", Secret: secret,
		}}, nil
	}
	return all
}

// A guest waits until its array lets it in, logs in as its epoch by the portal that
// answers, and mounts that very unit: neither its neighbour, nor the same unit as another
// initiator sees it. The next agent finds all of it done.
func TestOP_DATA_LogsIn(t *testing.T) {
	i := newInitiator(t)
	other, real := i.disk(), i.disk()
	i.session("session9", targetName, "iqn.2026-01.org.example:till.e2")
	i.unit("session9", 2, other)
	i.luns[1] = other
	told := false
	v := i.till(1, &told)
	i.wants(i.advance(v), mount.Wait, "no disk is LUN till-data of array san-1 yet: where its LUN is cannot be told yet: the array does not let the epoch in")
	told = true
	i.dead = []string{"10.0.9.1:3260", "10.0.9.2:3260"}
	i.wants(i.advance(v), mount.Wait, "--login ended with 8")
	i.dead = i.dead[:1]
	logins := i.logins
	i.Reaches = func(_ context.Context, portal string) bool { return !slices.Contains(i.dead, portal) }
	i.wants(i.advance(v), mount.Wait, "sees no unit 2 yet")
	if i.logins != logins+1 {
		t.Errorf("%d logins, one of them at a portal that is dead", i.logins-logins)
	}
	logins = i.logins
	i.luns[2] = real
	s := i.advance(v)
	i.wants(s, mount.Done, "LUN till-data of array san-1 is mounted on")
	if !s.Formatted || s.Serial != "LUN till-data of array san-1" || i.logins != logins {
		t.Errorf("%+v after %d logins", s, i.logins-logins)
	}
	if n := len(i.ran); n == 0 || !strings.Contains(strings.Join(i.ran[n-1], " "), "_netdev") {
		t.Errorf("mounted as a local disk: %v", i.ran)
	}
	if i.set["node.startup"] != "manual" || i.set["node.session.auth.authmethod"] != "CHAP" || i.set["node.session.auth.username"] != "till.e3" {
		t.Errorf("set %v", i.set)
	}
	i.wants(i.advance(i.till(1, &told)), mount.Done, "")
	if i.logins != logins {
		t.Errorf("it logged in again")
	}
	// One that starts anew beside it calls nothing broken before it is told where the LUN is.
	told = false
	again := i.till(1, &told)
	i.wants(i.advance(again), mount.Unsure, "cannot be told")
	told = true
	i.wants(i.advance(again), mount.Done, "")
	told = false
	i.wants(i.advance(again), mount.Done, "")
	if b := i.bytes(other); !slices.Equal(b, make([]byte, diskSize)) {
		t.Error("another disk was written to")
	}
}

// A login that is refused is told without its secret, and only epoch 1 formats a LUN.
func TestOP_DATA_Refused(t *testing.T) {
	i := newInitiator(t)
	told := true
	v := i.till(3, &told)
	i.secret = "another-secret-9"
	s := i.advance(v)
	i.wants(s, mount.Wait, "authorization failure")
	for _, secret := range []string{"secretsecret1234", i.secret} {
		if strings.Contains(s.Why, secret) {
			t.Errorf("it tells a secret: %s", s.Why)
		}
	}
	i = newInitiator(t)
	i.luns[2] = i.disk()
	i.wants(i.advance(i.till(3, &told)), mount.Refuse, "is blank at epoch 3")
	i.session("session2", targetName, ownName)
	i.unit("session2", 2, i.luns[2])
	i.wants(i.advance(i.till(3, &told)), mount.Refuse, "2 disks are LUN till-data")
	i.Run = func(context.Context, ...string) (string, int, error) { return "", 0, exec.ErrNotFound }
	must(t, os.RemoveAll(filepath.Join(i.Sys, "class")))
	i.wants(i.advance(i.till(3, &told)), mount.Wait, "put open-iscsi into the image")
	i.Run = func(context.Context, ...string) (string, int, error) { return "", 0, errors.New("signal: broken pipe") }
	i.wants(i.advance(i.till(3, &told)), mount.Wait, "broken off: signal: broken pipe")
}
