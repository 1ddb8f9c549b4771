package aws

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// counter answers reads after a second each, with the number of the call.
type counter struct {
	mu    sync.Mutex
	calls [][]string
	fail  error
}

type numbered struct {
	key  string
	call int
}

func (c *counter) ask(ctx context.Context, keys []string) ([]numbered, error) {
	c.mu.Lock()
	c.calls = append(c.calls, slices.Clone(keys))
	n, err := len(c.calls), c.fail
	c.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var out []numbered
	for _, k := range keys {
		out = append(out, numbered{k, n})
	}
	return out, err
}

func counted() (*counter, *batch[numbered]) {
	c := &counter{}
	return c, newBatch(time.Now, c.ask, func(n numbered) string { return n.key })
}

// A thousand callers at once cost two calls: one for the first, one for all who came
// while that was under way; more keys than a filter takes cost more.
func TestReadsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b := counted()
		var wg sync.WaitGroup
		for n := range 1000 {
			wg.Go(func() {
				key := strings.Repeat("x", n%50+1)
				if got, err := b.one(t.Context(), key); err != nil || got == nil || got.key != key {
					t.Errorf("%s: %v %v", key, got, err)
				}
			})
		}
		wg.Wait()
		if len(c.calls) > 2+1000/atOnce {
			t.Errorf("%d calls", len(c.calls))
		}
	})
}

// Whoever asks while a call is under way is answered by the next one: what was read
// before an effect must never be told as what followed it.
func TestReadsBeginAfterTheyWereAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, b := counted()
		var wg sync.WaitGroup
		wg.Go(func() {
			if got, _ := b.one(t.Context(), "a"); got == nil || got.call != 1 {
				t.Errorf("the first caller: %v", got)
			}
		})
		wg.Go(func() {
			<-time.After(500 * time.Millisecond)
			asked := time.Now()
			got, at, _ := b.read(t.Context(), "a")
			if len(got) != 1 || got[0].call != 2 || at.Before(asked) {
				t.Errorf("who asked at %s during a call was answered by %v of %s", asked, got, at)
			}
		})
		wg.Wait()
	})
}

// A caller who gives up takes the answer from nobody, and an error reaches all.
func TestReadsThatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b := counted()
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, _, err := b.read(ctx, "hasty"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("err %v", err)
			}
		})
		wg.Go(func() {
			if got, err := b.one(t.Context(), "patient"); err != nil || got == nil {
				t.Errorf("%v %v", got, err)
			}
		})
		wg.Wait()
		c.fail = errors.New("refused")
		if _, _, err := b.read(t.Context(), "any"); !errors.Is(err, c.fail) {
			t.Errorf("err %v", err)
		}
		if got, err := b.one(t.Context(), "none"); got != nil && err == nil {
			t.Errorf("%v %v", got, err)
		}
	})
}
