package simulate

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"relight/internal/store"
)

// memberWorld is an engine whose only client is the test, which writes once a second.
type memberWorld struct {
	*engine
	t     *testing.T
	via   int
	n     int
	acked map[string]bool
}

func newMemberWorld(t *testing.T, members int) *memberWorld {
	t.Helper()
	sc, err := ParseWorld("world", fmt.Sprintf("seed 1\nmembers %d\nsite rack-1 rack\nhost host-1 in rack-1\n", members))
	if err != nil {
		t.Fatal(err)
	}
	sc.Spec = "apiVersion: relight/v1alpha1\nkind: Policy\nmetadata: {name: default}\nspec: {mode: auto}\n"
	e, err := newEngine(sc)
	if err != nil {
		t.Fatal(err)
	}
	e.brains[0].up = false // its life is over: the test is alone with the store
	e.brains[0].life++
	return &memberWorld{engine: e, t: t, acked: map[string]bool{}}
}

func (w *memberWorld) wait(d time.Duration) { w.world.RunUntil(w.clock.Now().Add(d)) }

// write writes a key of its own, and notes whether it was acknowledged.
func (w *memberWorld) write() error {
	w.t.Helper()
	w.n++
	key := fmt.Sprintf("key-%03d", w.n)
	_, err := w.quorum.commit(&w.via, store.Txn{Ops: []store.Op{{Key: key, Value: []byte("x")}}})
	switch {
	case err == nil:
		w.acked[key] = true
	case !errors.Is(err, store.ErrUnavailable):
		w.t.Fatal(err)
	}
	return err
}

// fault strikes, and returns its end.
func (w *memberWorld) fault(text string) func() {
	w.t.Helper()
	f, err := ParseFaults("fault", "at 0s member "+text)
	if err != nil {
		w.t.Fatal(err)
	}
	k, err := kindOf(f[0])
	if err != nil {
		w.t.Fatal(err)
	}
	end, err := k.apply(w.engine, f[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return end
}

// lost is how many acknowledged keys whoever leads now does not serve.
func (w *memberWorld) lost() (n int) {
	w.t.Helper()
	if err := w.quorum.read(&w.via); err != nil {
		w.t.Fatal(err)
	}
	for key := range w.acked { // counts: the order is all one
		if _, err := w.store.Get(w.t.Context(), key); err != nil {
			n++
		}
	}
	return n
}

// A minority may be lost: writes go on. Without a majority none is acknowledged, and
// nothing can be read.
func TestMajorityOfMembers(t *testing.T) {
	w := newMemberWorld(t, 3)
	one := w.fault("m3 dies")
	if err := w.write(); err != nil {
		t.Fatalf("with two of three: %v", err)
	}
	two := w.fault("m2 dies")
	if err := w.write(); err == nil {
		t.Fatal("a write was acknowledged by one of three")
	}
	if err := w.quorum.read(&w.via); err == nil {
		t.Fatal("one of three answers a read")
	}
	two()
	w.wait(10 * time.Second)
	one()
	w.wait(10 * time.Second)
	if err := w.write(); err != nil || w.lost() > 0 || len(w.quorum.copies()) != 3 {
		t.Fatalf("%v, %d lost, %d copies", err, w.lost(), len(w.quorum.copies()))
	}
}

// The leader dies in the middle of a write: it counts where the next leader has it.
func TestLeaderDiesHalfway(t *testing.T) {
	for copies, counts := range map[int]bool{0: false, 1: true} {
		w := newMemberWorld(t, 3)
		w.fault(fmt.Sprintf("leader dies-halfway %d", copies))
		if err := w.write(); err == nil {
			t.Fatal("a write of which nobody can tell was acknowledged")
		}
		if err := w.write(); err == nil {
			t.Fatal("a write without a leader was acknowledged")
		}
		w.wait(10 * time.Second)
		if err := w.write(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.Get(t.Context(), "key-001"); (err == nil) != counts {
			t.Errorf("%d copies: %v", copies, err)
		}
	}
}

// A leader that is cut off acknowledges nothing, and forgets what it took meanwhile.
func TestLeaderIsCutOff(t *testing.T) {
	w := newMemberWorld(t, 3)
	joined := w.fault("leader cut")
	if err := w.write(); err == nil {
		t.Fatal("a leader without a majority acknowledged a write")
	}
	w.wait(10 * time.Second)
	if err := w.write(); err != nil {
		t.Fatal(err)
	}
	joined()
	w.wait(10 * time.Second)
	if _, err := w.store.Get(t.Context(), "key-001"); err == nil || w.lost() > 0 || len(w.quorum.copies()) != 3 {
		t.Errorf("%v, %d lost, %d copies", err, w.lost(), len(w.quorum.copies()))
	}
}

// Who comes back with less than it acknowledged must not be counted. The second half
// shows what is lost otherwise.
func TestMemberComesBackEmpty(t *testing.T) {
	for _, how := range []string{"m2 emptied", "m2 torn 1"} {
		for _, trusting := range []bool{false, true} {
			w := newMemberWorld(t, 3)
			w.quorum.trusting = trusting
			third := w.fault("m3 dies")
			if err := w.write(); err != nil {
				t.Fatal(err)
			}
			back := w.fault(how)
			first := w.fault("m1 dies")
			back()
			third()
			w.wait(10 * time.Second)
			err := w.write()
			if !trusting {
				if err == nil {
					t.Fatalf("%s: a member that lost its records was counted", how)
				}
				first()
				w.wait(10 * time.Second)
				if err := w.write(); err != nil {
					t.Fatal(err)
				}
			}
			if lost := w.lost() > 0; lost != trusting {
				t.Errorf("%s, trusting %v: lost %v", how, trusting, lost)
			}
		}
	}
}
