package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"relight/internal/api"
	"relight/internal/api/client"
	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/metric"
	"relight/internal/notify"
	"relight/internal/provider"
	"relight/internal/provider/guest"
	"relight/internal/provider/onprem"
	"relight/internal/provider/onprem/power"
	"relight/internal/provider/san"
	"relight/internal/store"
	"relight/internal/store/etcd"
)

// Options configure a controller process.
type Options struct {
	// Name is the controller's own name in the journal; the host's if empty.
	Name string
	// Dir holds the store, the closed audit segments and the people's tokens.
	Dir string
	// Endpoints are those of an outside etcd cluster; empty runs an embedded member.
	Endpoints []string
	// Listen is the HTTPS address of API and agents; BeatListen the UDP one of beats.
	Listen, BeatListen string
	// Advertise is the host name or address by which others reach Listen and
	// BeatListen; the listen address's own if empty.
	Advertise string
	// BeatLease is the length of the leases that beats' acks grant.
	BeatLease time.Duration
	// Contact is the silence after which a host counts as out of contact.
	Contact time.Duration
	// Lease is the length of the controller's own.
	Lease time.Duration
	Pace  Pace
	// Webhook and WebhookSecret configure the notifier; empty means none.
	Webhook, WebhookSecret string
	// Platforms are providers besides the host agents.
	Platforms []Platform
	// Guests is where guest agents of cloud instances join and report; nil if no
	// platform has any.
	Guests *guest.Door
	// Arrays are where providers that were made before the controller find servers' LUNs;
	// nil if none has any there.
	Arrays *san.Arrays
	Build  client.Version
	Log    *slog.Logger
	// Ready is told the addresses once the controller serves; may be nil.
	Ready func(Addresses)
}

// Platform is a provider whose owner limits how fast it may be called.
type Platform struct {
	Name     string
	Provider provider.Provider
	Limits   provider.Limits
	// Sweep is how often all its servers are observed in one batch.
	Sweep time.Duration
}

// Addresses are where a controller serves.
type Addresses struct {
	URL  string
	Beat string
	// CA is the path of the certificate that people's clients trust; Token that
	// of the administrator's token.
	CA, Token string
}

// wallClock is the machine's clock.
type wallClock struct{}

// Now implements Clock.
func (wallClock) Now() time.Time { return time.Now() }

// Controller is one running controller with all its parts. It is the one place
// where adapters are named.
type Controller struct {
	opt       Options
	clock     Clock
	log       *slog.Logger
	store     store.Store
	state     *State
	journal   *Journal
	reign     *Reigning
	chronicle *Chronicle
	secrets   *Secrets
	authority *enrol.Authority
	hub       *onprem.Hub
	arrays    *san.Arrays
	receiver  *beat.Receiver
	collector *Collector
	loops     *Loops
	backend   *Backend
	metrics   *metric.Registry
	teller    *Teller // nil without a webhook
	spare     *SpareWatch
	listener  net.Listener
	// sick is why the store takes no writes, or empty; asked every healthEvery,
	// because each decision reads it.
	sick atomic.Pointer[string]
}

// Run opens the store, takes the term, and serves until ctx ends.
func Run(ctx context.Context, opt Options) error {
	if opt.Pace.Sweep == 0 {
		// What was swept is judged by its age: it must be younger than the silence
		// that counts, with room for a late sweep.
		opt.Pace.Sweep = opt.Contact / 4
	}
	c := &Controller{opt: opt, clock: wallClock{}, log: opt.Log}
	defer c.close()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"open the store", c.openStore},
		{"take the term", c.takeTerm},
		{"read the journal", c.openChronicle},
		{"open the webhook", c.openTeller},
		{"open the listeners", c.listen},
		{"open the host provider", c.openHosts},
		{"open the door of guests", c.openGuests},
		{"wire the loops", c.wire},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return c.serve(ctx)
}

func (c *Controller) openStore(ctx context.Context) error {
	opt := etcd.Options{Endpoints: c.opt.Endpoints, Logger: c.log}
	if len(opt.Endpoints) == 0 {
		opt.Dir = filepath.Join(c.opt.Dir, "store")
	}
	st, err := etcd.Open(ctx, opt)
	if err != nil {
		return err // c.store stays nil: there is nothing to close
	}
	c.store = st
	c.state = NewState()
	c.journal = NewJournal(c.state, c.store)
	return c.state.Load(ctx, c.store)
}

// openEmbedded opens a store of one member in a directory.
func openEmbedded(ctx context.Context, dir string, log *slog.Logger) (store.Store, error) {
	return etcd.Open(ctx, etcd.Options{Dir: dir, Logger: log})
}

func (c *Controller) takeTerm(ctx context.Context) error {
	c.reign = NewReigning(c.journal, c.clock, c.opt.Name, c.opt.Lease)
	c.reign.CountBy(beat.BootClock())
	// The lock on an embedded store's directory dies with its process: whoever
	// opened it knows that the controller before is dead.
	for wait := c.reign.WaitFor(len(c.opt.Endpoints) == 0); wait > 0; wait = c.opt.Lease / 4 {
		c.log.Info("waiting for the lease of the controller before", "for", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := c.state.Load(ctx, c.store); err != nil {
			return err
		}
		if err := c.reign.Begin(ctx); !errors.Is(err, ErrReigns) {
			return err
		}
	}
	return c.reign.Begin(ctx)
}

func (c *Controller) openChronicle(ctx context.Context) error {
	dir := filepath.Join(c.opt.Dir, "audit")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var err error
	c.chronicle, err = NewChronicle(ctx, c.store, c.state, dir)
	if err == nil {
		c.journal.Listen(c.chronicle.Add)
		c.openMetrics()
	}
	return err
}

func (c *Controller) openTeller(ctx context.Context) error {
	if c.opt.Webhook == "" {
		return nil
	}
	var err error
	c.teller, err = NewTeller(ctx, TellerConfig{
		URL: c.opt.Webhook, Secret: c.opt.WebhookSecret, Journal: c.journal, Chronicle: c.chronicle, Clock: notify.WallClock{}, Log: c.log,
	})
	return err
}

func (c *Controller) listen(ctx context.Context) error {
	c.secrets = &Secrets{Journal: c.journal, Clock: c.clock}
	var err error
	if c.authority, err = enrol.OpenAuthority(ctx, c.secrets, c.clock.Now); err != nil {
		return err
	}
	var lc net.ListenConfig
	c.listener, err = lc.Listen(ctx, "tcp", c.opt.Listen)
	return err
}

// advertised is the address by which others reach a listener.
func (c *Controller) advertised(listening string) string {
	host, port, err := net.SplitHostPort(listening)
	if err != nil {
		return listening
	}
	if c.opt.Advertise != "" {
		host = c.opt.Advertise
	}
	return net.JoinHostPort(host, port)
}

func (c *Controller) openHosts(ctx context.Context) error {
	// Joining agents are told the address of beats, so a free port must be known
	// before the receiver opens it.
	listen, err := freePort(ctx, c.opt.BeatListen)
	if err != nil {
		return err
	}
	key, err := enrol.Secret(ctx, c.secrets, "array-key", san.KeySize)
	if err != nil {
		return fmt.Errorf("open arrays: %w", err)
	}
	if c.arrays = c.opt.Arrays; c.arrays == nil {
		c.arrays = san.New()
	}
	c.arrays.Open(san.Options{Open: openArray, Fenced: c.state.Fenced, Key: key, Now: c.clock.Now})
	c.hub, err = onprem.New(ctx, onprem.Options{
		Authority: c.authority, Vault: c.secrets, Registry: c.secrets, BeatAddr: c.advertised(listen),
		Contact: c.opt.Contact, Margin: beatMargin, DriftPPM: beatDriftPPM, AssumeLease: c.opt.BeatLease,
		Arrays: c.arrays,
		Now:    c.clock.Now, Clock: beat.BootClock(), Log: c.log,
	})
	if err != nil {
		return err
	}
	c.receiver, err = beat.Listen(beat.ReceiverConfig{Addr: listen, Clock: beat.BootClock()}, c.hub.Beats())
	return err
}

// url is the base URL by which others reach this controller.
func (c *Controller) url() string { return "https://" + c.advertised(c.listener.Addr().String()) }

// openGuests lets guest agents in, and providers launch instances with them.
func (c *Controller) openGuests(ctx context.Context) error {
	if c.opt.Guests == nil {
		return nil
	}
	guests, err := c.authority.Guests(ctx, c.secrets)
	if err != nil {
		return err
	}
	c.opt.Guests.Open(guest.Options{Guests: guests, URL: c.url(), Now: c.clock.Now, Log: c.log, Epoch: func(server string) (fleet.Epoch, bool) {
		_, known := c.state.Server(server)
		return c.state.Status(server).Epoch, known
	}, Disks: c.guestDisks, Formatted: c.journal.Formatted})
	return nil
}

// guestDisks tells a guest where its LUNs are.
func (c *Controller) guestDisks(ctx context.Context, server string, epoch fleet.Epoch) ([]guest.Disk, error) {
	disks, err := c.arrays.Logins(ctx, server, epoch)
	var out []guest.Disk
	for _, d := range disks {
		out = append(out, guest.Disk(d))
	}
	return out, err
}

// freePort replaces port 0 by one that is free now.
func freePort(ctx context.Context, addr string) (string, error) {
	if _, port, err := net.SplitHostPort(addr); err != nil || port != "0" {
		return addr, err
	}
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	return conn.LocalAddr().String(), nil
}

// Bounds of the agents' leases: see lease.HolderDeadline.
const (
	beatMargin   = 100 * time.Millisecond
	beatDriftPPM = 10000
)

// grant tells the beat table what acks may promise: never beyond our own lease.
func (c *Controller) grant() {
	a := c.reign.Authority()
	left := a.Until.Sub(c.clock.Now())
	c.hub.Beats().SetGrant(beat.Grant{Term: a.Term, Lease: c.opt.BeatLease, NotAfter: beat.BootClock()() + int64(left)})
}

// wire is the one table of parts.
func (c *Controller) wire(ctx context.Context) error {
	providers := map[string]provider.Provider{
		onprem.Name: provider.WithAuthority(counted{c.hub, c.metrics.ProviderRequest}, c.reign.Allowed),
	}
	turns, sweeps := map[string]Turner{}, map[string]time.Duration{}
	for _, p := range c.opt.Platforms {
		paced := provider.WithPacing(counted{p.Provider, c.metrics.ProviderRequest}, p.Limits, provider.WallClock{})
		providers[p.Name] = provider.WithAuthority(paced, c.reign.Allowed)
		turns[p.Name], sweeps[p.Name] = paced, p.Sweep
	}
	traits := map[string]fleet.Traits{}
	for name, p := range providers {
		traits[name] = p.Traits()
	}
	c.collector = NewCollector(c.clock.Now(), c.opt.Contact)
	c.collector.CountBy(beat.BootClock())
	viewer := &Viewer{State: c.state, Collector: c.collector, Traits: traits, Authority: c.reign.Authority, Trouble: c.trouble}
	healer := &Healer{Journal: c.journal, Viewer: viewer, Collector: c.collector, Providers: providers, Turns: turns, Clock: c.clock, Log: c.log}
	c.loops = &Loops{
		Healer: healer, Collector: c.collector, State: c.state, Reigning: c.reign, Deadlines: NewDeadlines(),
		Providers: providers, Clock: c.clock, Pace: c.opt.Pace, Sweeps: sweeps, Log: c.log, Renewed: c.grant,
	}
	c.spare = &SpareWatch{Viewer: viewer, Journal: c.journal, Clock: c.clock, Log: c.log}
	c.backend = &Backend{
		Spares:  c.spare,
		Journal: c.journal, State: c.state, Healer: healer, Viewer: viewer, Collector: c.collector, Chronicle: c.chronicle,
		Loops: c.loops, Clock: c.clock, Log: c.log, Build: c.opt.Build, Changed: c.tellProviders, Examine: c.examine, Alone: c.arrays.Alone, Kept: c.arrays.Kept, Left: c.orphans, Webhook: c.teller,
		Providers: slices.Sorted(maps.Keys(providers)),
		Enrolment: &Enrolment{Authority: c.authority, Vault: c.secrets, Forget: c.hub.Forget, URL: c.url()},
	}
	c.tellProviders()
	c.grant()
	c.askStore(ctx)
	return nil
}

// tellProviders hands the documents to the providers that need them.
func (c *Controller) tellProviders() {
	sites, servers := c.state.Sites(), c.state.Servers()
	c.arrays.SetSites(sites)
	c.arrays.SetServers(servers)
	c.hub.SetSites(sites)
	c.hub.SetServers(servers)
}

// trouble is why the store takes no writes, for the authority gate.
func (c *Controller) trouble() string {
	if why := c.sick.Load(); why != nil {
		return *why
	}
	return ""
}

func (c *Controller) askStore(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	why := ""
	if err := c.store.Health(ctx); err != nil {
		why = err.Error()
	}
	c.sick.Store(&why)
}

func (c *Controller) serve(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	people, err := OpenPeople(filepath.Join(c.opt.Dir, "people"))
	if err != nil {
		return err
	}
	ca := filepath.Join(c.opt.Dir, "ca.pem")
	if err := os.WriteFile(ca, certPEM(c.authority.Cert()), 0o644); err != nil { //nolint:gosec // a certificate is public
		return err
	}
	server := &http.Server{
		Handler: c.handler(people), TLSConfig: c.authority.ServerTLS(sans(c.opt.Advertise, c.listener.Addr())),
		ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var parts sync.WaitGroup
	// A controller without one of its parts must not go on as if it had it.
	part := func(run func() error) {
		parts.Go(func() {
			if err := run(); err != nil && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	part(func() error {
		err := server.Serve(tls.NewListener(c.listener, tlsFor(server)))
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	part(func() error { return c.receiver.Run(ctx) })
	parts.Go(func() { c.schedule(ctx) })
	parts.Go(func() { c.tell(ctx) })
	parts.Go(func() { c.spare.watch(ctx) })
	if c.opt.Ready != nil {
		c.opt.Ready(Addresses{URL: c.backend.Enrolment.URL, Beat: c.receiver.Addr().String(), CA: ca, Token: people.Admin()})
	}
	err = c.loops.Run(ctx)
	stop(err)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = server.Shutdown(closing)
	_ = server.Close()
	parts.Wait()
	if releaseErr := c.reign.Release(closing); releaseErr != nil && err == nil {
		c.log.Warn("cannot release the lease", "err", releaseErr)
	}
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// tell feeds the webhook, if there is one.
func (c *Controller) tell(ctx context.Context) {
	if c.teller != nil {
		c.teller.Run(ctx)
	}
}

func tlsFor(s *http.Server) *tls.Config {
	cfg := s.TLSConfig.Clone()
	// Plain HTTP/1.1: a black-holed long poll must be seen on its own connection.
	cfg.NextProtos = []string{"http/1.1"}
	return cfg
}

func (c *Controller) handler(people *People) http.Handler {
	return api.New(api.Options{
		Backend: c.backend, Auth: people, Log: c.log,
		Mount: func(mux *http.ServeMux) {
			mux.Handle("/agent/", c.hub.Handler())
			if c.opt.Guests != nil {
				mux.Handle("/guest/", c.opt.Guests.Handler())
			}
			c.mountHealth(mux)
			mux.Handle("GET /metrics", c.serveMetrics())
		},
	})
}

// checkpointEvery is how often the heads of the audit chains are joined and long
// chains are closed into segments.
const checkpointEvery = 10 * time.Minute

// healthEvery is how often the store is asked whether it takes writes.
const healthEvery = 500 * time.Millisecond

// schedule does what is due by the clock alone.
func (c *Controller) schedule(ctx context.Context) {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	health := time.NewTicker(healthEvery)
	defer health.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-health.C:
			c.askStore(ctx)
			continue
		case <-tick.C:
		}
		if err := errors.Join(c.chronicle.Checkpoint(ctx, c.clock.Now()), c.chronicle.Compact(ctx)); err != nil {
			c.log.Warn("cannot keep the audit record", "err", err)
		}
	}
}

func (c *Controller) close() {
	if c.receiver != nil {
		_ = c.receiver.Close()
	}
	if c.listener != nil {
		_ = c.listener.Close()
	}
	if c.store != nil {
		if err := c.store.Close(); err != nil {
			c.log.Warn("cannot close the store", "err", err)
		}
	}
}

// lookAtPower reads the state of a host's power devices.
func lookAtPower(ctx context.Context, p fleet.Power) []client.PowerDevice {
	ctx, cancel := context.WithTimeout(ctx, powerLook)
	defer cancel()
	var out []client.PowerDevice
	for _, r := range power.Look(ctx, p) {
		d := client.PowerDevice{Level: r.Level, Device: power.Name(r.Device), Plug: r.Device.Plug, State: r.State.String(), Doubts: r.Doubts}
		if r.Err != nil {
			d.State, d.Error = "unknown", r.Err.Error()
		}
		out = append(out, d)
	}
	return out
}
