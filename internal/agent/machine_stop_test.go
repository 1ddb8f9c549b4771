package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/agent/guest"
	"relight/internal/core/fleet"
)

func TestWhoIsAskedToEnd(t *testing.T) {
	now := time.Unix(1000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, c := range map[string]struct {
		sight machineSight
		want  bool
	}{
		"never heard":                {machineSight{}, false},
		"works":                      {machineSight{beat: guest.Beat{State: guest.Works}, beatAt: now, movedAt: ago(time.Second)}, true},
		"silent":                     {machineSight{beat: guest.Beat{State: guest.Works}, beatAt: ago(guestDeafAfter), movedAt: ago(guestDeafAfter)}, false},
		"beats on, and stands still": {machineSight{beat: guest.Beat{State: guest.Works}, beatAt: now, movedAt: ago(guestStuckAfter)}, false},
		"its application has failed": {machineSight{beat: guest.Beat{State: guest.Fails}, beatAt: now, movedAt: ago(time.Hour)}, true},
		"it starts":                  {machineSight{beat: guest.Beat{State: guest.Starting}, beatAt: now, movedAt: ago(time.Hour)}, true},
	} {
		if got := c.sight.mayEnd(now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A machine that cannot end by its power button is killed without waiting for it:
// with this grace the stop's own time would be over first.
func TestFrozenMachineIsNotWaitedFor(t *testing.T) {
	r := newRig(t)
	vm := r.template()
	vm.StopGrace = fleet.Duration(time.Hour)
	killed := func(e fleet.Epoch) {
		t.Helper()
		effect, err := r.do(r.command(fleet.StepStop, e, vm, nil))
		must(t, err)
		if len(effect.Evidence) != 1 || effect.Evidence[0].Method != fleet.Reaped || !strings.Contains(effect.Detail, "SIGKILL") {
			t.Errorf("%+v", effect)
		}
		r.shut(e)
	}
	r.launch(1, vm, r.let(1))
	must(t, unix.Kill(r.m.process(mkey{"db-1", 1}).PID, unix.SIGSTOP)) // QEMU itself
	killed(1)

	r.launch(2, vm, r.let(2))
	must(t, unix.Kill(r.tgtd, unix.SIGSTOP))
	eventually(t, "beats of a guest that stands still", func() error {
		x := r.m.get(mkey{"db-1", 2})
		r.m.mu.Lock()
		defer r.m.mu.Unlock()
		if !x.sight.answers(time.Now()) || x.sight.mayEnd(time.Now()) {
			return errNotYet
		}
		return nil
	})
	effect, err := r.do(r.command(fleet.StepStop, 2, vm, nil))
	must(t, unix.Kill(r.tgtd, unix.SIGCONT))
	must(t, err)
	if !strings.Contains(effect.Detail, "SIGKILL") {
		t.Errorf("%+v", effect)
	}
	r.shut(2)
}

// A real guest holds still when it is asked to: it beats on and writes nothing, goes on
// when it is told to, and can be stopped while it holds still. One that does not answer
// in time goes on, too.
func TestMachineQuiesces(t *testing.T) {
	r := newRig(t)
	vm := r.template()
	r.launch(1, vm, r.let(1))
	said, err := r.m.Quiesce(t.Context(), "db-1", 1)
	must(t, err)
	if !strings.Contains(said, "holds still, with 0 file systems frozen") {
		t.Errorf("it says %q", said)
	}
	last := r.log().Last.Seq
	first, _ := r.m.Heard("db-1", 1)
	eventuallyFor(t, 30*time.Second, "it beats on", func() error {
		if b, _ := r.m.Heard("db-1", 1); b.Seq < first.Seq+20 {
			return fmt.Errorf("beat %d after %d", b.Seq, first.Seq)
		}
		return nil
	})
	if now := r.log().Last.Seq; now != last {
		t.Errorf("it wrote %d records while it held still", now-last)
	}
	r.m.Thaw("db-1", 1)
	r.writes(1)

	mon := r.monitor()
	must(t, mon.Pause(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if said, err := r.m.Quiesce(ctx, "db-1", 1); !errors.Is(err, errNoAnswer) {
		t.Errorf("a guest that is held says %q, %v", said, err)
	}
	must(t, mon.Continue(t.Context()))
	r.writes(1)

	_, err = r.m.Quiesce(t.Context(), "db-1", 1)
	must(t, err)
	effect, err := r.do(r.command(fleet.StepStop, 1, vm, nil))
	must(t, err)
	if effect.Detail != "exited with code 0" {
		t.Errorf("it was not powered down: %s", effect.Detail)
	}
	r.shut(1)
}

// A real guest feeds its watchdog, and hangs: the watchdog resets the machine, which is
// seen and told with its console, and writes on as the same epoch, with nobody's help.
func TestMachineWatchdogResetsIt(t *testing.T) {
	r := newRig(t)
	vm := r.template()
	vm.Watchdog = true
	r.launch(1, vm, r.let(1))
	pid := r.m.process(mkey{"db-1", 1}).PID
	must(t, r.m.Order("db-1", 1, guest.Order{Kind: guest.Hang}))
	eventuallyFor(t, 2*time.Minute, "the watchdog fires", func() error {
		if i := r.instance(1); i.Alive != fleet.Yes || !strings.Contains(i.Detail, "its watchdog reset it 1 times") {
			return fmt.Errorf("%+v", i)
		}
		return nil
	})
	last := r.log().Last.Seq
	eventuallyFor(t, 90*time.Second, "records after the reset", func() error {
		if now := r.log().Last; now.Seq <= last || now.Epoch != 1 {
			return fmt.Errorf("%+v after %d", now, last)
		}
		return nil
	})
	if now := r.m.process(mkey{"db-1", 1}).PID; now != pid {
		t.Errorf("process %d became %d", pid, now)
	}
	kept, err := filepath.Glob(filepath.Join(r.dir, "machines/consoles/db-1.1-*.log"))
	must(t, err)
	if len(kept) != 1 {
		t.Fatalf("consoles: %v", kept)
	}
	if b, err := os.ReadFile(kept[0]); err != nil || !strings.Contains(string(b), "the watchdog is armed") || !strings.Contains(string(b), "told to hang") {
		t.Errorf("the console does not say what was before: %s, %v", b, err)
	}
	must(t, r.m.End(t.Context(), "db-1", 1))
	r.shut(1)
}
