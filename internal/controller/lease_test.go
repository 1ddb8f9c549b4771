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

// A controller whose machine was suspended has stood still, though its clock has not gone on:
// what it knows is of before (S4).
func TestSuspendIsAStall(t *testing.T) {
	clock := world.NewVirtual(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC))
	slept, since := time.Duration(0), clock.Now()
	c := NewCollector(clock.Now(), 3*time.Second)
	c.CountBy(func() int64 { return int64(time.Hour + slept + clock.Now().Sub(since)) })
	for range 3 {
		clock.Advance(50 * time.Millisecond)
		c.Tick(clock.Now())
	}
	if c.observer.Stall != 0 {
		t.Errorf("it is called a stall of %s that it began to look", c.observer.Stall)
	}
	slept += time.Hour
	clock.Advance(50 * time.Millisecond)
	c.Tick(clock.Now())
	if o := c.observer; o.Stall < time.Hour || !o.StalledAt.Equal(clock.Now()) {
		t.Errorf("after an hour's sleep: a stall of %s that ended at %s", o.Stall, o.StalledAt)
	}
}
