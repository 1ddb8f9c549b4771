package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/notify"
	"relight/internal/store"
	"relight/internal/store/mem"
)

const tellSecret = "a secret of two"

// webhook is a receiver that takes only what is signed.
type webhook struct {
	*httptest.Server
	mu    sync.Mutex
	took  []string
	wrong error
	deaf  bool
	tries int
}

func newWebhook(t *testing.T) *webhook {
	w := &webhook{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.tries++
		body, _ := io.ReadAll(r.Body)
		if err := notify.Verify([]byte(tellSecret), r.Header.Get(notify.SignatureHeader), body, time.Now(), time.Minute); err != nil {
			w.wrong = err
		}
		if w.deaf {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var one struct{ Data event.Event }
		if err := json.Unmarshal(body, &one); err != nil {
			w.wrong = err
		}
		w.took = append(w.took, one.Data.Message)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *webhook) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.took)
}

// within waits for a condition that other goroutines bring about.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// told is a controller as far as a webhook sees it.
type told struct {
	journal *Journal
	state   *State
	teller  *Teller
}

func newTold(t *testing.T, st store.Store, url string) *told {
	t.Helper()
	ctx := t.Context()
	state := NewState()
	if err := state.Load(ctx, st); err != nil {
		t.Fatal(err)
	}
	journal := NewJournal(state, st)
	chronicle, err := NewChronicle(ctx, st, state, "")
	if err != nil {
		t.Fatal(err)
	}
	journal.Listen(chronicle.Add)
	teller, err := NewTeller(ctx, TellerConfig{
		URL: url, Secret: tellSecret, Journal: journal, Chronicle: chronicle, Clock: notify.WallClock{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &told{journal: journal, state: state, teller: teller}
}

// run tells until the returned function is called.
func (c *told) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.teller.Run(ctx)
	}()
	return func() { cancel(); <-done }
}

func (c *told) emit(t *testing.T, kind event.Kind, message string) {
	t.Helper()
	err := c.journal.Do(t.Context(), time.Now(), func(tx *Tx) error {
		tx.Emit(event.Event{Kind: kind, Server: "web-1", Message: message})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *told) cursor() uint64 {
	seq, _ := Get[uint64](c.state, kindCursor, shardName(ShardOf("web-1")))
	return seq
}

// TestTellingResumes: what happened while no controller told the webhook is told
// by the next one, once, in order, and signed.
func TestTellingResumes(t *testing.T) {
	hook, st := newWebhook(t), mem.New(mem.Options{Now: time.Now})
	before := &told{state: NewState()}
	before.journal = NewJournal(before.state, st)
	before.emit(t, event.Held, "before there was a webhook")

	first := newTold(t, st, hook.URL)
	first.emit(t, event.Held, "one")
	stop := first.run(t)
	first.emit(t, event.StepIntended, "a single step")
	first.emit(t, event.Held, "two")
	within(t, "the cursor follows what was told", func() bool { return first.cursor() == 4 })
	stop()
	first.emit(t, event.Held, "three")
	first.emit(t, event.RecoveryGaveUp, "four")

	second := newTold(t, st, hook.URL)
	stop = second.run(t)
	second.emit(t, event.Held, "five")
	within(t, "the cursor reaches the end", func() bool { return second.cursor() == 7 })
	stop()
	if got, want := hook.heard(), []string{"one", "two", "three", "four", "five"}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if hook.wrong != nil {
		t.Errorf("the webhook got something wrong: %v", hook.wrong)
	}
}

// TestTellingNeverBlocks: a journal that runs far ahead of the notifier waits for
// nothing, and nothing of what did not fit is lost.
func TestTellingNeverBlocks(t *testing.T) {
	hook, st := newWebhook(t), mem.New(mem.Options{Now: time.Now})
	c := newTold(t, st, hook.URL)
	const n = tellBuffer + 100
	var want []string
	for i := range n { // nobody takes from the buffer yet
		kind := event.StepIntended
		if i%100 == 0 || i == n-1 {
			kind = event.Held
			want = append(want, fmt.Sprint(i))
		}
		c.emit(t, kind, fmt.Sprint(i))
	}
	stop := c.run(t)
	defer stop()
	within(t, "all is told", func() bool { return c.cursor() == n })
	if got := hook.heard(); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

// TestTellingKeepsWhatWasNotTaken: while the webhook does not take a message its
// cursor stays where it is.
func TestTellingKeepsWhatWasNotTaken(t *testing.T) {
	hook, st := newWebhook(t), mem.New(mem.Options{Now: time.Now})
	hook.deaf = true
	first := newTold(t, st, hook.URL)
	stop := first.run(t)
	first.emit(t, event.Held, "one")
	within(t, "it is tried", func() bool {
		hook.mu.Lock()
		defer hook.mu.Unlock()
		return hook.tries > 0
	})
	stop()
	if first.cursor() != 0 {
		t.Errorf("the cursor moved to %d past what was not taken", first.cursor())
	}
	hook.mu.Lock()
	hook.deaf = false
	hook.mu.Unlock()
	stop = newTold(t, st, hook.URL).run(t)
	defer stop()
	within(t, "the next controller tells it", func() bool { return slices.Equal(hook.heard(), []string{"one"}) })
}

// TestTellingNeedsASecret: an unsigned webhook would be one that anybody can speak to.
func TestTellingNeedsASecret(t *testing.T) {
	_, err := NewTeller(t.Context(), TellerConfig{URL: "http://127.0.0.1:1/"})
	if err == nil || !strings.Contains(err.Error(), "--webhook-secret-file") {
		t.Errorf("got %v, want an error that tells what to give", err)
	}
}
