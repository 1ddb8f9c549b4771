package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/pace"
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

// Limits say how fast calls may go out to one account and region.
type Limits struct {
	// APIs are the platform's own limits, and Uses tells which of them a call uses.
	// A call that uses none does not wait.
	APIs []pace.API
	Uses func(Call) []string
}

// Paced is a provider whose calls wait for their turn in the platform's token
// buckets: of several that wait for one bucket, the server with the highest
// priority goes first, then the one that waits longest; see package pace. Observe
// is not paced.
//
// A caller that must not wait asks Turn first and comes back when Due names its
// server; its Do then goes at once. One that does not ask waits in Do.
type Paced struct {
	Provider
	uses  func(Call) []string
	clock Clock

	mu      sync.Mutex
	machine *pace.Machine
	seq     uint64
	// turns are the calls that asked, by server: a server makes one at a time. due
	// are the servers whose turn has come since Due was last asked.
	turns map[string]*turn
	due   []string
	// waiters wait in Do; the first of them watches the clock for all, so that a
	// crowd does not wake at each token.
	waiters []*waiter
}

// turn is a call that asked and did not wait.
type turn struct {
	id string
	// at is when its turn came; zero while it waits.
	at time.Time
}

// waiter is a call that waits in Do.
type waiter struct {
	id      string
	granted bool
	wake    chan struct{}
}

func (w *waiter) poke() {
	select {
	case w.wake <- struct{}{}:
	default: // it is poked already
	}
}

// turnFor is how long a turn that came is kept for its caller, who may have found
// that nothing is to be done any more.
const turnFor = 10 * time.Second

// WithPacing wraps a provider so that its calls wait for their turn. A call whose
// proof grows stale while it waits is refused: its evidence must be looked at again.
func WithPacing(inner Provider, limits Limits, clock Clock) *Paced {
	return &Paced{
		Provider: inner, uses: limits.Uses, clock: clock, turns: map[string]*turn{},
		machine: pace.New(pace.Config{APIs: limits.APIs}, clock.Now()),
	}
}

// Turn reports whether the call may go now. If not, it waits from now on without
// its caller: Due names its server when its turn has come. Since is when its server
// began to wait for its recovery; the zero time means now.
func (p *Paced) Turn(call Call, since time.Time) bool {
	uses := p.uses(call)
	if len(uses) == 0 {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	server, id := call.Step.Server, turnID(call)
	t := p.turns[server]
	if t == nil || t.id != id {
		if t != nil {
			p.machine.Withdraw(t.id) // another step is due by now
		}
		t = &turn{id: id}
		p.turns[server] = t
		p.machine.Offer(pace.Work{ID: id, Server: server, Uses: uses, Priority: call.Server.Spec.Priority, Since: since}, p.clock.Now())
	}
	p.grant()
	if t.at.IsZero() {
		return false
	}
	p.due = slices.DeleteFunc(p.due, func(s string) bool { return s == server })
	return true
}

// turnID names a call among those that wait. It leaves out the token: until its
// recovery has begun, a step is decided afresh, with another token, at each look.
func turnID(call Call) string {
	return strings.Join([]string{call.Step.Server, string(call.Step.Kind), call.Step.Object.String()}, "\x00")
}

// Due returns the servers whose turn has come since it was last asked. It is asked
// several times a second, whatever happens.
func (p *Paced) Due() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grant()
	now := p.clock.Now()
	for server, t := range p.turns { // order: each is looked at alone
		if !t.at.IsZero() && now.Sub(t.at) > turnFor {
			delete(p.turns, server)
		}
	}
	due := p.due
	p.due = nil
	return due
}

// Waiting counts the calls whose turn has not come.
func (p *Paced) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.machine.Waiting()
}

// Do implements Provider.
func (p *Paced) Do(ctx context.Context, call Call) (Outcome, error) {
	uses := p.uses(call)
	if len(uses) == 0 {
		return p.Provider.Do(ctx, call)
	}
	if !p.takeTurn(call) {
		if err := p.wait(ctx, call, uses); err != nil {
			return Outcome{}, err
		}
	}
	if err := checkFresh(call, p.clock.Now()); err != nil {
		return Outcome{}, err
	}
	out, err := p.Provider.Do(ctx, call)
	if errors.Is(err, ErrThrottled) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, api := range uses {
			p.machine.Throttled(api, p.clock.Now())
		}
	}
	return out, err
}

// takeTurn uses up the turn of a call that asked before. One that still waits is
// withdrawn: its caller waits in Do instead.
func (p *Paced) takeTurn(call Call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.turns[call.Step.Server]
	if t == nil || t.id != turnID(call) {
		return false
	}
	delete(p.turns, call.Step.Server)
	if t.at.IsZero() {
		p.machine.Withdraw(t.id)
	}
	return !t.at.IsZero()
}

func (p *Paced) wait(ctx context.Context, call Call, uses []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	me := &waiter{id: fmt.Sprint("waits in Do ", p.seq), wake: make(chan struct{}, 1)}
	p.waiters = append(p.waiters, me)
	defer p.leave(me)
	p.machine.Offer(pace.Work{ID: me.id, Server: call.Step.Server, Uses: uses, Priority: call.Server.Spec.Priority}, p.clock.Now())
	p.waiters[0].poke() // it may have to look at the clock sooner
	for {
		p.grant()
		if me.granted {
			return nil
		}
		pause := time.Hour
		if p.waiters[0] == me {
			if next := p.machine.Next(p.clock.Now()); !next.IsZero() {
				pause = next.Sub(p.clock.Now())
			}
		}
		p.mu.Unlock()
		err := p.clock.Pause(ctx, pause, me.wake)
		p.mu.Lock()
		if me.granted {
			return nil
		}
		if err != nil {
			p.machine.Withdraw(me.id)
			return Errorf(Retry, call, "waited for its turn: %w", err)
		}
	}
}

// leave takes a waiter out; the one that is first now watches the clock.
func (p *Paced) leave(w *waiter) {
	p.waiters = slices.DeleteFunc(p.waiters, func(o *waiter) bool { return o == w })
	if len(p.waiters) > 0 {
		p.waiters[0].poke()
	}
}

// grant gives their turn to all that may go now.
func (p *Paced) grant() {
	now := p.clock.Now()
	for _, g := range p.machine.Take(now) {
		for _, w := range g.Works {
			if t := p.turns[w.Server]; t != nil && t.id == w.ID {
				t.at = now
				p.due = append(p.due, w.Server)
				continue
			}
			for _, waits := range p.waiters {
				if waits.id == w.ID {
					waits.granted = true
					waits.poke()
				}
			}
		}
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
