package world

import (
	"sync"
	"time"
)

// Clock tells the world what time it is: virtual in the simulator, wall time
// (perhaps times a factor) behind a live endpoint.
type Clock interface {
	Now() time.Time
}

// Virtual is a clock that stands still until it is moved. It is safe for
// concurrent use and never goes back.
type Virtual struct {
	mu  sync.Mutex
	now time.Time
}

// NewVirtual returns a clock that stands at start.
func NewVirtual(start time.Time) *Virtual { return &Virtual{now: start} }

// Now implements Clock.
func (v *Virtual) Now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// Advance moves the clock alone. Events of a world on this clock that fall due
// are processed at the next Step or RunUntil, late; World.Advance is what moves
// both.
func (v *Virtual) Advance(d time.Duration) { v.Set(v.Now().Add(d)) }

// Set moves the clock forward to t; a t in the past leaves it as it is.
func (v *Virtual) Set(t time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t.After(v.now) {
		v.now = t
	}
}
