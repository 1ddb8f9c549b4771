package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"relight/internal/core/event"
)

// cursor is a Cursor in memory.
type cursor struct {
	mu  sync.Mutex
	at  map[int]uint64
	err error
}

func (c *cursor) Load(_ context.Context, shard int) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at[shard], c.err
}

func (c *cursor) Save(_ context.Context, shard int, seq uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.at[shard] = max(c.at[shard], seq)
	}
	return c.err
}

// receiver answers with the statuses in turn, then with 204, and remembers what
// it took. As a RoundTripper it needs no network, so that time can be virtual.
type receiver struct {
	mu       sync.Mutex
	statuses []int
	header   http.Header
	tries    int
	took     []string
	bodies   []string
	types    []string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = Verify([]byte("s3cret"), req.Header.Get(SignatureHeader), body, time.Now(), time.Minute)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if len(r.statuses) > 0 {
		status := r.statuses[0]
		r.statuses = r.statuses[1:]
		for k, v := range r.header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		return
	}
	r.bodies = append(r.bodies, string(body))
	r.types = append(r.types, req.Header.Get("Content-Type"))
	var batch []CloudEvent
	if req.Header.Get("Content-Type") == TypeSingle {
		body = slices.Concat([]byte("["), body, []byte("]"))
	}
	if err := json.Unmarshal(body, &batch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var ids []string
	for _, e := range batch {
		ids = append(ids, place(e.ID))
	}
	r.took = append(r.took, strings.Join(ids, " "))
	w.WriteHeader(http.StatusNoContent)
}

// place is the shard and the number in an event's id.
func place(id string) string {
	var at int64
	var shard int
	var seq uint64
	if _, err := fmt.Sscanf(id, "%d-%d-%d", &at, &shard, &seq); err != nil {
		return id
	}
	return fmt.Sprintf("%d-%d", shard, seq)
}

// tried is how many requests came so far.
func (r *receiver) tried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "silent" {
		<-req.Context().Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tries++
		return nil, req.Context().Err()
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Result(), nil
}

func config(r *receiver, c *cursor, log io.Writer) Config {
	return Config{
		URL: "http://hooks.example/relight?token=hidden", Secret: []byte("s3cret"), Source: "/relight/test",
		Client: &http.Client{Transport: r}, Clock: WallClock{}, Jitter: half, Cursor: c,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
}

// running starts a notifier and returns it with what stops it.
func running(t *testing.T, cfg Config) (n *Notifier, stop func()) {
	t.Helper()
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.Run(ctx) }()
	return n, func() { cancel(); <-done }
}

func offer(t *testing.T, n *Notifier, items ...Item) {
	t.Helper()
	for _, it := range items {
		if err := n.Offer(t.Context(), it); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHostLossIsOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := &receiver{}, &cursor{at: map[int]uint64{}}
		n, stop := running(t, config(r, c, io.Discard))
		defer stop()
		for i := range uint64(40) {
			offer(t, n, item(int(i%4), i/4+1, "inc-1"))
		}
		time.Sleep(window + saveEvery)
		synctest.Wait()
		if len(r.took) != 1 || len(strings.Fields(r.took[0])) != 40 || r.types[0] != TypeBatch {
			t.Errorf("took %q as %q", r.took, r.types)
		}
		if diff := cmp.Diff(map[int]uint64{0: 10, 1: 10, 2: 10, 3: 10}, c.at); diff != "" {
			t.Errorf("cursor: %s", diff)
		}
	})
}

func TestTriesAgainUntilTaken(t *testing.T) {
	for _, statuses := range [][]int{{500, 503, 502}, {408}, {429, 429}, {301, 302, 307}} {
		t.Run(fmt.Sprint(statuses), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, c := &receiver{statuses: statuses}, &cursor{at: map[int]uint64{}}
				n, stop := running(t, config(r, c, io.Discard))
				defer stop()
				offer(t, n, item(1, 1, ""))
				time.Sleep(time.Minute)
				synctest.Wait()
				if r.tries != len(statuses)+1 || fmt.Sprint(r.took) != "[1-1]" || c.at[1] != 1 {
					t.Errorf("%d tries, took %q, cursor %v", r.tries, r.took, c.at)
				}
			})
		})
	}
}

func TestRefusedMessageIsLoggedAndPassed(t *testing.T) {
	for _, status := range []int{400, 401, 404, 410, 422} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			r, c := &receiver{statuses: []int{status}}, &cursor{at: map[int]uint64{}}
			n, stop := running(t, config(r, c, &log))
			offer(t, n, item(1, 1, ""), item(1, 2, ""))
			time.Sleep(time.Minute)
			synctest.Wait()
			stop()
			if r.tries != 2 || fmt.Sprint(r.took) != "[1-2]" || c.at[1] != 2 {
				t.Errorf("%d: %d tries, took %q, cursor %v", status, r.tries, r.took, c.at)
			}
			if !strings.Contains(log.String(), fmt.Sprintf("status=%d", status)) || strings.Contains(log.String(), "hidden") {
				t.Errorf("logged %s", log.String())
			}
		})
	}
}

func TestSilentReceiverIsGivenUpAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r, c := &receiver{}, &cursor{at: map[int]uint64{}}
		cfg := config(r, c, &log)
		cfg.URL = "http://silent/?token=hidden"
		n, stop := running(t, cfg)
		offer(t, n, item(1, 1, ""))
		time.Sleep(2*postTimeout + time.Second)
		synctest.Wait()
		stop()
		if r.tries < 2 || c.at[1] != 0 {
			t.Errorf("%d tries, cursor %v", r.tries, c.at)
		}
		if !strings.Contains(log.String(), "deadline exceeded") || strings.Contains(log.String(), "hidden") {
			t.Errorf("logged %s", log.String())
		}
	})
}

func TestReceiversPauseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{statuses: []int{429}, header: http.Header{"Retry-After": {"120"}}}
		n, stop := running(t, config(r, &cursor{at: map[int]uint64{}}, io.Discard))
		defer stop()
		offer(t, n, item(1, 1, ""))
		time.Sleep(119 * time.Second)
		synctest.Wait()
		if n := r.tried(); n != 1 {
			t.Errorf("%d tries within the pause", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := r.tried(); n != 2 {
			t.Errorf("%d tries after the pause", n)
		}
	})
}

func TestNewControllerGoesOnWhereTheLastOneStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cursor{at: map[int]uint64{}}
		r := &receiver{}
		n, stop := running(t, config(r, c, io.Discard))
		offer(t, n, item(1, 1, ""), item(1, 2, ""))
		time.Sleep(2 * saveEvery)
		synctest.Wait()
		r.mu.Lock()
		r.statuses = []int{500, 500, 500, 500, 500, 500, 500, 500}
		r.mu.Unlock()
		offer(t, n, item(1, 3, ""), item(1, 4, ""))
		time.Sleep(time.Second)
		stop()

		r.statuses = nil
		n, stop = running(t, config(r, c, io.Discard))
		defer stop()
		from, err := n.Resume(t.Context(), 1)
		if err != nil || from != 3 {
			t.Fatalf("resumes at %d, %v", from, err)
		}
		for seq := from; seq <= 5; seq++ {
			offer(t, n, item(1, seq, ""))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if fmt.Sprint(r.took) != "[1-1 1-2 1-3 1-4 1-5]" || c.at[1] != 5 {
			t.Errorf("took %q, cursor %v", r.took, c.at)
		}
	})
}

func TestOfferBlocksWhenTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{statuses: slices.Repeat([]int{503}, 3)}
		n, stop := running(t, config(r, &cursor{at: map[int]uint64{}}, io.Discard))
		defer stop()
		for seq := range uint64(maxQueue) {
			offer(t, n, item(1, seq+1, "inc-1"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Offer(ctx, item(1, maxQueue+1, "inc-1")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an event too many was taken: %v", err)
		}
		offer(t, n, item(1, maxQueue+1, "inc-1")) // blocks until the receiver is back
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(strings.Fields(strings.Join(r.took, " "))); got != maxQueue+1 {
			t.Errorf("took %d events", got)
		}
	})
}

func TestDropStopsAShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := &receiver{}, &cursor{at: map[int]uint64{}}
		n, stop := running(t, config(r, c, io.Discard))
		defer stop()
		offer(t, n, item(1, 1, "inc-1"), item(2, 1, "inc-1"))
		if err := n.Drop(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if fmt.Sprint(r.took) != "[2-1]" || c.at[1] != 0 {
			t.Errorf("took %q, cursor %v", r.took, c.at)
		}
	})
}

func TestCursorTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trouble := errors.New("no quorum")
		r, c := &receiver{}, &cursor{at: map[int]uint64{}, err: trouble}
		n, stop := running(t, config(r, c, io.Discard))
		defer stop()
		if _, err := n.Resume(t.Context(), 1); !errors.Is(err, trouble) {
			t.Errorf("resumed in spite of %v: %v", trouble, err)
		}
		offer(t, n, item(1, 1, ""))
		time.Sleep(time.Minute)
		c.mu.Lock()
		c.err = nil
		c.mu.Unlock()
		time.Sleep(maxPause)
		synctest.Wait()
		if fmt.Sprint(r.took) != "[1-1]" || c.at[1] != 1 {
			t.Errorf("took %q, cursor %v", r.took, c.at)
		}
	})
}

// The same over real sockets: what arrives, and that a redirect leads nowhere.
func TestOverTheNetwork(t *testing.T) {
	took := make(chan struct{}, 16)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
		took <- struct{}{}
	}))
	defer elsewhere.Close()
	r := &receiver{statuses: []int{http.StatusTemporaryRedirect}, header: http.Header{"Location": {elsewhere.URL}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.ServeHTTP(w, req)
		took <- struct{}{}
	}))
	defer server.Close()
	cfg := config(r, &cursor{at: map[int]uint64{}}, io.Discard)
	cfg.URL, cfg.Client, cfg.Jitter = server.URL, server.Client(), func() float64 { return 0 }
	n, stop := running(t, cfg)
	offer(t, n, Item{3, 42, event.Event{
		Version: 1, Kind: event.RecoveryHealed, At: start, Server: "lic-01", By: "relight", Epoch: 2, Message: "healed",
	}})
	<-took
	<-took
	stop()
	want := `{"specversion":"1.0","id":"1772366400000-03-42","source":"/relight/test","type":"relight.recovery_healed","subject":"lic-01",` +
		`"time":"2026-03-01T12:00:00Z","datacontenttype":"application/json","data":{"v":1,"kind":"recovery_healed",` +
		`"at":"2026-03-01T12:00:00Z","server":"lic-01","by":"relight","epoch":2,"message":"healed"}}`
	if r.tries != 2 || fmt.Sprint(r.types) != "["+TypeSingle+"]" {
		t.Fatalf("%d tries, types %v", r.tries, r.types)
	}
	if diff := cmp.Diff(want, r.bodies[0]); diff != "" {
		t.Error(diff)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no address":    func(c *Config) { c.URL = "" },
		"not a web URL": func(c *Config) { c.URL = "file:///etc/passwd" },
		"no host":       func(c *Config) { c.URL = "https:///x" },
		"no secret":     func(c *Config) { c.Secret = nil },
		"no source":     func(c *Config) { c.Source = "" },
	} {
		cfg := config(&receiver{}, &cursor{}, io.Discard)
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestIncidentEventsCarryTheDedupKey(t *testing.T) {
	body, _, err := encode("/relight/test", []Item{item(1, 1, "inc-7"), item(1, 2, "inc-7")})
	if err != nil || strings.Count(string(body), `"dedupkey":"inc-7"`) != 2 {
		t.Errorf("%v: %s", err, body)
	}
}

// A new kind of event must be sorted into those that people hear of and the rest.
func TestNotableKinds(t *testing.T) {
	var quiet []event.Kind
	for _, k := range event.Kinds() {
		if !Notable(event.Event{Kind: k}) {
			quiet = append(quiet, k)
		}
	}
	want := []event.Kind{
		event.ServerDeclared, event.StepIntended, event.StepEnded, event.EpochProved, event.VolumeFormatted, event.HostJoined, event.HostRenewed, event.ControllerTerm,
	}
	if diff := cmp.Diff(want, quiet); diff != "" {
		t.Error(diff)
	}
}

func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-5": 0, "7": 7 * time.Second, "999999999999": maxPause,
		start.Add(time.Minute).Format(http.TimeFormat): time.Minute, start.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(header, start); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
