package demo

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relight/internal/demo/app"
	"relight/internal/dev"
	"relight/internal/rack"
)

// flaky answers the first write with 500, keeps the second one waiting, and takes
// the others.
func flaky(t *testing.T, took chan<- string) dev.Server {
	t.Helper()
	var mu sync.Mutex
	n := 0
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		now := n
		mu.Unlock()
		switch now {
		case 1:
			http.Error(w, "no", http.StatusInternalServerError)
		case 2:
			<-hang
		default:
			select {
			case took <- r.FormValue("id"):
			default:
			}
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hang) })
	return dev.Server{Name: "web-1", Addr: strings.TrimPrefix(server.URL, "http://")}
}

func TestLoadRemembersOnlyWhatWasAcknowledged(t *testing.T) {
	took := make(chan string, 3)
	start := time.Now()
	l := StartLoad(t.Context(), []dev.Server{flaky(t, took)}, 100)
	for _, want := range []string{"103", "104", "105"} {
		if got := <-took; got != want {
			t.Fatalf("write %s came, want %s: ids must be used once", got, want)
		}
	}
	// The server takes a write before its client knows of it.
	acked := l.Acked("web-1")
	for tick, end := time.NewTicker(5*time.Millisecond), time.Now().Add(10*time.Second); !slices.Contains(acked, 105) && time.Now().Before(end); acked = l.Acked("web-1") {
		<-tick.C
	}
	l.Stop()
	if slices.Contains(acked, 101) || slices.Contains(acked, 102) || !slices.Contains(acked, 103) || !slices.Contains(acked, 105) {
		t.Fatalf("acknowledged: %v", acked)
	}
	first := l.FirstAfter("web-1", start)
	if first.Sub(start) < clientTimeout {
		t.Errorf("the first acknowledgement came after %s, before the second write's time was over", first.Sub(start))
	}
	if late := l.FirstAfter("web-1", time.Now()); !late.IsZero() {
		t.Errorf("a write of the future: %s", late)
	}
	if p := l.LongestPause("web-1", start, time.Now()); p < clientTimeout {
		t.Errorf("the longest pause is %s", p)
	}
}

func TestLongestPauseCountsBothEnds(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	l := &Load{clients: map[string]*client{"web-1": {acks: []ack{{ended: at(1)}, {ended: at(5)}, {ended: at(7)}, {ended: at(30)}}}}}
	for _, c := range []struct{ from, to, want int }{{0, 8, 4}, {2, 6, 3}, {6, 16, 9}, {8, 20, 12}} {
		if got := l.LongestPause("web-1", at(c.from), at(c.to)); got != time.Duration(c.want)*time.Second {
			t.Errorf("from %d to %d: %s, want %ds", c.from, c.to, got, c.want)
		}
	}
}

// Two applications on one log are what the demo must be able to see.
func TestCheckerSeesTwoApplications(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	start := func(first uint64) (*Load, string) {
		srv := httptest.NewUnstartedServer(nil)
		addr := srv.Listener.Addr().String()
		srv.Close() // only its port was wanted
		work.Go(func() {
			if err := app.Run(ctx, app.Options{Listen: addr, Dir: dir}); err != nil {
				t.Error(err)
			}
		})
		return StartLoad(ctx, []dev.Server{{Name: addr, Addr: addr}}, first), addr
	}
	await := func(l *Load, name string, more int) {
		enough := len(l.Acked(name)) + more
		bounded, stop := context.WithTimeout(ctx, 10*time.Second)
		defer stop()
		if err := rack.Poll(bounded, func() (bool, error) { return len(l.Acked(name)) >= enough, nil }); err != nil {
			t.Fatal(err)
		}
	}
	first, a := start(1 << 20)
	await(first, a, 20)
	second, b := start(2 << 20)
	await(second, b, 20)
	second.Stop()
	// The first goes on, as a zombie does: its own end of the log stays its own.
	await(first, a, 100)
	first.Stop()
	f, err := Check(dir, append(first.Acked(a), second.Acked(b)...))
	if err != nil {
		t.Fatal(err)
	}
	if f.AckedLost == 0 || f.TwoWriters == 0 {
		t.Fatalf("two applications on one log: %+v", f)
	}
}
