package aws

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"relight/internal/provider"
)

// Queue holds events of the account until they are deleted; package sdk has SQS's.
type Queue interface {
	// Receive returns what waits, or nothing after a while.
	Receive(ctx context.Context) ([]Message, error)
	// Delete takes a message out for ever.
	Delete(ctx context.Context, m Message) error
}

// Message is one event. A queue may deliver it twice, late, or never.
type Message struct{ ID, Receipt, Body string }

// Waker turns events into looks. An event is never evidence: it says where to look
// now, and what is seen then decides. So nothing is waited for, what comes twice is
// dropped, what is not understood is told and dropped, and what never comes costs no
// more than the time until the next sweep.
type Waker struct {
	// ServerOf names the server of an instance, if it is one of ours.
	serverOf func(instance string) (string, bool)
	clock    provider.Clock
	log      *slog.Logger
	wakes    chan string

	mu     sync.Mutex
	recent map[string]bool
	order  []string
	counts Wakes
	allAt  time.Time
}

// Wakes counts events by what became of them.
type Wakes struct {
	// Woke had a server looked at, All every one; Foreign spoke of instances that are not
	// ours; Again came twice; Unknown were not understood; Late found no room.
	Woke, All, Foreign, Again, Unknown, Late int
}

const (
	// waiting is how many wake-ups may wait; more are dropped, for the sweeps.
	waiting = 1024
	// remembered is how many messages are known again.
	remembered = 4096
	// allEvery is how often an event that names no instance may have all looked at: a
	// sweep of everything takes tokens that recoveries need.
	allEvery = 30 * time.Second
	// queueRetry is the pause after a queue that could not be read.
	queueRetry = 5 * time.Second
)

// NewWaker returns a waker. ServerOf is Provider.ServerOf.
func NewWaker(serverOf func(string) (string, bool), clock provider.Clock, log *slog.Logger) *Waker {
	return &Waker{serverOf: serverOf, clock: clock, log: log, wakes: make(chan string, waiting), recent: map[string]bool{}}
}

// C delivers the names of the servers to look at; "" means all.
func (w *Waker) C() <-chan string { return w.wakes }

// Counts returns what became of the events so far.
func (w *Waker) Counts() Wakes {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// Poll reads a queue until ctx ends. A queue that cannot be read is told of once, and
// asked again: the sweeps go on without it.
func (w *Waker) Poll(ctx context.Context, q Queue) {
	failed := false
	for ctx.Err() == nil {
		list, err := q.Receive(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failed {
				w.log.Warn("cannot read the queue of events; failures are noticed by sweeps alone", "err", err)
			}
			failed = true
			_ = w.clock.Pause(ctx, queueRetry, nil) // the loop asks whether ctx has ended
			continue
		case failed:
			w.log.Info("the queue of events is read again")
			failed = false
		}
		for _, m := range list {
			w.Take(m.ID, m.Body)
			// After it was taken: one that this process dies with comes again.
			if err := q.Delete(ctx, m); err != nil && ctx.Err() == nil {
				w.log.Info("an event could not be deleted and will come again", "err", err)
			}
		}
	}
}

// Forward passes on the wake-ups of another source until ctx ends.
func (w *Waker) Forward(ctx context.Context, from <-chan string) {
	for {
		select {
		case server := <-from:
			w.mu.Lock()
			w.deliver(server, &w.counts.Woke)
			w.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// Wake passes on news about servers, such as of their arrays.
func (w *Waker) Wake(servers []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, server := range servers {
		w.deliver(server, &w.counts.Woke)
	}
}

// Take turns one event into wake-ups.
func (w *Waker) Take(id, body string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.again(id) {
		w.counts.Again++
		return
	}
	e, ok := parseEvent(body)
	if !ok {
		w.counts.Unknown++
		w.log.Info("an event was not understood and is dropped", "id", id, "begins", body[:min(len(body), 200)])
		return
	}
	if len(e.instances) == 0 {
		w.all()
		return
	}
	ours := false
	for _, instance := range e.instances {
		if server, is := w.serverOf(instance); is {
			ours = true
			w.deliver(server, &w.counts.Woke)
		}
	}
	if !ours {
		w.counts.Foreign++
	}
}

// all has everything looked at, now and then.
func (w *Waker) all() {
	now := w.clock.Now()
	if !w.allAt.IsZero() && now.Sub(w.allAt) < allEvery {
		w.counts.Late++
		return
	}
	w.allAt = now
	w.deliver("", &w.counts.All)
}

func (w *Waker) deliver(server string, count *int) {
	select {
	case w.wakes <- server:
		*count++
	default:
		w.counts.Late++
	}
}

// again reports whether a message came before. Without an id that cannot be told.
func (w *Waker) again(id string) bool {
	if id == "" {
		return false
	}
	if w.recent[id] {
		return true
	}
	w.recent[id] = true
	w.order = append(w.order, id)
	if len(w.order) > remembered {
		delete(w.recent, w.order[0])
		w.order = w.order[1:]
	}
	return false
}
