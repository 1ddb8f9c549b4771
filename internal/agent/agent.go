package agent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"relight/internal/agent/beats"
	"relight/internal/agent/keeper/proc"
	"relight/internal/agent/volume"
	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider/onprem/link"
)

// Defaults of Options.
const (
	DefaultReportEvery = time.Second
	DefaultBeatEvery   = 200 * time.Millisecond
	// DefaultStorageBeatEvery spares file servers.
	DefaultStorageBeatEvery = time.Second
	// DefaultDriftPPM and DefaultMargin are the bounds of the lease.
	DefaultDriftPPM = 10_000
	DefaultMargin   = 100 * time.Millisecond

	tidyPace = 5 * time.Second
)

// Options configure an Agent.
type Options struct {
	// Dir is the agent's own directory: identity, memory, beat sockets.
	Dir string
	// Name is the host's name.
	Name string
	// Controller is the base URL, such as "https://controller:7443".
	Controller string
	// Token is a join token; it is needed only until the host is enrolled.
	Token string
	// BeatAddr overrides where beats go, "host:port"; else it is what the
	// controller said at enrolment.
	BeatAddr string
	// Units is how much the host can carry; 0 means that it does not count.
	Units int
	// StorageBeats is where the hosts' heartbeats lie on shared storage; nil means nowhere.
	StorageBeats beats.Store
	// StorageBeatEvery is how often they are written and read. All hosts should have
	// the same: one that stands still for three and a half times as long counts as
	// stopped. A server whose suspectAfter is shorter cannot tell an isolated host
	// from a dead one between two of them.
	StorageBeatEvery time.Duration
	// PeerAddr is the UDP address on which peers are answered, "ip:port"; empty
	// means that they are not, and then no peer's question is asked either.
	PeerAddr string
	// Driver runs processes.
	Driver Driver
	// Machines runs virtual machines; nil on hosts without a hypervisor.
	Machines Driver
	// Inspect looks at a volume; volume.Inspect if nil.
	Inspect func(dir string) (volume.State, error)
	// WhoHas asks who else has an address of an instance; WhoHas if nil.
	WhoHas func(ip netip.Addr, device, bridge string) ([]string, error)
	// Announce tells the network who has it; Announce if nil.
	Announce func(ip netip.Addr, device, bridge, mac string) error
	// Clock is the lease clock; beat.BootClock() if nil.
	Clock beat.Clock
	// Watchdog resets the host if what a lost lease must end does not end; nil on
	// hosts without one.
	Watchdog Watchdog
	// Now is the wall clock of certificates; time.Now if nil.
	Now         func() time.Time
	Log         *slog.Logger
	ReportEvery time.Duration
	BeatEvery   time.Duration
}

// Agent is the host agent. Make it with New and use it by Run, once.
type Agent struct {
	opt    Options
	run    string // drawn at each start
	boot   string
	memory *memory
	board  *board
	desk   *desk

	// news wakes the reports; changes wakes the reconciling of lookers.
	news, changes chan struct{}
	// tasks are all goroutines of Run.
	tasks   sync.WaitGroup
	lookers map[string]*looker

	// id is what the host joined with. Its certificate is renewed, see rotation.
	id       *identity
	rotation *rotation
	watchdog *watchdog
	channel  *channel
	beats    atomic.Pointer[beat.Runner] // nil until the controller's beat address is known
	leased   func() bool                 // whether the host's lease holds
	keys     *peerKeys
	peers    asker // nil without a peer address
	peerSock *net.UDPConn

	mu   sync.Mutex
	seq  uint64
	look uint64
}

// New opens the agent's directory. Nothing is sent before Run.
func New(o Options) (*Agent, error) {
	if err := enrol.CheckHost(o.Name); err != nil {
		return nil, err
	}
	if o.Driver == nil {
		return nil, errors.New("agent needs a driver")
	}
	o.Driver = newDrivers(o.Driver, o.Machines)
	if o.Inspect == nil {
		o.Inspect = volume.Inspect
	}
	if o.WhoHas == nil {
		o.WhoHas = WhoHas
	}
	if o.Announce == nil {
		o.Announce = Announce
	}
	if o.Clock == nil {
		o.Clock = beat.BootClock()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ReportEvery == 0 {
		o.ReportEvery = DefaultReportEvery
	}
	if o.BeatEvery == 0 {
		o.BeatEvery = DefaultBeatEvery
	}
	if o.StorageBeatEvery == 0 {
		o.StorageBeatEvery = DefaultStorageBeatEvery
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "beat"), 0o700); err != nil {
		return nil, fmt.Errorf("agent directory: %w", err)
	}
	a := &Agent{
		opt: o, desk: newDesk(), lookers: map[string]*looker{},
		news: make(chan struct{}, 1), changes: make(chan struct{}, 1),
	}
	var run [8]byte
	if _, err := rand.Read(run[:]); err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	a.run = hex.EncodeToString(run[:])
	a.boot, _ = proc.BootID() // it only tells people that the host was rebooted
	a.watchdog = newWatchdog(o.Watchdog, o.Log, a.tell)
	a.board = newBoard(o.Clock, func() { a.tell() })
	a.leased = func() bool { return a.lease().Until > o.Clock() }
	var err error
	if a.memory, err = openMemory(o.Dir); err != nil {
		return nil, err
	}
	return a, nil
}

// Term is the highest controller term that this host has obeyed.
func (a *Agent) Term() fleet.Term { return a.memory.obeyed().Term }

// BeatSocket is where an instance's own heartbeats come in; drivers hand it down.
func (a *Agent) BeatSocket(server string, epoch fleet.Epoch) string {
	return a.beatSocket(server, epoch)
}

func shortName(server string, epoch fleet.Epoch) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s.%d", server, epoch))
	return hex.EncodeToString(sum[:6])
}

// Run joins the controller if this host has not joined yet, and works until ctx
// ends. Instances go on when it returns. It returns an error only if it cannot
// begin: no token, a refusal, a damaged directory.
func (a *Agent) Run(ctx context.Context) error {
	id, err := openIdentity(ctx, a.opt)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("agent of %s: %w", a.opt.Name, err)
	}
	a.id = id
	a.rotation, err = newRotation(a.opt, id)
	if err != nil {
		return fmt.Errorf("agent of %s: %w", a.opt.Name, err)
	}
	conf, err := a.rotation.tls()
	if err != nil {
		return fmt.Errorf("agent of %s: %w", a.opt.Name, err)
	}
	a.channel = newChannel(a.opt.Controller, conf, a.rotation.ended)
	defer a.channel.close()
	if err := a.openPeers(); err != nil {
		return fmt.Errorf("agent of %s: %w", a.opt.Name, err)
	}
	defer a.tasks.Wait()
	a.start(ctx)
	a.reconcile(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.opt.Driver.Changes():
			a.nudgeVolumes()
			a.tell()
			a.reconcile(ctx)
		case <-a.changes:
			a.reconcile(ctx)
		}
	}
}

func (a *Agent) start(ctx context.Context) {
	a.tasks.Go(func() { a.poll(ctx) })
	a.tasks.Go(func() { a.reports(ctx) })
	a.tasks.Go(func() { a.tidy(ctx) })
	a.tasks.Go(func() { a.rotate(ctx) })
	if d, ok := a.opt.Driver.(*drivers); ok {
		a.tasks.Go(func() { d.forward(ctx) })
	}
	if w, ok := a.machines(); ok {
		a.tasks.Go(func() { a.keepWarm(ctx, w) })
	}
	if a.opt.BeatAddr != "" || a.id.BeatAddr != "" {
		a.tasks.Go(func() { a.beat(ctx) })
		// Without beats there are no leases, hence none that could end.
		a.tasks.Go(func() { a.guard(ctx) })
	} else if a.opt.Watchdog != nil {
		a.watchdog.note(&a.watchdog.fault, errNoLease)
	}
	if a.opt.StorageBeats != nil {
		a.tasks.Go(func() { a.keepStorageBeat(ctx) })
	}
	if a.peerSock != nil {
		a.tasks.Go(func() {
			p := newPeer(a.id.Agent, a.keys)
			if err := p.Serve(ctx, a.peerSock, a.higher); err != nil {
				a.opt.Log.Error("peers are not answered any more", "error", err)
			}
		})
	}
}

// openPeers opens the socket for peers' questions.
func (a *Agent) openPeers() error {
	a.keys = &peerKeys{self: a.id.Agent}
	a.keys.set(a.memory.watched().Peers)
	if a.opt.PeerAddr == "" {
		return nil
	}
	addr, err := net.ResolveUDPAddr("udp", a.opt.PeerAddr)
	if err != nil {
		return fmt.Errorf("peer address: %w", err)
	}
	if a.peerSock, err = net.ListenUDP("udp", addr); err != nil {
		return fmt.Errorf("peer address: %w", err)
	}
	a.peers = newPeer(a.id.Agent, a.keys)
	return nil
}

// peerAddr is what is told to the controller.
func (a *Agent) peerAddr() string {
	if a.peerSock == nil {
		return ""
	}
	return a.peerSock.LocalAddr().String()
}

// tell sends a report and a beat soon, because something has changed.
func (a *Agent) tell() {
	select {
	case a.news <- struct{}{}:
	default:
	}
	if r := a.beats.Load(); r != nil {
		r.Nudge()
	}
}

// takeWatch takes a new watch from the controller.
func (a *Agent) takeWatch(w *link.Watch) {
	if err := a.memory.setWatch(w); err != nil {
		a.opt.Log.Error("watch not remembered", "error", err)
	}
	a.keys.set(w.Peers)
	select {
	case a.changes <- struct{}{}:
	default:
	}
	a.tell()
}

// tidy has the driver clean up behind instances that are gone, now and then: never
// at once, because whoever stopped one may still be reading about it.
func (a *Agent) tidy(ctx context.Context) {
	for pause(ctx, tidyPace) {
		if err := a.opt.Driver.Tidy(ctx); err != nil {
			a.opt.Log.Warn("tidy", "error", err)
		}
	}
}

// setLook has the next reports answer the look.
func (a *Agent) setLook(n uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.look = n
}
