package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relight/internal/agent/keeper"
	"relight/internal/agent/mount"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider/guest"
)

// vessel is an instance with a guest agent, and the controller's door.
type vessel struct {
	t      *testing.T
	dir    string
	door   *guest.Door
	guests *enrol.Guests
	server *httptest.Server
	epoch  atomic.Uint64
	ready  atomic.Int32
	log    *slog.Logger
}

func newVessel(t *testing.T) *vessel {
	t.Helper()
	x := &vessel{t: t, dir: t.TempDir(), door: guest.New()}
	x.epoch.Store(3)
	vault, err := enrol.NewDirVault(t.TempDir())
	must(t, err)
	authority, err := enrol.OpenAuthority(t.Context(), vault, time.Now)
	must(t, err)
	x.guests, err = authority.Guests(t.Context(), vault)
	must(t, err)
	x.server = httptest.NewUnstartedServer(x.door.Handler())
	x.server.TLS = authority.ServerTLS([]string{"127.0.0.1"})
	x.server.StartTLS()
	t.Cleanup(x.server.Close)
	x.mounted("")
	must(t, os.MkdirAll(filepath.Join(x.dir, "proc/sys/kernel/random"), 0o755))
	must(t, os.WriteFile(filepath.Join(x.dir, "proc/sys/kernel/random/boot_id"), []byte("b-1\n"), 0o600))
	x.is("i-0123456789abcdef0")
	return x
}

// is writes which instance the board says that it is.
func (x *vessel) is(instance string) {
	x.t.Helper()
	dir := filepath.Join(x.dir, "sys/class/dmi/id")
	must(x.t, os.MkdirAll(dir, 0o755))
	must(x.t, os.WriteFile(filepath.Join(dir, "board_asset_tag"), []byte(instance+"\n"), 0o600))
}

func (x *vessel) open() {
	x.door.Open(guest.Options{Guests: x.guests, URL: x.server.URL, Now: time.Now, Epoch: func(string) (fleet.Epoch, bool) {
		return fleet.Epoch(x.epoch.Load()), true
	}})
}

// mounted writes what the kernel says of mounts.
func (x *vessel) mounted(line string) {
	x.t.Helper()
	must(x.t, os.MkdirAll(filepath.Join(x.dir, "proc/self"), 0o755))
	must(x.t, os.MkdirAll(filepath.Join(x.dir, "sys/block/nvme0n1/device"), 0o755))
	tmp := filepath.Join(x.dir, "new")
	must(x.t, os.WriteFile(tmp, []byte(line), 0o600))
	must(x.t, os.Rename(tmp, filepath.Join(x.dir, "proc/self/mountinfo")))
}

func (x *vessel) attach() {
	x.t.Helper()
	dir := filepath.Join(x.dir, "sys/block/nvme1n1")
	must(x.t, os.MkdirAll(filepath.Join(dir, "device"), 0o755))
	must(x.t, os.WriteFile(filepath.Join(dir, "dev"), []byte("259:1\n"), 0o600))
	must(x.t, os.WriteFile(filepath.Join(dir, "device/serial"), []byte("vol0a\n"), 0o600))
}

// run runs the agent of an epoch until the test ends or the returned function is called.
func (x *vessel) run(epoch fleet.Epoch, check fleet.Check) (stop func()) {
	x.t.Helper()
	g, err := NewGuest(GuestOptions{
		Dir: filepath.Join(x.dir, "agent"),
		Plan: guest.Plan{
			V: guest.Version, Server: "lic-07", Epoch: epoch, Controller: x.server.URL, Token: x.guests.Token("lic-07", epoch).Text(), Check: check,
			Volumes: []fleet.Volume{{Name: "data", ID: "vol-0a", Mount: &fleet.Mount{Path: "/data", Type: "ext4"}}},
		},
		Machine: &mount.Machine{
			Sys: filepath.Join(x.dir, "sys"), Dev: filepath.Join(x.dir, "dev"), Proc: filepath.Join(x.dir, "proc"),
			Run: func(context.Context, ...string) (string, int, error) { return "", 1, nil },
		},
		ReportEvery: 20 * time.Millisecond, LookEvery: 5 * time.Millisecond, Log: x.log,
		Notify: func(state string) {
			if state == "READY=1" {
				x.ready.Add(1)
			}
		},
	})
	must(x.t, err)
	ctx, cancel := context.WithCancel(x.t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop = func() {
		cancel()
		<-done
	}
	x.t.Cleanup(func() { cancel() })
	return stop
}

// says waits until the controller knows this of an epoch.
func (x *vessel) says(epoch fleet.Epoch, works fleet.Answer, text string) {
	x.t.Helper()
	eventually(x.t, text, func() error {
		w, _ := x.door.Told("lic-07")
		if w.Epoch != epoch || w.Works != works || !strings.Contains(w.Detail, text) {
			return fmt.Errorf("epoch %d: %s, %s", w.Epoch, w.Works, w.Detail)
		}
		return nil
	})
}

const mountedRight = "36 35 259:1 / /data rw - ext4 /dev/nvme1n1 rw\n"

// The agent mounts before any controller answers; then all that it waited for is told.
func TestAH_MOUNT_GuestTellsWhatItWaitsFor(t *testing.T) {
	x := newVessel(t)
	stop := x.run(3, fleet.Check{})
	x.open()
	x.says(3, fleet.No, "no disk has the serial vol0a yet (there are others: nvme0n1 has none)")
	if x.ready.Load() != 0 {
		t.Error("systemd was told that it is ready")
	}
	x.attach()
	x.says(3, fleet.No, "cannot be read")
	x.mounted(mountedRight)
	x.says(3, fleet.Yes, "all volumes are mounted")
	x.mounted(strings.Replace(mountedRight, "/data rw", "/data ro", 1))
	x.says(3, fleet.No, "read-only")
	x.mounted(strings.Replace(mountedRight, "/data", "/mnt", 1))
	x.says(3, fleet.CannotTell, "volume data needs a person")
	x.mounted(mountedRight)
	x.says(3, fleet.Yes, "")
	if n := x.ready.Load(); n != 1 {
		t.Errorf("systemd was told %d times that it is ready", n)
	}
	w, _ := x.door.Told("lic-07")
	if len(w.Mounts) != 1 || w.Mounts[0].State != "done" || w.Boot != "b-1" {
		t.Errorf("%+v", w)
	}
	stop()

	// The next agent of the same epoch needs no other token.
	again := x.run(3, fleet.Check{})
	before, _ := x.door.Told("lic-07")
	eventually(t, "a later report", func() error {
		if w, _ := x.door.Told("lic-07"); !w.At.After(before.At) {
			return errNotYet
		}
		return nil
	})
	// The instance was stopped and started as the next epoch.
	x.epoch.Store(4)
	again()
	x.run(4, fleet.Check{})
	x.says(4, fleet.Yes, "all volumes are mounted")
}

// The application's own check is made from inside, and counts once the volumes are there.
func TestGuestChecksItsApplication(t *testing.T) {
	x := newVessel(t)
	x.attach()
	x.mounted(mountedRight)
	x.open()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	x.run(3, fleet.Check{TCP: l.Addr().String(), Interval: fleet.Duration(5 * time.Millisecond), Timeout: fleet.Duration(time.Second)})
	x.says(3, fleet.Yes, "")
	must(t, l.Close())
	x.says(3, fleet.No, "refused")
}

// What an earlier process of the epoch formatted is told by the next one; what an earlier
// epoch formatted is not.
func TestAH_MOUNT_FormatIsToldAfterARestart(t *testing.T) {
	x := newVessel(t)
	x.epoch.Store(1)
	must(t, os.MkdirAll(filepath.Join(x.dir, "agent"), 0o700))
	must(t, keeper.WriteFile(filepath.Join(x.dir, "agent", formatsFile), formats{"lic-07", 1, []string{"data"}}, true))
	x.attach()
	x.mounted(mountedRight)
	x.open()
	formatted := func(epoch fleet.Epoch) guest.Mount {
		x.says(epoch, fleet.Yes, "all volumes are mounted")
		w, _ := x.door.Told("lic-07")
		if len(w.Mounts) != 1 {
			t.Fatalf("%+v", w)
		}
		return w.Mounts[0]
	}
	stop := x.run(1, fleet.Check{})
	if m := formatted(1); !m.Formatted || m.Serial != "vol0a" {
		t.Errorf("%+v", m)
	}
	stop()
	x.epoch.Store(2)
	x.run(2, fleet.Check{})
	if m := formatted(2); m.Formatted || m.Serial != "" {
		t.Errorf("%+v", m)
	}
}
