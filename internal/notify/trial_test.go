package notify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"relight/internal/core/event"
)

func trial(t *testing.T, r *receiver, change func(*Config)) Trial {
	t.Helper()
	cfg := config(r, &cursor{at: map[int]uint64{}}, io.Discard)
	if change != nil {
		change(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	got, err := n.Try(t.Context(), "kim")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTrialSaysWhatTheReceiverAnswered(t *testing.T) {
	r := &receiver{}
	if got := trial(t, r, nil); !got.Delivered || got.Status != http.StatusNoContent || got.Host != "hooks.example" {
		t.Errorf("taken: %+v", got)
	}
	if len(r.bodies) != 1 || !strings.Contains(r.bodies[0], `"type":"relight.test"`) || !strings.Contains(r.bodies[0], "kim tests this webhook") {
		t.Errorf("sent %q", r.bodies)
	}
	got := trial(t, &receiver{}, func(c *Config) { c.Secret = []byte("another") })
	if got.Delivered || got.Status != http.StatusUnauthorized || got.Body != ErrSignature.Error() {
		t.Errorf("another secret: %+v", got)
	}
	got = trial(t, &receiver{statuses: []int{302}}, nil)
	if got.Delivered || got.Status != 302 || got.Trouble == "" {
		t.Errorf("redirected: %+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	n, err := New(config(&receiver{}, &cursor{}, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	n.cfg.URL = "http://silent/?token=hidden"
	if got, err := n.Try(ctx, "kim"); err != nil || got.Delivered || got.Status != 0 || got.Trouble == "" || strings.Contains(got.Trouble, "hidden") {
		t.Errorf("silent: %+v, %v", got, err)
	}
}

// keys remembers the idempotency keys, by the body that they came with.
type keys struct{ seen []string }

func (k *keys) RoundTrip(req *http.Request) (*http.Response, error) {
	k.seen = append(k.seen, req.Header.Get(IdempotencyHeader))
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: io.NopCloser(&bytes.Buffer{}), Header: http.Header{}}, nil
}

func TestIdempotencyKeyIsStablePerEventAndTarget(t *testing.T) {
	one, two := item(1, 1, ""), item(1, 2, "")
	later := one
	later.Event.At = one.Event.At.Add(time.Second) // the same place in a restored journal
	k := &keys{}
	post := func(change func(*Config), items ...Item) {
		t.Helper()
		cfg := config(&receiver{}, &cursor{}, io.Discard)
		cfg.Client = &http.Client{Transport: k}
		if change != nil {
			change(&cfg)
		}
		n, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n.post(t.Context(), &Message{Items: items})
	}
	post(nil, one)
	post(nil, one) // another controller
	post(func(c *Config) { c.Secret = []byte("new") }, one)
	post(nil, two)
	post(nil, later)
	post(nil, one, two)
	post(func(c *Config) { c.URL = "http://other.example/" }, one)
	different := map[string]bool{}
	for i, key := range k.seen {
		if len(key) != 32 || i < 3 && key != k.seen[0] {
			t.Errorf("message %d has the key %q, the first one %q", i, key, k.seen[0])
		}
		different[key] = true
	}
	if len(different) != 5 {
		t.Errorf("%d different keys: %v", len(different), k.seen)
	}
}

func TestIDIsTheOneOfTheAPI(t *testing.T) {
	it := Item{Shard: 3, Seq: 42, Event: event.Event{At: time.UnixMilli(1234)}}
	if got := fmt.Sprint(it.id()); got != "1234-03-42" {
		t.Errorf("%s", got)
	}
}
