package agent

import (
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
