package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relight/internal/agent/mount"
	"relight/internal/core/fleet"
	"relight/internal/provider/guest"
)

// A guest asks the controller where its LUN is, over its own certificate, for as long as
// the array does not let its epoch in; then it logs in with what it was told.
func TestOP_DATA_GuestAsksForItsLUN(t *testing.T) {
	x := newVessel(t)
	var letIn atomic.Bool
	x.door.Open(guest.Options{
		Guests: x.guests, URL: x.server.URL, Now: time.Now,
		Epoch: func(string) (fleet.Epoch, bool) { return fleet.Epoch(x.epoch.Load()), true },
		Disks: func(_ context.Context, server string, epoch fleet.Epoch) ([]guest.Disk, error) {
			if !letIn.Load() || server != "lic-07" || epoch != 3 {
				return nil, errors.New("the array does not let the epoch in")
			}
			return []guest.Disk{{Volume: "data", Portal: "10.0.9.1:3260", Target: "iqn.t", Unit: 4, Initiator: "iqn.i", User: "u", Secret: "secretsecret12"}}, nil
		},
	})
	var logins atomic.Int32
	adm := func(_ context.Context, argv ...string) (string, int, error) {
		if argv[0] != "iscsiadm" || !slices.Contains(argv, "--login") {
			return "", 0, nil
		}
		logins.Add(1)
		session := filepath.Join(x.dir, "sys/class/iscsi_session/session1")
		disk := filepath.Join(session, "device/target3:0:0/3:0:0:4/block/sdb")
		return "", 0, errors.Join(
			os.MkdirAll(disk, 0o755), os.WriteFile(filepath.Join(disk, "dev"), []byte("8:16\n"), 0o600),
			os.WriteFile(filepath.Join(session, "initiatorname"), []byte("iqn.i\n"), 0o600),
			os.WriteFile(filepath.Join(session, "targetname"), []byte("iqn.t\n"), 0o600),
		)
	}
	start := func() (end func()) {
		g, err := NewGuest(GuestOptions{
			Dir: filepath.Join(x.dir, "agent"),
			Plan: guest.Plan{
				V: guest.Version, Server: "lic-07", Epoch: 3, Controller: x.server.URL, Token: x.guests.Token("lic-07", 3).Text(),
				Volumes: []fleet.Volume{{Name: "data", LUN: &fleet.LUN{Array: "san-1", Name: "lic-07-data", Unit: 4}, Mount: &fleet.Mount{Path: "/data", Type: "ext4"}}},
			},
			Machine:     &mount.Machine{Sys: filepath.Join(x.dir, "sys"), Dev: filepath.Join(x.dir, "dev"), Proc: filepath.Join(x.dir, "proc"), Run: adm},
			ReportEvery: 20 * time.Millisecond, LookEvery: 5 * time.Millisecond, Notify: func(string) {},
		})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		end = sync.OnceFunc(func() { cancel(); <-ended })
		t.Cleanup(end)
		return end
	}
	end := start()
	x.says(3, fleet.No, "no disk is LUN lic-07-data of array san-1 yet")
	x.says(3, fleet.No, "the array does not let the epoch in")
	if logins.Load() != 0 {
		t.Error("it logged in before it was let in")
	}
	letIn.Store(true)
	x.mounted("36 35 8:16 / /data rw - ext4 /dev/sdb rw\n")
	x.says(3, fleet.Yes, "all volumes are mounted")
	if n := logins.Load(); n != 1 {
		t.Errorf("it logged in %d times", n)
	}

	// An agent that is started anew beside it, while nobody tells where the LUN is, does not
	// know what is mounted there; it calls nothing broken.
	end()
	letIn.Store(false)
	start()
	x.says(3, fleet.CannotTell, "cannot be told: where its LUN is")
	letIn.Store(true)
	x.says(3, fleet.Yes, "all volumes are mounted")
}

// One that has not joined asks nobody.
func TestGuestWithoutALine(t *testing.T) {
	if _, err := (&Guest{}).logins(t.Context()); !errors.Is(err, errFirst) {
		t.Error(err)
	}
}
