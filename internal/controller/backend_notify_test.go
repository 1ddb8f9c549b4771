package controller

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/store/mem"
)

// What a webhook missed may have left the store for closed segments before the
// next controller tells it: it hears all of it, once and in order.
func TestTellingResumesAcrossClosedSegments(t *testing.T) {
	hook, st := newWebhook(t), mem.New(mem.Options{Now: time.Now})
	first := newTold(t, st, hook.URL)
	stop := first.run(t)
	first.emit(t, event.Held, "told")
	within(t, "the first one is told", func() bool { return first.cursor() == 1 })
	stop()

	// Four segments' worth in the silence: two of them are closed.
	want := []string{"told"}
	const n = 4 * segmentSize
	for at := 0; at < n; at += batchLimit {
		err := first.journal.Do(t.Context(), time.Now(), func(tx *Tx) error {
			for i := at; i < at+batchLimit; i++ {
				kind := event.StepIntended
				if i%500 == 0 {
					kind = event.Held
					want = append(want, fmt.Sprint(i))
				}
				tx.Emit(event.Event{Kind: kind, Server: "web-1", Message: fmt.Sprint(i)})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	first.teller.chronicle.dir = dir
	for range 2 {
		if err := first.teller.chronicle.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := first.teller.chronicle.stored(t.Context(), ShardOf("web-1"))
	if err != nil || len(stored) == 0 || stored[0].Seq != 2*segmentSize+1 {
		t.Fatalf("the store begins at %d of %d entries, %v; want two closed segments", stored[0].Seq, len(stored), err)
	}

	second := newTold(t, st, hook.URL)
	second.teller.chronicle.dir = dir
	stop = second.run(t)
	defer stop()
	second.emit(t, event.Held, "live")
	want = append(want, "live")
	within(t, "all is told", func() bool { return len(hook.heard()) >= len(want) && second.cursor() > n })
	if got := hook.heard(); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if hook.wrong != nil {
		t.Error(hook.wrong)
	}
}

func TestTryWebhook(t *testing.T) {
	var p *client.Problem
	if _, err := (&Backend{}).TryWebhook(t.Context(), "kim"); !errors.As(err, &p) || p.Code != client.CodeRefused {
		t.Errorf("without a webhook: %v", err)
	}
	hook, st := newWebhook(t), mem.New(mem.Options{Now: time.Now})
	b := &Backend{Webhook: newTold(t, st, hook.URL).teller}
	got, err := b.TryWebhook(t.Context(), "kim")
	if err != nil || !got.Delivered || got.Status != 200 || len(hook.heard()) != 1 || hook.wrong != nil {
		t.Errorf("%+v, %v; heard %q, %v", got, err, hook.heard(), hook.wrong)
	}
}
