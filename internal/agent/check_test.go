package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"relight/internal/agent/beats"
	"relight/internal/beat/app"
	"relight/internal/core/fleet"
)

func TestChecksAreThreeValued(t *testing.T) {
	stuck := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bad":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/hang":
			select {
			case <-stuck:
			case <-r.Context().Done():
			}
		case "/half":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("x"))
		}
	}))
	defer web.Close()
	defer close(stuck)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	closed := l.Addr().String()
	must(t, l.Close())
	quick := fleet.Duration(150 * time.Millisecond)
	for name, c := range map[string]struct {
		check        fleet.Check
		alive, works fleet.Answer
	}{
		"http ok":         {fleet.Check{HTTP: web.URL + "/"}, fleet.Yes, fleet.Yes},
		"http 503":        {fleet.Check{HTTP: web.URL + "/bad"}, fleet.Yes, fleet.No},
		"http half":       {fleet.Check{HTTP: web.URL + "/half"}, fleet.Yes, fleet.No},
		"http hang":       {fleet.Check{HTTP: web.URL + "/hang", Timeout: quick}, fleet.No, fleet.No},
		"http refused":    {fleet.Check{HTTP: "http://" + closed}, fleet.No, fleet.No},
		"http no such":    {fleet.Check{HTTP: "http://${address:0}/"}, fleet.CannotTell, fleet.CannotTell},
		"tcp ok":          {fleet.Check{TCP: strings.TrimPrefix(web.URL, "http://")}, fleet.Yes, fleet.Yes},
		"tcp refused":     {fleet.Check{TCP: closed}, fleet.No, fleet.No},
		"exec ok":         {fleet.Check{Exec: []string{"true"}}, fleet.CannotTell, fleet.Yes},
		"exec fails":      {fleet.Check{Exec: []string{"false"}}, fleet.CannotTell, fleet.No},
		"exec hangs":      {fleet.Check{Exec: []string{"sleep", "60"}, Timeout: quick}, fleet.CannotTell, fleet.No},
		"exec not there":  {fleet.Check{Exec: []string{"/nonexistent"}}, fleet.CannotTell, fleet.CannotTell},
		"nothing to look": {fleet.Check{}, fleet.CannotTell, fleet.CannotTell},
	} {
		got := look(t.Context(), c.check)
		if got.alive != c.alive || got.works != c.works {
			t.Errorf("%s: alive %s works %s (%s), want %s %s", name, got.alive, got.works, got.detail, c.alive, c.works)
		}
	}
	broken, cancel := context.WithCancel(t.Context())
	cancel()
	if got := look(broken, fleet.Check{TCP: closed}); got.alive != fleet.CannotTell {
		t.Errorf("a look that was broken off says %s", got.alive)
	}
}

// The server's own check and a witness's probe reach the controller.
func TestCheckAndProbe(t *testing.T) {
	s := newSite(t)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	srv := server("a")
	srv.Spec.Identity.Addresses = []fleet.Address{{IP: "127.0.0.1/8"}}
	_, port, _ := net.SplitHostPort(web.Listener.Addr().String())
	srv.Spec.Health.Check = fleet.Check{HTTP: "http://${address:0}:" + port + "/", Interval: fleet.Duration(50 * time.Millisecond)}
	s.hub.SetServers([]fleet.Server{srv})
	a := s.agent("host-1", t.TempDir(), func(o *Options) { o.PeerAddr = "127.0.0.1:0" })
	s.agent("host-2", t.TempDir(), func(o *Options) { o.PeerAddr = "127.0.0.1:0" })
	s.inContact("host-1")
	s.inContact("host-2")
	a.driver.become("a", 4, fleet.InstanceRunning)
	eventually(t, "signals", func() error {
		got := s.sweep(srv)
		check, alive := got.signal(fleet.ChannelApp, fleet.Works), got.signal(fleet.ChannelProbe, fleet.Alive)
		works := got.signal(fleet.ChannelProbe, fleet.Works)
		if check == nil || alive == nil || works == nil {
			return fmt.Errorf("check %v probe %v %v", check, alive, works)
		}
		if check.Answer != fleet.No || check.Epoch != 4 || check.Source.Vantage != "host-1" {
			return fmt.Errorf("check %+v", check)
		}
		for _, sig := range got.Servers[0].Signals {
			if sig.Source.Channel == fleet.ChannelProbe && sig.Source.Vantage != "host-2" {
				return fmt.Errorf("the host that runs it is its own witness")
			}
		}
		if alive.Answer != fleet.Yes || works.Answer != fleet.No {
			return fmt.Errorf("probe %+v %+v", alive, works)
		}
		return nil
	})
	eventually(t, "ping", func() error {
		for _, sig := range s.sweep().host("host-1").Signals {
			if sig.Source == (fleet.Source{Channel: fleet.ChannelProbe, Vantage: "host-2"}) && sig.Answer == fleet.Yes {
				return nil
			}
		}
		return errNotYet
	})
}

func TestApplicationBeats(t *testing.T) {
	s := newSite(t)
	srv := server("a")
	srv.Spec.Health.Check = fleet.Check{Beat: true, Timeout: fleet.Duration(200 * time.Millisecond)}
	s.hub.SetServers([]fleet.Server{srv})
	a := s.agent("host-1", t.TempDir(), nil)
	s.inContact("host-1")
	a.driver.become("a", 1, fleet.InstanceRunning)
	says := func(want fleet.Answer) error {
		sig := s.sweep(srv).signal(fleet.ChannelApp, fleet.Works)
		if sig == nil || sig.Answer != want {
			return fmt.Errorf("%+v, want %s", sig, want)
		}
		return nil
	}
	progress := uint64(0)
	eventually(t, "beats", func() error {
		progress++
		_ = app.Beat(t.Context(), a.BeatSocket("a", 1), progress)
		return says(fleet.Yes)
	})
	eventually(t, "silence", func() error { return says(fleet.No) })
}

func TestStorageBeatsReachTheController(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	for _, name := range []string{"host-1", "host-2"} {
		s.agent(name, t.TempDir(), func(o *Options) { o.StorageBeats = beats.Dir(dir) })
	}
	eventually(t, "storage heartbeats", func() error {
		got := s.sweep()
		for _, name := range []string{"host-1", "host-2"} {
			if h := got.host(name); h == nil || h.Host.StorageBeat != fleet.Yes {
				return errNotYet
			}
		}
		return nil
	})
}
