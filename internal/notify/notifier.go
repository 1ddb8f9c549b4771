package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Clock is the time that a Notifier lives in.
type Clock interface {
	Now() time.Time
	// After is time.After.
	After(d time.Duration) <-chan time.Time
}

// WallClock is the real time.
type WallClock struct{}

// Now implements Clock.
func (WallClock) Now() time.Time { return time.Now() }

// After implements Clock.
func (WallClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Cursor remembers for each shard up to which journal entry all events have been
// delivered, or refused for good.
type Cursor interface {
	// Load returns the saved number, 0 if there is none.
	Load(ctx context.Context, shard int) (uint64, error)
	// Save stores the number. It must not replace a higher one: two controllers
	// may both save for a shard that changes hands.
	Save(ctx context.Context, shard int, seq uint64) error
}

// Config is what a Notifier is made of; every field is needed.
type Config struct {
	// URL is where messages go.
	URL string
	// Secret is shared with the receiver, for the signature.
	Secret []byte
	// Source is the CloudEvents source, a URI reference such as "/relight/main".
	Source string
	Client *http.Client
	Clock  Clock
	// Jitter returns numbers in [0, 1).
	Jitter func() float64
	Cursor Cursor
	Log    *slog.Logger
}

// Notifier sends events to one webhook. Run it, and offer it events.
type Notifier struct {
	cfg    Config
	client http.Client
	host   string // for logs: the path and query may hold secrets
	offers chan Item
	drops  chan int
}

// New checks the configuration and makes a notifier.
func New(cfg Config) (*Notifier, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("notify: the webhook's URL is not an http or https URL")
	}
	if len(cfg.Secret) == 0 || cfg.Source == "" {
		return nil, errors.New("notify: the webhook needs a secret and a source")
	}
	n := &Notifier{cfg: cfg, client: *cfg.Client, host: u.Host, offers: make(chan Item), drops: make(chan int)}
	// A redirect would hand the signed message to an address that nobody chose.
	n.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return n, nil
}

// Resume returns the number of the first entry of the shard's journal that is to
// be offered.
func (n *Notifier) Resume(ctx context.Context, shard int) (uint64, error) {
	seq, err := n.cfg.Cursor.Load(ctx, shard)
	if err != nil {
		return 0, fmt.Errorf("notify: load cursor of shard %d: %w", shard, err)
	}
	return seq + 1, nil
}

// Offer hands over an event of a shard, in the order of the shard's journal and
// without gaps. It blocks while the queue is full or Run does not run, until the
// context ends, whose error it then returns.
func (n *Notifier) Offer(ctx context.Context, it Item) error {
	select {
	case n.offers <- it:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Drop forgets a shard that another controller now owns.
func (n *Notifier) Drop(ctx context.Context, shard int) error {
	select {
	case n.drops <- shard:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run delivers until the context ends. What is under way then is sent again by
// whoever resumes.
func (n *Notifier) Run(ctx context.Context) {
	m := NewMachine(n.cfg.Jitter)
	posted := make(chan answer, 1)
	posting := false
	for ctx.Err() == nil {
		effects := m.Next(n.cfg.Clock.Now())
		if effects.Post != nil {
			posting = true
			go func() { posted <- n.post(ctx, effects.Post) }()
		}
		if len(effects.Save) > 0 {
			n.save(ctx, m, effects.Save)
			continue
		}
		var timer <-chan time.Time
		if !effects.LookAgainAt.IsZero() {
			timer = n.cfg.Clock.After(effects.LookAgainAt.Sub(n.cfg.Clock.Now()))
		}
		offers := n.offers
		if m.Full() {
			offers = nil // the journal keeps what the queue cannot
		}
		select {
		case it := <-offers:
			m.Add(n.cfg.Clock.Now(), it)
		case shard := <-n.drops:
			m.Drop(shard)
		case a := <-posted:
			posting = false
			m.Posted(n.cfg.Clock.Now(), a.result, a.retryAfter)
		case <-timer:
		case <-ctx.Done():
		}
	}
	if posting {
		<-posted
	}
}

// saveTimeout bounds how long a store that hangs keeps messages waiting.
const saveTimeout = 5 * time.Second

func (n *Notifier) save(ctx context.Context, m *Machine, positions []Position) {
	for _, p := range positions {
		sctx, cancel := context.WithTimeout(ctx, saveTimeout)
		err := n.cfg.Cursor.Save(sctx, p.Shard, p.Seq)
		cancel()
		if err != nil {
			n.cfg.Log.Warn("notify: cursor not saved, events may be sent twice", "shard", p.Shard, "seq", p.Seq, "error", err)
		}
		m.Saved(n.cfg.Clock.Now(), p, err == nil)
	}
}
