package provider

import (
	"context"
	"slices"
	"sync"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// The wrappers, from the outside to the adapter:
//
//	WithAuthority(WithRetry(WithPacing(WithDryRun(adapter))))
//
// Authority comes first, so that nothing is retried that must not be sent at all;
// its context ends the waits within when the lease ends. Retry is outside pacing,
// so that each try pays for itself and back-off never holds a token. A dry run is
// innermost: all that stands before the platform is exercised, the platform is not.

// Clock is time for wrappers that wait.
type Clock interface {
	Now() time.Time
	// Pause returns after d, or sooner if wake delivers or is closed. It returns
	// the context's error if that ends first. A nil wake never delivers.
	Pause(ctx context.Context, d time.Duration, wake <-chan struct{}) error
}

// WallClock is the real time.
type WallClock struct{}

// Now implements Clock.
func (WallClock) Now() time.Time { return time.Now() }

// Pause implements Clock.
func (WallClock) Pause(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Limit is a token bucket: Burst calls at once, PerSecond in the long run. Both
// must be positive.
type Limit struct {
	PerSecond float64
	Burst     int
}

// Limits say how fast calls may go out. A call waits for all buckets that it uses.
type Limits struct {
	// Steps limits by kind of step.
	Steps map[fleet.StepKind]Limit
	// APIs limits by the platform's own names, such as RunInstances, and Uses
	// tells which of them a call uses. A nil Uses means none.
	APIs map[string]Limit
	Uses func(Call) []string
}

// pacePatience is the wait after which a call goes before all that wait less
// long, whatever their priority, so that no server starves (L4).
const pacePatience = time.Minute

// WithPacing wraps a provider so that Do waits for its place in the token buckets:
// of several that wait for one bucket, the server with the highest priority goes
// first, then the one that waits longest. A call whose proof grows stale while it
// waits is refused: its evidence must be looked at again. Observe is not paced.
func WithPacing(inner Provider, limits Limits, clock Clock) Provider {
	p := &pacer{Provider: inner, limits: limits, clock: clock, buckets: map[string]*bucket{}}
	for kind, l := range limits.Steps {
		p.buckets["step "+string(kind)] = newBucket(l, clock.Now())
	}
	for api, l := range limits.APIs {
		p.buckets["api "+api] = newBucket(l, clock.Now())
	}
	return p
}

type pacer struct {
	Provider
	limits Limits
	clock  Clock

	mu      sync.Mutex
	buckets map[string]*bucket
	seq     uint64
	waiting []*waiter
}

type bucket struct {
	Limit
	tokens float64
	at     time.Time
}

func newBucket(l Limit, now time.Time) *bucket {
	return &bucket{Limit: l, tokens: float64(l.Burst), at: now}
}

func (b *bucket) fill(now time.Time) {
	if now.After(b.at) {
		b.tokens = min(float64(b.Burst), b.tokens+now.Sub(b.at).Seconds()*b.PerSecond)
		b.at = now
	}
}

// wholeToken absorbs the rounding of the sums above: a wait for exactly the
// missing part must end with a token.
const wholeToken = 1 - 1e-6

// missing is how long it takes until a token is there.
func (b *bucket) missing() time.Duration {
	if b.tokens >= wholeToken {
		return 0
	}
	return max(time.Duration((1-b.tokens)/b.PerSecond*float64(time.Second)), time.Microsecond)
}

type waiter struct {
	uses     []string
	priority int
	seq      uint64
	since    time.Time
	granted  bool
	// leads is true for those whose turn is next at one of their buckets: they
	// alone watch the clock, so that a crowd does not wake at each token.
	leads bool
	wake  chan struct{}
}

func (w *waiter) poke() {
	select {
	case w.wake <- struct{}{}:
	default: // it is poked already
	}
}

// Do implements Provider.
func (p *pacer) Do(ctx context.Context, call Call) (Outcome, error) {
	if err := p.wait(ctx, call); err != nil {
		return Outcome{}, err
	}
	if err := checkFresh(call, p.clock.Now()); err != nil {
		return Outcome{}, err
	}
	return p.Provider.Do(ctx, call)
}

func (p *pacer) uses(call Call) []string {
	names := []string{"step " + string(call.Step.Kind)}
	if p.limits.Uses != nil {
		for _, api := range p.limits.Uses(call) {
			names = append(names, "api "+api)
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return p.buckets[n] == nil })
}

func (p *pacer) wait(ctx context.Context, call Call) error {
	uses := p.uses(call)
	if len(uses) == 0 {
		return nil
	}
	p.mu.Lock()
	p.seq++
	me := &waiter{uses: uses, priority: call.Server.Spec.Priority, seq: p.seq, since: p.clock.Now(), wake: make(chan struct{}, 1)}
	p.waiting = append(p.waiting, me)
	for {
		p.grant()
		if me.granted {
			p.mu.Unlock()
			return nil
		}
		pause := p.untilToken(me)
		p.mu.Unlock()
		err := p.clock.Pause(ctx, pause, me.wake)
		p.mu.Lock()
		if me.granted {
			p.mu.Unlock()
			return nil
		}
		if err != nil {
			p.waiting = slices.DeleteFunc(p.waiting, func(w *waiter) bool { return w == me })
			p.grant() // what it stood before may go now
			p.mu.Unlock()
			return Errorf(Retry, call, "waited for its turn: %w", err)
		}
	}
}

// untilToken is how long the waiter's slowest bucket takes to its next token, if
// it is the waiter's turn then. The others are poked when it is theirs.
func (p *pacer) untilToken(w *waiter) time.Duration {
	var d time.Duration
	for _, n := range w.uses {
		d = max(d, p.buckets[n].missing())
	}
	if d == 0 || !w.leads {
		return pacePatience
	}
	return d
}

// grant lets go, in order, all those whose buckets all have a token. One that
// cannot go keeps its buckets from those behind it: else a call that needs two
// buckets would starve behind calls that need one.
func (p *pacer) grant() {
	now := p.clock.Now()
	for _, b := range p.buckets {
		b.fill(now)
	}
	slices.SortFunc(p.waiting, func(a, b *waiter) int { return before(a, b, now) })
	kept := map[string]bool{}
	p.waiting = slices.DeleteFunc(p.waiting, func(w *waiter) bool {
		free, leads := true, false
		for _, n := range w.uses {
			leads = leads || !kept[n]
			free = free && !kept[n] && p.buckets[n].tokens >= wholeToken
		}
		if !free {
			for _, n := range w.uses {
				kept[n] = true
			}
			if leads && !w.leads {
				w.poke()
			}
			w.leads = leads
			return false
		}
		for _, n := range w.uses {
			p.buckets[n].tokens--
		}
		w.granted = true
		w.poke()
		return true
	})
}

func before(a, b *waiter, now time.Time) int {
	aLong, bLong := now.Sub(a.since) >= pacePatience, now.Sub(b.since) >= pacePatience
	switch {
	case aLong != bLong:
		if aLong {
			return -1
		}
		return 1
	case !aLong && a.priority != b.priority:
		return b.priority - a.priority
	case a.seq < b.seq:
		return -1
	default:
		return 1
	}
}

// checkFresh refuses to send a call that starts or attaches on a proof whose
// evidence has grown older, in a wait, than it is trusted for: what was stopped
// then may run again.
func checkFresh(call Call, now time.Time) error {
	if !call.Step.Kind.NeedsProof() {
		return nil
	}
	for _, e := range call.Proof.Evidence() {
		if !e.Method.Final() && now.Sub(e.At) > fence.PerishableFor {
			return Errorf(Refused, call, "the proof's evidence (%s) is %s old and must be looked at again", e.Method, now.Sub(e.At))
		}
	}
	return nil
}
