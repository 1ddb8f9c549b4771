package process

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"relight/internal/agent/volume"
)

// A process whose first thread has ended looks like a zombie and is none.
func TestHeadlessProcessCounts(t *testing.T) {
	h := newHost(t)
	pid := h.run(1, "headless")
	if in, err := h.d.Stop(h.ctx(), ref(1), 0); err != nil {
		t.Fatal(err)
	} else {
		h.wantFinal(in)
	}
	h.wantGone(pid)
	pid = h.run(2, "headless")
	kill(t, h.keeperPID(2), syscall.SIGKILL)
	h.await(2, func(in Instance) bool {
		return in.State == KeeperLost && slices.Equal(in.Processes, []int{pid}) && in.LocksHeld
	})
}

func TestKeeperLost(t *testing.T) {
	for _, role := range []string{"serve", "daemon", "closing-daemon"} {
		t.Run(role, func(t *testing.T) {
			h := newHost(t)
			pid := h.run(1, role)
			if role != "serve" { // its first process leaves
				h.await(1, func(in Instance) bool { return in.Exit != nil })
			}
			k := h.keeperPID(1)
			kill(t, k, syscall.SIGKILL)
			// The keeper held the lock, too: once it is gone, only what was inherited is left.
			in := h.await(1, func(in Instance) bool {
				return in.State == KeeperLost && slices.Equal(in.Processes, []int{pid}) && in.LocksHeld == (role != "closing-daemon")
			})
			if in.Reaped || in.LocksFree {
				t.Fatalf("instance is %+v, application %d", in, pid)
			}
			_, err := h.d.Seal(h.ctx(), ref(1), h.vol)
			wantErr(t, err, ErrAlive)
			if role != "closing-daemon" {
				_, err = volume.Seal(h.vol, "db-1", 1)
				wantErr(t, err, volume.ErrLocked)
			}
			_, err = h.d.Attach(h.ctx(), Order{Ref: ref(2)})
			wantErr(t, err, ErrAlive)
			if role == "serve" {
				kill(t, pid, syscall.SIGSTOP)
			}
			in, err = h.d.Stop(h.ctx(), ref(1), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if in.State != KeeperLost || in.Reaped || len(in.Processes) > 0 || in.LocksHeld {
				t.Fatalf("instance is %+v", in)
			}
			h.wantGone(pid)
			if _, err := h.d.Seal(h.ctx(), ref(1), h.vol); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestLostApplicationEndsByItself(t *testing.T) {
	h := newHost(t)
	pid := h.run(1, "serve")
	kill(t, h.keeperPID(1), syscall.SIGKILL)
	h.await(1, func(in Instance) bool { return in.State == KeeperLost && len(in.Processes) > 0 })
	kill(t, pid, syscall.SIGKILL)
	h.await(1, func(in Instance) bool {
		return in.State == KeeperLost && len(in.Processes) == 0 && !in.LocksHeld && !in.Reaped
	})
}
