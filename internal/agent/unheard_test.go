package agent

import (
	"context"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// A machine that is silent and does I/O gets no answer at all from its heartbeat
// check; one that is only silent gets a no.
func TestSilentButAtWorkIsNotDead(t *testing.T) {
	d := newFake()
	a, err := New(Options{Dir: t.TempDir(), Name: "host-1", Driver: d})
	must(t, err)
	d.become("a", 1, fleet.InstanceRunning)
	s := subject{server: "a", epoch: 1}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.listen(ctx, s, fleet.Check{Beat: true, Timeout: fleet.Duration(5 * time.Millisecond)})
	}()
	for _, unheard := range []bool{false, true, false} {
		d.mu.Lock()
		d.instances[0].Unheard = unheard
		d.mu.Unlock()
		want := fleet.No
		if unheard {
			want = fleet.CannotTell
		}
		eventually(t, "the check's answer", func() error {
			if saw, ok := a.board.get(a.board.checks, s); !ok || saw.works != want || saw.detail == "" {
				return errNotYet
			}
			return nil
		})
	}
	cancel()
	<-done
	a.tasks.Wait()
}
