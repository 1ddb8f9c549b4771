package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/spec"
	"relight/internal/store"
)

// SoloOptions are the outer parts of a controller that somebody else turns.
type SoloOptions struct {
	Store     store.Store
	Clock     Clock
	Providers map[string]provider.Provider
	// Owner is the controller's name in its term.
	Owner string
	// Lease is the controller's, Contact the silence after which a host counts as
	// out of contact.
	Lease   time.Duration
	Contact time.Duration
	Log     *slog.Logger
}

// Solo is one controller on one thread and without a clock of its own: the same
// parts as a served one, turned by its caller. A simulator gives it virtual time
// and takes it apart between any two of its calls.
type Solo struct {
	State     *State
	Journal   *Journal
	Reign     *Reigning
	Collector *Collector
	Viewer    *Viewer
	Healer    *Healer
	Chronicle *Chronicle
	Deadlines *Deadlines
	Backend   *Backend

	loops *Loops
	opt   SoloOptions
	sick  string
	// swept is how far SweepNext has come, sweeping the memory that sweeps use again.
	swept    int
	sweeping []fleet.Server
}

// NewSolo loads what the store knows. The controller has no term yet; see Begin.
func NewSolo(ctx context.Context, opt SoloOptions) (*Solo, error) {
	s := &Solo{opt: opt, State: NewState(), Deadlines: NewDeadlines()}
	if err := s.State.Load(ctx, opt.Store); err != nil {
		return nil, err
	}
	s.Journal = NewJournal(s.State, opt.Store)
	s.Reign = NewReigning(s.Journal, opt.Clock, opt.Owner, opt.Lease)
	var err error
	if s.Chronicle, err = NewChronicle(ctx, opt.Store, s.State, ""); err != nil {
		return nil, err
	}
	s.Journal.Listen(s.Chronicle.Add)
	s.wire()
	return s, nil
}

func (s *Solo) wire() {
	opt := s.opt
	providers, traits, names := map[string]provider.Provider{}, map[string]fleet.Traits{}, sortedKeys(opt.Providers)
	for _, name := range names {
		providers[name] = provider.WithAuthority(opt.Providers[name], s.Reign.Allowed)
		traits[name] = opt.Providers[name].Traits()
	}
	s.Collector = NewCollector(opt.Clock.Now(), opt.Contact)
	s.Viewer = &Viewer{
		State: s.State, Collector: s.Collector, Traits: traits, Authority: s.Reign.Authority,
		Trouble: func() string { return s.sick },
	}
	s.Healer = &Healer{
		Journal: s.Journal, Viewer: s.Viewer, Collector: s.Collector, Providers: providers, Clock: opt.Clock, Log: opt.Log,
	}
	s.loops = &Loops{
		Healer: s.Healer, Collector: s.Collector, State: s.State, Reigning: s.Reign, Deadlines: s.Deadlines,
		Providers: providers, Clock: opt.Clock, Pace: DefaultPace(), Log: opt.Log,
	}
	s.Backend = &Backend{
		Journal: s.Journal, State: s.State, Healer: s.Healer, Viewer: s.Viewer, Collector: s.Collector,
		Chronicle: s.Chronicle, Loops: s.loops, Clock: opt.Clock, Log: opt.Log, Providers: names,
		Changed: func() {},
	}
}

// Begin takes the next term. Everything is due from then on.
func (s *Solo) Begin(ctx context.Context) error {
	_, rev, err := s.opt.Store.List(ctx, root+"none/")
	if err != nil {
		return fmt.Errorf("read the revision of the store: %w", err)
	}
	if rev != s.State.latest() { // somebody has written since it was read
		if err := s.Reign.followsNow(ctx, s.opt.Store); err != nil {
			return err
		}
		if err := s.State.Load(ctx, s.opt.Store); err != nil {
			return err
		}
	}
	if err := s.Reign.Begin(ctx); err != nil {
		return err
	}
	s.loops.Wake("")
	return nil
}

// Sweep observes every server of every provider once. Its error is that of a
// provider that answered nothing; the others were swept.
func (s *Solo) Sweep(ctx context.Context) error {
	var failed error
	for _, name := range sortedKeys(s.Healer.Providers) {
		s.sweeping = s.State.serversOf(name, s.sweeping[:0])
		failed = errors.Join(failed, s.loops.sweepOf(ctx, name, s.Healer.Providers[name], s.sweeping))
	}
	return failed
}

// SweepNext observes the next n servers of a provider after those of the last
// call, by name, and begins anew after the last one: a fleet that is too large to be
// looked at in one moment is looked at bit by bit. It returns how many it observed.
func (s *Solo) SweepNext(ctx context.Context, name string, n int) (int, error) {
	names := s.State.ServerNames()
	if s.swept >= len(names) {
		s.swept = 0
	}
	names = names[s.swept:min(s.swept+n, len(names))]
	s.swept += len(names)
	s.sweeping = s.sweeping[:0]
	for _, one := range names {
		if server, ok := s.State.Server(one); ok && server.Spec.Provider == name {
			s.sweeping = append(s.sweeping, server)
		}
	}
	return len(s.sweeping), s.loops.sweepOf(ctx, name, s.Healer.Providers[name], s.sweeping)
}

// AskStore asks the store whether it takes writes, as the controller does twice a
// second.
func (s *Solo) AskStore(ctx context.Context) {
	s.sick = ""
	if err := s.opt.Store.Health(ctx); err != nil {
		s.sick = err.Error()
	}
}

// Due notes that the loop runs and returns the servers whose time has come, most
// important first. Each must be given to Advance.
func (s *Solo) Due() []string {
	now := s.opt.Clock.Now()
	s.Collector.Tick(now)
	s.loops.regain(now)
	s.loops.wakeDue(now)
	return s.loops.byPriority(s.Deadlines.Take(now))
}

// Advance carries a server to its next step and returns it, journaled and not yet
// done; or nothing, with the decision that says why, and the next look is set.
func (s *Solo) Advance(ctx context.Context, name string) (*Work, decide.Decision, error) {
	for range passSteps {
		w, d, err := s.Healer.Prepare(ctx, name)
		switch {
		case errors.Is(err, errAgain):
			continue
		case err != nil:
			s.Deadlines.Wake(name, s.opt.Clock.Now().Add(retryAfter))
			return nil, d, err
		case w != nil:
			return w, d, nil
		case d.Hold == nil && !d.LookAgainAt.IsZero() && !d.LookAgainAt.After(s.opt.Clock.Now()):
			continue // a record was written; decide again at once
		}
		s.Deadlines.Wake(name, nextLook(d, s.opt.Clock.Now()))
		return nil, d, nil
	}
	s.Deadlines.Wake(name, s.opt.Clock.Now())
	return nil, decide.Decision{}, nil
}

// Finish records the outcome of a step and makes its server due again.
func (s *Solo) Finish(ctx context.Context, w *Work, out provider.Outcome, stepErr error) error {
	err := s.Healer.Finish(ctx, w, out, stepErr)
	next := s.opt.Clock.Now()
	if err != nil || stepErr != nil && s.State.Status(w.Name).Recovery == nil {
		next = next.Add(retryAfter)
	}
	s.Deadlines.Wake(w.Name, next)
	return err
}

// Apply declares documents in YAML, as a person does who applies a file.
func (s *Solo) Apply(ctx context.Context, by, file, text string) error {
	docs, err := spec.Parse(spec.File{Name: file, Data: []byte(text)})
	if err != nil {
		return err
	}
	var req client.ApplyRequest
	for _, d := range docs {
		sent, err := client.ParseDocument(d.Raw)
		if err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
		req.Documents = append(req.Documents, sent)
	}
	if _, err := s.Backend.Apply(ctx, by, req); err != nil {
		return fmt.Errorf("apply %s: %w", file, err)
	}
	return nil
}

// Look judges a server now and says what would be done, without doing it.
func (s *Solo) Look(name string) Sight {
	now := s.opt.Clock.Now()
	v := s.Viewer.View(name, now)
	d := decide.Next(v.View, now)
	sight := Sight{Verdict: v.Finding.Verdict, Finding: v.Finding.Reason, Reason: d.Reason, Due: d.Step != nil}
	if d.Hold != nil {
		sight.Gate, sight.NeedsPerson = d.Hold.Gate, d.Hold.NeedsPerson
	}
	return sight
}

// Sight is a look at a server.
type Sight struct {
	Verdict fleet.Verdict
	// Finding is the verdict's reason, Reason the decision's.
	Finding, Reason string
	// Gate is what holds, NeedsPerson whether only a person can lift it.
	Gate        string
	NeedsPerson bool
	// Due is true if a step would be done now.
	Due bool
}
