package controller

import (
	"errors"
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/store"
	"relight/internal/store/etcd"
	"relight/internal/store/etcd/etcdtest"
	"relight/internal/world"
)

// On a cluster of somebody else's a controller takes the term, journals, and is
// shut out by the next one; a neighbour's keys are no business of ours.
func TestControllerOnAnOutsideCluster(t *testing.T) {
	url := etcdtest.Start(t, nil)
	start := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	clock := world.NewVirtual(start)
	var former *Reigning
	begin := func(name string) (*Reigning, *Journal, store.Store) {
		t.Helper()
		st, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{url}, Logger: etcdtest.Log(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		state := NewState()
		if err := state.Load(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		j := NewJournal(state, st)
		r := NewReigning(j, clock, name, time.Minute)
		if wait := r.WaitFor(false); (wait > 0) != (name == "second") {
			t.Errorf("%s waits %s for the one before", name, wait)
		}
		for wait, renews := 61*time.Second, true; ; {
			err := r.Begin(t.Context())
			if err == nil {
				return r, j, st
			}
			if !errors.Is(err, ErrReigns) || clock.Now().Sub(start) > 3*wait {
				t.Fatal(err)
			}
			// The one before renews once while the next one waits.
			clock.Advance(wait)
			if renews {
				if err := former.Renew(t.Context()); err != nil {
					t.Fatal(err)
				}
				renews = false
			}
			if err := state.Load(t.Context(), st); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, journal, st := begin("first")
	if _, err := st.Commit(t.Context(), store.Txn{Ops: []store.Op{{Key: "neighbour/x", Value: []byte("not ours")}}}); err != nil {
		t.Fatal(err)
	}
	held := func(j *Journal) error {
		return j.Do(t.Context(), clock.Now(), func(tx *Tx) error {
			tx.Emit(event.Event{Kind: event.Held, Server: "db", Message: "x"})
			return nil
		})
	}
	if err := errors.Join(held(journal), first.Renew(t.Context())); err != nil {
		t.Fatal(err)
	}
	former = first
	second, other, _ := begin("second")
	if waited := clock.Now().Sub(start); waited < 2*time.Minute {
		t.Errorf("it took the term after %s, while the one before could still act", waited)
	}
	if a, b := first.Authority().Term, second.Authority().Term; b != a+1 {
		t.Errorf("term %d follows %d", b, a)
	}
	if err := held(journal); !errors.Is(err, ErrLostAuthority) {
		t.Errorf("the first one still writes: %v", err)
	}
	if err := held(other); err != nil {
		t.Error(err)
	}
}
