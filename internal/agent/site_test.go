package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider"
	"relight/internal/provider/onprem"
	"relight/internal/provider/onprem/link"
)

// registry is an enrol.Registry in memory.
type registry struct {
	mu    sync.Mutex
	hosts map[string]enrol.Host
}

func (r *registry) Hosts(context.Context) ([]enrol.Host, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.hosts)), nil
}

func (r *registry) SaveHost(_ context.Context, h enrol.Host) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts[h.Name] = h
	return nil
}

func (r *registry) RemoveHost(_ context.Context, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hosts, name)
	return nil
}

func (r *registry) ChangeHost(_ context.Context, name string, change func(enrol.Host) (enrol.Host, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.hosts[name]
	if !ok {
		return enrol.ErrAbsent
	}
	after, err := change(h)
	if err == nil {
		r.hosts[name] = after
	}
	return err
}

func (r *registry) host(name string) enrol.Host {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hosts[name]
}

// site is a controller's hub behind TLS on a loopback address that outlives it.
type site struct {
	t        testing.TB
	vault    *enrol.DirVault
	registry *registry
	auth     *enrol.Authority
	addr     string
	beatAddr string
	// ahead is how far the wall clock of certificates is ahead, on both sides.
	ahead atomic.Int64

	hub  *onprem.Hub
	stop func()
}

func newSite(t testing.TB) *site {
	t.Helper()
	vault, err := enrol.NewDirVault(filepath.Join(t.TempDir(), "vault"))
	must(t, err)
	s := &site{t: t, vault: vault, registry: &registry{hosts: map[string]enrol.Host{}}, addr: "127.0.0.1:0", beatAddr: "127.0.0.1:0"}
	s.auth, err = enrol.OpenAuthority(t.Context(), vault, s.now)
	must(t, err)
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// start starts a controller, or a new one after stop.
func (s *site) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	// The socket first: its address is told to those who join.
	hub, err := onprem.New(ctx, onprem.Options{
		Authority: s.auth, Vault: s.vault, Registry: s.registry, BeatAddr: "",
		Contact: 700 * time.Millisecond, Now: time.Now, Clock: beat.BootClock(), Log: logger(s.t),
	})
	must(s.t, err)
	s.hub = hub
	l, err := net.Listen("tcp", s.addr)
	must(s.t, err)
	s.addr = l.Addr().String()
	server := &http.Server{
		Handler: hub.Handler(), TLSConfig: s.auth.ServerTLS(nil),
		ErrorLog: slog.NewLogLogger(logger(s.t).Handler(), slog.LevelDebug),
	}
	receiver, err := beat.Listen(beat.ReceiverConfig{Addr: s.beatAddr, Clock: beat.BootClock()}, hub.Beats())
	must(s.t, err)
	s.beatAddr = receiver.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.ServeTLS(l, "", "") })
	wg.Go(func() { _ = receiver.Run(ctx) })
	s.stop = func() {
		cancel()
		_ = server.Close()
		wg.Wait()
		s.stop = func() {}
	}
}

// now is the wall clock of certificates.
func (s *site) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

func (s *site) token(host string) string {
	s.t.Helper()
	tok, err := s.auth.MakeToken(s.t.Context(), s.vault, host, time.Hour)
	must(s.t, err)
	return tok.Text()
}

// running is an agent that runs.
type running struct {
	*Agent
	driver *fake
	stop   func()
}

// agent starts an agent with the fake driver; dir keeps its identity.
func (s *site) agent(name, dir string, change func(*Options)) *running {
	s.t.Helper()
	d := newFake()
	o := Options{
		Dir: dir, Name: name, Controller: "https://" + s.addr, Token: s.token(name), BeatAddr: s.beatAddr,
		Driver: d, Now: s.now, Log: logger(s.t).With("host", name), ReportEvery: 200 * time.Millisecond, BeatEvery: 50 * time.Millisecond,
	}
	if change != nil {
		change(&o)
	}
	if f, ok := o.Driver.(*fake); ok {
		d = f
	}
	a, err := New(o)
	must(s.t, err)
	if p, ok := o.Driver.(*Processes); ok {
		p.Term, p.BeatSocket = a.Term, a.BeatSocket
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.Run(ctx); err != nil {
			s.t.Errorf("agent %s: %v", name, err)
		}
	})
	var once sync.Once
	r := &running{Agent: a, driver: d, stop: func() { once.Do(func() { cancel(); wg.Wait() }) }}
	s.t.Cleanup(r.stop)
	return r
}

// inContact waits until the host has reported to the present controller.
func (s *site) inContact(host string) {
	s.t.Helper()
	eventually(s.t, host+" in contact", func() error {
		h := s.sweep().host(host)
		if h == nil || h.Host.InContact != fleet.Yes || h.Host.Closed != "" {
			return fmt.Errorf("%+v", h)
		}
		return nil
	})
}

type sweep struct{ provider.Sweep }

func (s *site) sweep(servers ...fleet.Server) sweep {
	s.t.Helper()
	got, err := s.hub.Observe(s.t.Context(), servers)
	must(s.t, err)
	return sweep{got}
}

func (s sweep) host(name string) *provider.HostSight {
	for i := range s.Hosts {
		if s.Hosts[i].Host.Name == name {
			return &s.Hosts[i]
		}
	}
	return nil
}

func (s sweep) instance(epoch fleet.Epoch) *fleet.Instance {
	for i, in := range s.Servers[0].Observed.Instances {
		if in.Epoch == epoch {
			return &s.Servers[0].Observed.Instances[i]
		}
	}
	return nil
}

func (s sweep) signal(c fleet.Channel, q fleet.Question) *fleet.Signal {
	for i, sig := range s.Servers[0].Signals {
		if sig.Source.Channel == c && sig.Question == q {
			return &s.Servers[0].Signals[i]
		}
	}
	return nil
}

// server is a server whose instances do nothing but live.
func server(name string, volumes ...fleet.Volume) fleet.Server {
	return fleet.Server{Name: name, Spec: fleet.ServerSpec{
		Provider: onprem.Name, Identity: fleet.Identity{Volumes: volumes},
		Template:  fleet.Template{Process: &fleet.ProcessTemplate{Command: []string{"sleep", "1000"}}},
		Placement: fleet.Placement{Units: 1},
	}}
}

// call makes a call whose token is fit for a replay.
func call(t testing.TB, s fleet.Server, kind fleet.StepKind, host string, epoch fleet.Epoch, evidence ...fleet.Evidence) provider.Call {
	t.Helper()
	proof, missing := fence.Prove(s, epoch-1, "", evidence, time.Now())
	if kind == fleet.StepLaunch && len(missing) > 0 {
		t.Fatalf("no proof: %v", missing)
	}
	return provider.Call{
		Server: s, Term: 1, Proof: proof,
		Step: fleet.Step{
			Kind: kind, Server: s.Name, Epoch: epoch, Host: host,
			Token: fmt.Sprintf("%s/%d/%s/%s", s.Name, epoch, kind, host), Within: fleet.Duration(10 * time.Second),
			Fresh: kind == fleet.StepAttach && epoch == 1,
		},
	}
}

// fake is a Driver without processes.
type fake struct {
	changes chan struct{}

	mu        sync.Mutex
	instances []Instance
	calls     []link.Command
	// hold, if set, keeps Do waiting until it is closed.
	hold chan struct{}
	// began receives each command that Do has begun.
	began chan link.Command
	fail  error
}

func newFake() *fake {
	return &fake{changes: make(chan struct{}, 1), began: make(chan link.Command, 100)}
}

func (f *fake) Changes() <-chan struct{}   { return f.changes }
func (f *fake) Tidy(context.Context) error { return nil }

func (f *fake) Instances() []Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.instances)
}

// become sets the state of an instance.
func (f *fake) become(server string, epoch fleet.Epoch, state fleet.InstanceState) {
	f.mu.Lock()
	i := Instance{Server: server, Epoch: epoch, State: state, Since: time.Now(), Alive: fleet.No}
	if state == fleet.InstanceRunning {
		i.Alive = fleet.Yes
	}
	f.instances = slices.DeleteFunc(f.instances, func(o Instance) bool { return o.Server == server && o.Epoch == epoch })
	f.instances = append(f.instances, i)
	f.mu.Unlock()
	select {
	case f.changes <- struct{}{}:
	default:
	}
}

func (f *fake) Do(ctx context.Context, cmd link.Command) (Effect, error) {
	f.mu.Lock()
	f.calls = append(f.calls, cmd)
	hold, fail := f.hold, f.fail
	f.mu.Unlock()
	f.began <- cmd
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return Effect{}, ctx.Err()
		}
	}
	if fail != nil {
		return Effect{}, fail
	}
	step := cmd.Step
	switch step.Kind {
	case fleet.StepLaunch:
		f.become(step.Server, step.Epoch, fleet.InstanceRunning)
	case fleet.StepStop:
		f.become(step.Server, step.Epoch, fleet.InstanceReaped)
		return Effect{Evidence: []fleet.Evidence{{Method: fleet.Reaped, Server: step.Server, Epoch: step.Epoch}}}, nil
	}
	return Effect{Detail: "done"}, nil
}

func (f *fake) End(_ context.Context, server string, epoch fleet.Epoch) error {
	f.become(server, epoch, fleet.InstanceReaped)
	return nil
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until f is content.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// logger writes to the test's log; what comes after the test's end is dropped.
func logger(t testing.TB) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.t = nil
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type testWriter struct {
	mu sync.Mutex
	t  testing.TB
}

func (w *testWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Logf("%s", b[:len(b)-1])
	}
	return len(b), nil
}

// class returns the class of a call's error and fails the test if there is none.
func class(t *testing.T, err error) (provider.Class, bool) {
	t.Helper()
	var e *provider.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is not classed", err)
	}
	return e.Class, e.MayHaveHappened
}

var errNotYet = errors.New("not yet")
