package controller

import (
	"testing"
	"time"

	"relight/internal/store/mem"
	"relight/internal/world"
)

// The machine is suspended for longer than the lease: Go's clock has stood still, and by it
// the lease holds. Nothing may be begun before the lease was renewed (S10).
func TestLeaseEndsInASuspend(t *testing.T) {
	clock := world.NewVirtual(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC))
	slept := time.Duration(0)
	since := clock.Now()
	journal := NewJournal(NewState(), mem.New(mem.Options{Now: clock.Now}))
	r := NewReigning(journal, clock, "one", 10*time.Second)
	r.CountBy(func() int64 { return int64(time.Hour + slept + clock.Now().Sub(since)) })
	if err := r.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	may := func() bool {
		allowed, now := r.Allowed(t.Context()) == nil, clock.Now()
		if until := r.Authority().Until; allowed != now.Before(until) {
			t.Errorf("allowed: %v, and the view says until %s at %s", allowed, until, now)
		}
		return allowed
	}
	clock.Advance(2 * time.Second)
	if !may() {
		t.Error("not allowed after a fifth of the lease")
	}
	slept += time.Hour
	if may() {
		t.Error("allowed after an hour's sleep")
	}
	if err := r.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !may() {
		t.Error("not allowed with a lease that was renewed")
	}
	slept += 5 * time.Second
	clock.Advance(4 * time.Second)
	if !may() {
		t.Error("not allowed after nine tenths of the lease, half of it asleep")
	}
	clock.Advance(time.Second)
	if may() {
		t.Error("allowed after a lease, half of it asleep")
	}
}
