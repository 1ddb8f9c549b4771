package drill

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// writePace is the least time from one write to the next.
	writePace = 100 * time.Millisecond
	// writeWithin is how long one write may take before it counts as not acknowledged.
	writeWithin = 2 * time.Second
)

// writer writes to one server without a pause and remembers what was acknowledged. No
// write is repeated: one whose answer was lost may or may not be in the data.
type writer struct {
	breaker Breaker
	server  string
	cancel  context.CancelFunc
	done    chan struct{}

	mu    sync.Mutex
	acked []uint64
	last  time.Time
	pause time.Duration
	// mute is true if nobody can write here.
	mute bool
}

// begin starts to write; ids begin above first.
func begin(ctx context.Context, b Breaker, server string, first uint64) *writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &writer{breaker: b, server: server, cancel: cancel, done: make(chan struct{}), last: time.Now()}
	go func() {
		defer close(w.done)
		pace := time.NewTicker(writePace)
		defer pace.Stop()
		for id := first + 1; ctx.Err() == nil; id++ {
			if !w.write(ctx, id) {
				return
			}
			select {
			case <-ctx.Done():
			case <-pace.C:
			}
		}
	}()
	return w
}

// write makes one write; false if nobody can. It is not bound to the end of the drill:
// one that was given up in the middle could be acknowledged without our knowing.
func (w *writer) write(ctx context.Context, id uint64) bool {
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWithin)
	defer cancel()
	err := w.breaker.Write(one, w.server, id)
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(err, ErrCannot) {
		w.mute = true
		return false
	}
	if err == nil {
		now := time.Now()
		w.pause = max(w.pause, now.Sub(w.last))
		w.acked, w.last = append(w.acked, id), now
	}
	return true
}

// since reports whether a write was acknowledged after a time, or nobody can write.
func (w *writer) since(at time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mute || len(w.acked) > 0 && w.last.After(at)
}

// end stops the writing and returns what was acknowledged, with the longest pause.
func (w *writer) end() (acked []uint64, pause time.Duration) {
	w.cancel()
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked, w.pause
}
