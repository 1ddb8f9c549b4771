package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

func TestJoinRefusals(t *testing.T) {
	s := newSite(t)
	stranger := newSite(t)
	used := s.token("")
	first := s.agent("host-1", t.TempDir(), func(o *Options) { o.Token = used })
	s.inContact("host-1")
	first.stop()
	old, err := s.auth.MakeToken(t.Context(), s.vault, "", -time.Second)
	must(t, err)
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"no token":          {"", ErrNoToken},
		"not a token":       {"relight1.x.y", enrol.ErrToken},
		"used token":        {used, ErrRefused},
		"expired token":     {old.Text(), ErrRefused},
		"other host's":      {s.token("host-9"), ErrRefused},
		"other authority's": {stranger.token(""), enrol.ErrAuthority},
	} {
		a, err := New(Options{Dir: t.TempDir(), Name: "host-2", Controller: "https://" + s.addr, Token: c.token, Driver: newFake(), Log: logger(t)})
		must(t, err)
		if err := a.Run(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// The first one needs no token any more.
	s.agent("host-1", first.opt.Dir, func(o *Options) { o.Token = "" })
	s.inContact("host-1")
}

// enrolled joins a host without an agent and returns its client.
func (s *site) enrolled(name string) *http.Client {
	s.t.Helper()
	key, err := enrol.MakeKey()
	must(s.t, err)
	csr, err := enrol.Request(key)
	must(s.t, err)
	got, err := s.auth.Enrol(s.t.Context(), s.vault, s.token(name), name, csr)
	must(s.t, err)
	must(s.t, s.registry.SaveHost(s.t.Context(), got.Host))
	must(s.t, s.hub.Refresh(s.t.Context()))
	return s.client(got.Cert, key)
}

func (s *site) client(cert []byte, key *ecdsa.PrivateKey) *http.Client {
	shown := &tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}
	conf, err := enrol.ClientTLS(func() *tls.Certificate { return shown }, s.auth.Cert(), s.now)
	must(s.t, err)
	c := newClient(conf)
	s.t.Cleanup(c.CloseIdleConnections)
	return c
}

func (s *site) channel(c *http.Client) *channel {
	ch := &channel{base: "https://" + s.addr, ended: func() error { return nil }}
	ch.now.Store(&clients{poll: c, post: c})
	return ch
}

func (s *site) post(c *http.Client, path string, m any) error {
	return s.channel(c).send(s.t.Context(), path, m)
}

func TestOnlyEnrolledHostsAreHeard(t *testing.T) {
	s := newSite(t)
	s.hub.SetServers([]fleet.Server{server("a")})
	report := link.Report{V: link.Version, Run: "r", Seq: 1, Units: 4, Instances: []link.Instance{
		{Server: "a", Epoch: 1, State: fleet.InstanceRunning, Alive: fleet.Yes},
	}}
	nobody := newClient(&tls.Config{RootCAs: s.auth.Pool(), ServerName: enrol.ControllerName})
	t.Cleanup(nobody.CloseIdleConnections)
	for _, path := range []string{link.PathReport, link.PathResult, link.PathWork} {
		if err := s.post(nobody, path, report); !errors.Is(err, ErrRefused) {
			t.Errorf("%s without a certificate: %v, want ErrRefused", path, err)
		}
	}
	one, two := s.enrolled("host-1"), s.enrolled("host-2")
	must(t, s.post(one, link.PathReport, report))
	got := s.sweep(server("a"))
	if in := got.instance(1); in == nil || in.Host != "host-1" {
		t.Errorf("host-1's report counts for %+v", in)
	}
	if h := got.host("host-2"); h.Host.Closed == "" || len(h.Servers) != 0 {
		t.Errorf("host-1 spoke for host-2: %+v", h)
	}
	// Joining anew makes the earlier certificate worthless; so does forgetting.
	again := s.enrolled("host-1")
	if err := s.post(one, link.PathReport, report); !errors.Is(err, ErrRefused) {
		t.Errorf("the earlier certificate of host-1: %v, want ErrRefused", err)
	}
	must(t, s.post(again, link.PathReport, report))
	must(t, s.hub.Forget(t.Context(), "host-2"))
	if err := s.post(two, link.PathReport, report); !errors.Is(err, ErrRefused) {
		t.Errorf("forgotten host-2: %v, want ErrRefused", err)
	}
}

// A host must not answer for a command that another one was handed.
func TestResultsOfOthersAreNotTaken(t *testing.T) {
	s := newSite(t)
	s.enrolled("host-1")
	two := s.enrolled("host-2")
	srv := server("a")
	c := call(t, srv, fleet.StepLaunch, "host-1", 1)
	c.Step.Within = fleet.Duration(300 * time.Millisecond)
	done := make(chan error, 1)
	go func() {
		_, err := s.hub.Do(context.Background(), c)
		done <- err
	}()
	eventually(t, "the call's end", func() error {
		must(t, s.post(two, link.PathResult, link.Result{V: link.Version, ID: c.Step.Token}))
		select {
		case err := <-done:
			if cl, may := class(t, err); cl != provider.Retry || may {
				t.Errorf("the call ended with %v; want a retry that never went out", err)
			}
			return nil
		default:
			return errNotYet
		}
	})
}

func TestCommandsAndSignals(t *testing.T) {
	s := newSite(t)
	a := s.agent("host-1", t.TempDir(), func(o *Options) { o.Units = 2 })
	srv := server("a")
	s.hub.SetServers([]fleet.Server{srv, server("b"), server("c")})
	s.inContact("host-1")
	if _, err := s.hub.Do(t.Context(), call(t, srv, fleet.StepLaunch, "host-1", 1)); err != nil {
		t.Fatal(err)
	}
	got := s.sweep(srv)
	if in := got.instance(1); in == nil || in.State != fleet.InstanceRunning {
		t.Fatalf("observed %+v", got.Servers[0].Observed)
	}
	if sig := got.signal(fleet.ChannelAgent, fleet.Alive); sig == nil || sig.Answer != fleet.Yes || sig.Source.Vantage != "host-1" || sig.Epoch != 1 {
		t.Errorf("agent's signal: %+v", sig)
	}
	eventually(t, "beats", func() error {
		if sig := s.sweep(srv).signal(fleet.ChannelBeat, fleet.Alive); sig == nil || sig.Answer != fleet.Yes {
			return errNotYet
		}
		return nil
	})
	drain(s.hub.Wakes())
	a.driver.become("a", 1, fleet.InstanceReaped)
	for name := ""; name != "a"; {
		select {
		case name = <-s.hub.Wakes():
		case <-time.After(10 * time.Second):
			t.Fatal("the end of an instance wakes nobody")
		}
	}
	eventually(t, "the reaped instance", func() error {
		sig := s.sweep(srv).signal(fleet.ChannelAgent, fleet.Alive)
		if sig == nil || sig.Answer != fleet.No || !sig.CannotLie {
			return fmt.Errorf("%+v", sig)
		}
		return nil
	})
	// Capacity: two units are taken by b and c, so a has no room.
	for _, name := range []string{"b", "c"} {
		if _, err := s.hub.Do(t.Context(), call(t, server(name), fleet.StepLaunch, "host-1", 1)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.hub.Do(t.Context(), call(t, srv, fleet.StepLaunch, "host-1", 2, fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 1}))
	if cl, may := class(t, err); cl != provider.Capacity || may {
		t.Errorf("a full host: %v, want capacity", err)
	}
	if h := s.sweep().host("host-1").Host; h.Units != 2 || h.UsedUnits != 2 {
		t.Errorf("units %d of %d", h.UsedUnits, h.Units)
	}
}

func drain(c <-chan string) {
	for {
		select {
		case <-c:
		default:
			return
		}
	}
}

func TestRefusals(t *testing.T) {
	s := newSite(t)
	a := s.agent("host-1", t.TempDir(), nil)
	srv := server("a")
	s.inContact("host-1")
	c := call(t, srv, fleet.StepLaunch, "host-1", 3, fleet.Evidence{Method: fleet.Attested, Server: "a", Epoch: 2})
	c.Term = 7
	if _, err := s.hub.Do(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	calls := a.driver.count()
	refused := func(what string, c provider.Call) {
		t.Helper()
		_, err := s.hub.Do(t.Context(), c)
		if cl, may := class(t, err); cl != provider.Refused || may {
			t.Errorf("%s: %v, want a refusal", what, err)
		}
		if n := a.driver.count(); n != calls {
			t.Errorf("%s reached the driver", what)
		}
	}
	stop := call(t, srv, fleet.StepStop, "host-1", 3)
	stop.Term = 6
	refused("an old term at the hub", stop)
	c.Proof = provider.Call{}.Proof
	refused("a launch without proof", c)
	old := call(t, srv, fleet.StepLaunch, "host-1", 2, fleet.Evidence{Method: fleet.Attested, Server: "a", Epoch: 1})
	old.Term = 7
	refused("an old epoch at the agent", old)
	// A controller that never saw term 7 has it refused by the agent.
	s.stop()
	s.start()
	s.inContact("host-1")
	refused("an old term at the agent", stop)
	other := c
	other.Server.Spec.Template.Process = &fleet.ProcessTemplate{Command: []string{"other"}}
	other.Proof = call(t, srv, fleet.StepLaunch, "host-1", 3, fleet.Evidence{Method: fleet.Attested, Server: "a", Epoch: 2}).Proof
	_, err := s.hub.Do(t.Context(), other)
	if cl, _ := class(t, err); cl != provider.Conflict {
		t.Errorf("another command under the same token: %v, want a conflict", err)
	}
	nowhere := call(t, srv, fleet.StepLaunch, "host-9", 1)
	nowhere.Term = 7
	_, err = s.hub.Do(t.Context(), nowhere)
	if cl, _ := class(t, err); cl != provider.NotFound {
		t.Errorf("a host that is not enrolled: %v, want notFound", err)
	}
}

// A controller dies while a command runs; its successor sends it again.
func TestReplayLeavesOneEffect(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	a := s.agent("host-1", dir, nil)
	s.inContact("host-1")
	hold := make(chan struct{})
	a.driver.hold = hold
	c := call(t, server("a"), fleet.StepLaunch, "host-1", 1)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := s.hub.Do(ctx, c)
		first <- err
	}()
	<-a.driver.began
	s.stop()
	cancel()
	if cl, may := class(t, <-first); cl != provider.Retry || !may {
		t.Error("a command that was handed out may have happened")
	}
	s.start()
	s.inContact("host-1")
	second := make(chan error, 1)
	go func() {
		_, err := s.hub.Do(t.Context(), c)
		second <- err
	}()
	// It is under way or waits; only its first run may end it.
	close(hold)
	must(t, <-second)
	if _, err := s.hub.Do(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	// And once more through an agent that was restarted.
	a.stop()
	s.agent("host-1", dir, func(o *Options) { o.Driver = a.driver })
	eventually(t, "the restarted agent", func() error {
		_, err := s.hub.Do(t.Context(), c)
		return err
	})
	if n := a.driver.count(); n != 1 {
		t.Errorf("%d effects, want 1", n)
	}
}

// The connection dies without a word while a command runs.
func TestCutAndHeal(t *testing.T) {
	s := newSite(t)
	r := newRelay(t, s.addr)
	a := s.agent("host-1", t.TempDir(), func(o *Options) {
		o.Controller = "https://" + r.addr
		o.BeatAddr = "127.0.0.1:9" // nobody listens there
	})
	srv := server("a")
	s.hub.SetServers([]fleet.Server{srv})
	s.inContact("host-1")
	hold := make(chan struct{})
	a.driver.hold = hold
	c := call(t, srv, fleet.StepLaunch, "host-1", 1)
	c.Step.Within = fleet.Duration(time.Minute)
	done := make(chan error, 1)
	go func() {
		_, err := s.hub.Do(t.Context(), c)
		done <- err
	}()
	<-a.driver.began
	r.setWhole(false)
	close(hold)
	eventually(t, "silence noticed", func() error {
		if h := s.sweep(srv).host("host-1"); h.Host.InContact != fleet.No {
			return errNotYet
		}
		return nil
	})
	if got := s.sweep(srv); got.Servers[0].Observed.Complete {
		t.Error("the sweep is complete though a host that was handed a launch is silent")
	}
	stop := call(t, srv, fleet.StepStop, "host-1", 1)
	_, err := s.hub.Do(t.Context(), stop)
	if cl, may := class(t, err); cl != provider.Retry || may {
		t.Errorf("a silent host: %v, want a retry at once that cannot have happened", err)
	}
	r.setWhole(true)
	// The result comes over a new connection, unless the hub gave the command up
	// when contact ended; the identical call then finds what was done.
	if err := <-done; err != nil {
		if cl, may := class(t, err); cl != provider.Retry || !may {
			t.Errorf("a command that was with the silent host: %v, want a retry that may have happened", err)
		}
		s.inContact("host-1")
		_, err := s.hub.Do(t.Context(), c)
		must(t, err)
	}
	if n := a.driver.count(); n != 1 {
		t.Errorf("%d effects, want 1", n)
	}
	s.inContact("host-1")
	if _, err := s.hub.Do(t.Context(), stop); err != nil {
		t.Errorf("after the cut: %v", err)
	}
	if got := s.sweep(srv); !got.Servers[0].Observed.Complete || got.instance(1).State != fleet.InstanceReaped {
		t.Errorf("after the cut: %+v", got.Servers[0].Observed)
	}
}

// A command that the agent never got is handed out again at its next poll.
func TestLostCommandIsHandedOutAgain(t *testing.T) {
	s := newSite(t)
	r := newRelay(t, s.addr)
	a := s.agent("host-1", t.TempDir(), func(o *Options) { o.Controller = "https://" + r.addr })
	s.inContact("host-1")
	r.setWhole(false)
	c := call(t, server("a"), fleet.StepLaunch, "host-1", 1)
	c.Step.Within = fleet.Duration(time.Minute)
	done := make(chan error, 1)
	go func() {
		_, err := s.hub.Do(t.Context(), c) // beats go on, so the host counts as in contact
		done <- err
	}()
	select {
	case <-a.driver.began:
		t.Fatal("the relay is not cut")
	case err := <-done:
		t.Fatalf("ended early: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	r.setWhole(true)
	must(t, <-done)
	if n := a.driver.count(); n != 1 {
		t.Errorf("%d effects, want 1", n)
	}
}

func TestUnknownOutcomeIsLookedAt(t *testing.T) {
	s := newSite(t)
	a := s.agent("host-1", t.TempDir(), func(o *Options) { o.ReportEvery = time.Hour })
	srv := server("a")
	s.hub.SetServers([]fleet.Server{srv})
	s.inContact("host-1")
	hold := make(chan struct{})
	a.driver.hold = hold
	c := call(t, srv, fleet.StepLaunch, "host-1", 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-a.driver.began
		cancel()
	}()
	_, err := s.hub.Do(ctx, c)
	if cl, may := class(t, err); cl != provider.Retry || !may {
		t.Fatalf("a call that was given up: %v, want a retry that may have happened", err)
	}
	if s.sweep(srv).Servers[0].Observed.Complete {
		t.Error("the sweep is complete while the launch may be under way")
	}
	close(hold)
	eventually(t, "the effect", func() error {
		if got := s.sweep(srv); got.instance(1) == nil || !got.Servers[0].Observed.Complete {
			return errNotYet
		}
		return nil
	})
}

// BenchmarkCommand is the way of a command to an idle agent, through its memory on
// disk, and of its result back.
func BenchmarkCommand(b *testing.B) {
	s := newSite(b)
	a := s.agent("host-1", b.TempDir(), nil)
	s.inContact("host-1")
	go func() {
		for range a.driver.began {
		}
	}()
	defer close(a.driver.began)
	n := 0
	for b.Loop() {
		n++
		c := call(b, server("a"), fleet.StepDetach, "host-1", 1)
		c.Step.Token = fmt.Sprint(n)
		if _, err := s.hub.Do(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}
