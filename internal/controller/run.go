package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// Pace is how often the loops turn.
type Pace struct {
	// Scan is the beat of the deadline table.
	Scan time.Duration
	// Sweep is how often all servers are observed in one batch; 0 leaves it to the
	// wiring.
	Sweep time.Duration
	// Workers is how many recoveries are carried at once.
	Workers int
}

// DefaultPace suits a real fleet.
func DefaultPace() Pace { return Pace{Scan: 50 * time.Millisecond, Workers: 256} }

// Loops is the thin runner around Healer: it owns the goroutines and timers, and
// no decision.
type Loops struct {
	Healer    *Healer
	Collector *Collector
	State     *State
	Reigning  *Reigning
	Deadlines *Deadlines
	Providers map[string]provider.Provider
	Clock     Clock
	Pace      Pace
	// Sweeps is how often the servers of a provider are observed, by its name, where
	// that differs from Pace.Sweep.
	Sweeps map[string]time.Duration
	Log    *slog.Logger
	// Scanned is told of each scan, for metrics; may be nil.
	Scanned func(due int)
	// Renewed is told of each renewal of the lease; may be nil.
	Renewed func()

	// barred is true while the controller may not act; the scanning loop's own.
	barred bool
	room   room

	mu   sync.Mutex
	busy map[string]bool
	poke chan struct{}
	// lease ends with this controller's authority; all destructive work runs under it.
	lease context.Context
}

// Run turns the loops until ctx ends or the authority is lost. It returns once
// all passes have ended.
func (l *Loops) Run(ctx context.Context) error {
	l.busy, l.poke = map[string]bool{}, make(chan struct{}, 1)
	lease, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	l.lease = lease
	var wg sync.WaitGroup
	wg.Go(func() { l.renew(lease, lost) })
	for _, name := range sortedKeys(l.Providers) {
		p := l.Providers[name]
		wg.Go(func() { l.sweep(lease, name, p) })
		if p.Wakes() != nil {
			wg.Go(func() { l.wakes(lease, name, p) })
		}
	}
	for _, name := range l.State.ServerNames() {
		l.Deadlines.Wake(name, l.Clock.Now())
	}
	l.scan(lease, &wg)
	wg.Wait()
	if cause := context.Cause(lease); ctx.Err() == nil && cause != nil {
		return cause
	}
	return nil
}

// Wake asks for a look at a server now; "" asks for all of them.
func (l *Loops) Wake(name string) {
	now := l.Clock.Now()
	if name != "" {
		l.Deadlines.Wake(name, now)
	} else {
		for _, name := range l.State.ServerNames() {
			l.Deadlines.Wake(name, now)
		}
	}
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

func (l *Loops) renew(ctx context.Context, lost context.CancelCauseFunc) {
	tick := time.NewTicker(l.Reigning.length / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.Reigning.Renew(ctx); err != nil {
			l.Log.Warn("cannot renew the controller's lease", "err", err)
			if errors.Is(err, ErrLostAuthority) {
				lost(err)
				return
			}
			continue
		}
		if l.Renewed != nil {
			l.Renewed()
		}
	}
}

// sweep observes all servers of one provider in a batch, again and again.
func (l *Loops) sweep(ctx context.Context, name string, p provider.Provider) {
	every := l.Pace.Sweep
	if d := l.Sweeps[name]; d > 0 {
		every = d
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var mine []fleet.Server
	for {
		mine = l.State.serversOf(name, mine[:0])
		_ = l.sweepOf(ctx, name, p, mine) // it said so; the next one comes
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweepOf observes some servers of one provider.
func (l *Loops) sweepOf(ctx context.Context, name string, p provider.Provider, mine []fleet.Server) error {
	begun := l.Clock.Now()
	sweep, err := p.Observe(ctx, mine)
	if err != nil {
		l.Log.Warn("a sweep saw nothing", "provider", name, "err", err)
		return fmt.Errorf("observe by %s: %w", name, err)
	}
	if sweep.Blind != "" {
		l.Log.Warn("a sweep did not see everything", "provider", name, "unseen", len(mine)-len(sweep.Servers), "why", sweep.Blind)
	}
	now := l.Clock.Now()
	if took := now.Sub(begun); l.Collector.Swept(name, len(mine), took) {
		l.Log.Warn("a sweep takes so long that failures are noticed later than the rules say", "provider", name, "servers", len(mine), "took", took, "later", 2*took)
	}
	for _, name := range l.Collector.Take(sweep) {
		l.Deadlines.Wake(name, now)
	}
	for _, name := range l.State.recovering(mine) {
		// A recovery waits for the next yes of the server's own check, which
		// changes no answer when it comes.
		l.Deadlines.Wake(name, now)
	}
	return nil
}

// wakes turns a provider's hints into looks: the hinted servers are observed at
// once and are due. Hints that wait share one look. One that names nobody has all
// observed of a provider that is swept seldom.
func (l *Loops) wakes(ctx context.Context, of string, p provider.Provider) {
	for {
		select {
		case <-ctx.Done():
			return
		case name, ok := <-p.Wakes():
			if !ok {
				return
			}
			names := waiting(p.Wakes(), name)
			if slices.Contains(names, "") && l.Sweeps[of] > 0 {
				_ = l.sweepOf(ctx, of, p, l.State.serversOf(of, nil)) // it said so; the next sweep comes
			}
			l.look(ctx, p, names)
			for _, name := range names {
				l.Wake(name)
			}
		}
	}
}

// waiting returns the first hint and those that wait behind it, each server once.
func waiting(hints <-chan string, first string) []string {
	names := []string{first}
	for {
		select {
		case name, ok := <-hints:
			if ok {
				names = append(names, name)
				continue
			}
		default:
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
}

func (l *Loops) look(ctx context.Context, p provider.Provider, names []string) {
	var servers []fleet.Server
	for _, name := range names {
		if server, ok := l.State.Server(name); ok {
			servers = append(servers, l.State.located(server))
		}
	}
	if len(servers) == 0 {
		return
	}
	if sweep, err := p.Observe(ctx, servers); err == nil {
		l.Collector.TakeFor(servers, sweep)
	}
}

// scan turns the deadline table and starts a pass for each server that is due.
func (l *Loops) scan(ctx context.Context, wg *sync.WaitGroup) {
	tick := time.NewTicker(l.Pace.Scan)
	defer tick.Stop()
	slots := make(chan struct{}, l.Pace.Workers)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.poke:
		}
		now := l.Clock.Now()
		l.Collector.Tick(now)
		l.regain(now)
		l.wakeDue(now)
		due := l.byPriority(l.Deadlines.Take(now))
		if l.Scanned != nil {
			l.Scanned(len(due))
		}
		for _, name := range due {
			if t := l.Clock.Now(); t.Sub(now) > l.Pace.Scan {
				// Thousands may be due at once, as when a storm has passed: who is busy with
				// them is not frozen, and must not doubt what it sees.
				l.Collector.Tick(t)
				now = t
			}
			if !l.claim(name) {
				// Its pass runs; that one sets the next deadline. Ask again soon.
				l.Deadlines.Wake(name, now.Add(l.Pace.Scan))
				continue
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				defer func() { <-slots }()
				l.pass(ctx, name)
			})
		}
	}
}

// regain makes every server due once this controller may act again, or a storm has
// passed: what was held for want of the lease or of the store has no time of its own
// to be looked at, and what a storm held only a late one. It also wakes those of
// which a look at others has brought news.
func (l *Loops) regain(now time.Time) {
	may := now.Before(l.Healer.Viewer.Authority().Until) && l.Healer.Viewer.Trouble() == ""
	passed := l.Healer.Viewer.stormPassed(now)
	if may && l.barred || passed {
		for _, name := range l.State.ServerNames() {
			l.Deadlines.Wake(name, now)
		}
	}
	l.barred = !may
	for _, name := range l.Collector.News() {
		l.Deadlines.Wake(name, now)
	}
	l.wakeHomeless(now)
}

// byPriority orders the servers that are due, the most important first.
func (l *Loops) byPriority(names []string) []string {
	if len(names) < 2 {
		return names
	}
	priority := l.State.priorities(names)
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(priority[b], priority[a]), cmp.Compare(names[a], names[b]))
	})
	out := make([]string, len(names))
	for i, n := range order {
		out[i] = names[n]
	}
	return out
}

func (l *Loops) claim(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[name] {
		return false
	}
	l.busy[name] = true
	return true
}

func (l *Loops) release(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, name)
}

// retryAfter is the wait after a pass that could not be made.
const retryAfter = 500 * time.Millisecond

func (l *Loops) pass(ctx context.Context, name string) {
	d, err := l.Healer.Pass(ctx, name)
	l.release(name)
	if _, ok := l.State.Server(name); !ok {
		l.Deadlines.Remove(name)
		l.Collector.Forget(name)
		return
	}
	switch {
	case err != nil && ctx.Err() == nil:
		l.Log.Warn("a pass failed", "server", name, "err", err)
		l.Deadlines.Wake(name, l.Clock.Now().Add(retryAfter))
	default:
		l.Deadlines.Wake(name, nextLook(d, l.Clock.Now()))
	}
}

// nextLook is the decision's own time, not earlier than a moment from now.
func nextLook(d decide.Decision, now time.Time) time.Time {
	if d.LookAgainAt.IsZero() {
		return time.Time{}
	}
	if soon := now.Add(5 * time.Millisecond); d.LookAgainAt.Before(soon) {
		return soon
	}
	return d.LookAgainAt
}
