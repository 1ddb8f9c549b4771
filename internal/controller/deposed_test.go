package controller

import (
	"context"
	"errors"
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/store"
	"relight/internal/store/mem"
	"relight/internal/world"
)

// doubtful is a store that loses the answer of one commit.
type doubtful struct {
	store.Store
	loses bool
}

func (d *doubtful) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	if d.loses {
		d.loses = false
		return 0, store.ErrUnavailable
	}
	return d.Store.Commit(ctx, txn)
}

// After a doubtful write a controller reads everything afresh, its successor's term
// included, so that no compare fails: it must write nothing more, now and later.
func TestDeposedAfterADoubtfulWrite(t *testing.T) {
	clock := world.NewVirtual(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC))
	common := mem.New(mem.Options{Now: clock.Now})
	begin := func(name string, st store.Store) (*Reigning, *Journal) {
		t.Helper()
		j := NewJournal(NewState(), st)
		if err := j.State.Load(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		r := NewReigning(j, clock, name, time.Minute)
		if err := r.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r, j
	}
	write := func(j *Journal) error {
		return j.Do(t.Context(), clock.Now(), func(tx *Tx) error {
			tx.Emit(event.Event{Kind: event.Held, Server: "db", Message: "x"})
			return nil
		})
	}
	link := &doubtful{Store: common}
	_, first := begin("first", link)
	link.loses = true
	if err := write(first); !errors.Is(err, store.ErrUnavailable) {
		t.Fatal(err)
	}
	_, second := begin("second", common)
	for n := range 3 {
		if err := write(first); !errors.Is(err, ErrLostAuthority) {
			t.Errorf("write %d of the first one: %v", n+1, err)
		}
	}
	if err := write(second); err != nil {
		t.Error(err)
	}
}
