package onprem

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
	"relight/internal/provider/san"
)

// Name is the provider's name in specs.
const Name = "onprem"

// Defaults of Options.
const (
	// DefaultContact is three reports of an agent's default pace.
	DefaultContact = 3 * time.Second
	// longestLook bounds lookWait.
	longestLook = time.Second
)

// Options configure a Hub.
type Options struct {
	// Authority signs hosts' certificates; Vault keeps join tokens and the key of
	// the hosts' talk among themselves; Registry keeps the hosts' records.
	Authority *enrol.Authority
	Vault     enrol.Vault
	Registry  enrol.Registry
	// BeatAddr is told to joining agents, see link.JoinReply.
	BeatAddr string
	// Contact is how long after its last report or beat a host still counts as in
	// contact; DefaultContact if 0.
	Contact time.Duration
	// FreshFor is how old a report may be before a sweep asks for a new one; half
	// of Contact if 0.
	FreshFor time.Duration
	// DriftPPM, Margin and AssumeLease are the bounds of the agents' leases, see
	// beat.TableConfig.
	DriftPPM    int64
	Margin      time.Duration
	AssumeLease time.Duration
	// Now is the wall clock and Clock the one of leases; both are needed.
	Now   func() time.Time
	Clock beat.Clock
	Log   *slog.Logger
	// Arrays are where servers' LUNs are; nil means that no server's volumes may be LUNs.
	Arrays *san.Arrays
	// Joined is told of each host that was enrolled. May be nil.
	Joined func(host string)
}

// Hub is the controller's side of all host agents. It implements
// provider.Provider. It is safe for concurrent use.
type Hub struct {
	opt   Options
	beats *beat.Table
	keys  *beat.Keys
	site  beat.SiteKey
	wakes chan string
	// run is this controller's incarnation: watches of another one say nothing.
	run     string
	started time.Time

	// The beat table calls back under its own locks, so nothing may call the table
	// while mu is held.
	mu      sync.Mutex
	hosts   map[string]*host
	agents  map[beat.AgentID]string
	servers map[string]fleet.Server
	names   []string // of servers, sorted
	sites   map[string]fleet.Site
	// effects has each server's last effect: what other hosts saw before it is not
	// the present any more.
	effects map[string]effect
	// plan numbers the changes of what watches are made from.
	plan   uint64
	choice choice
	// absent are the hosts that were out of contact lately, with the last such moment.
	absent map[string]time.Time
	term   fleet.Term
	// refreshed is when the registry was last read.
	refreshed time.Time
}

var _ provider.Provider = (*Hub)(nil)

// New opens the hub: it reads the records of the enrolled hosts.
func New(ctx context.Context, opt Options) (*Hub, error) {
	if opt.Contact == 0 {
		opt.Contact = DefaultContact
	}
	if opt.FreshFor == 0 {
		opt.FreshFor = opt.Contact / 2
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Arrays == nil {
		opt.Arrays = san.New()
	}
	var run [8]byte
	if _, err := rand.Read(run[:]); err != nil {
		return nil, fmt.Errorf("open hub: %w", err)
	}
	h := &Hub{
		opt: opt, keys: &beat.Keys{}, wakes: make(chan string, 1024),
		run: hex.EncodeToString(run[:]), started: opt.Now(),
		hosts: map[string]*host{}, agents: map[beat.AgentID]string{},
		servers: map[string]fleet.Server{}, sites: map[string]fleet.Site{},
		effects: map[string]effect{}, plan: 1, absent: map[string]time.Time{},
	}
	key, err := enrol.Secret(ctx, opt.Vault, "site-key", beat.KeySize)
	if err != nil {
		return nil, fmt.Errorf("open hub: %w", err)
	}
	h.site = beat.SiteKey(key)
	h.beats, err = beat.NewTable(beat.TableConfig{
		Keys: h.keys, Allowed: h.mayBeat, Changes: func(c beat.Change) { h.wake(c.Server) },
		DriftPPM: opt.DriftPPM, Margin: opt.Margin, AssumeLease: opt.AssumeLease, Rand: rand.Reader,
	}, opt.Clock())
	if err != nil {
		return nil, fmt.Errorf("open hub: %w", err)
	}
	if err := h.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("open hub: %w", err)
	}
	opt.Arrays.Listen(h.wakeThese)
	return h, nil
}

// Traits implements provider.Provider.
func (h *Hub) Traits() fleet.Traits {
	return fleet.Traits{
		Provider: Name, Rungs: []fleet.Rung{fleet.RestartApp, fleet.Relaunch, fleet.Move},
		AttachFirst: true, AppIsInstance: true, Seals: true, Places: true,
	}
}

// Wakes implements provider.Provider.
func (h *Hub) Wakes() <-chan string { return h.wakes }

// wake tells of news about a server, or of all if it is "". It never waits: if the
// channel is full, so much is to be looked at that one name more adds nothing.
func (h *Hub) wake(server string) {
	select {
	case h.wakes <- server:
	default:
	}
}

// wakeThese tells of news about servers: of one by its name, of more by a look at all.
func (h *Hub) wakeThese(servers []string) {
	if len(servers) == 1 {
		h.wake(servers[0])
		return
	}
	h.wake("")
}

// Beats is the table of the hosts' beats. The controller runs a beat.Receiver on
// it and sets its grant.
func (h *Hub) Beats() *beat.Table { return h.beats }

// SetServers says which servers exist, with all defaults filled in. It replaces
// the earlier list.
func (h *Hub) SetServers(list []fleet.Server) {
	servers := make(map[string]fleet.Server, len(list))
	for _, s := range list {
		servers[s.Name] = s
	}
	h.mu.Lock()
	h.servers = servers
	h.names = sortedNames(servers)
	for name := range h.effects {
		if _, ok := servers[name]; !ok {
			delete(h.effects, name)
		}
	}
	h.planChanged()
	h.mu.Unlock()
	h.beats.Recheck()
}

// SetSites says which failure domains exist. It replaces the earlier list.
func (h *Hub) SetSites(list []fleet.Site) {
	sites := make(map[string]fleet.Site, len(list))
	for _, s := range list {
		sites[s.Name] = s
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sites = sites
	h.planChanged()
}

// Refresh reads the hosts' records anew: other controllers enrol and revoke too.
func (h *Hub) Refresh(ctx context.Context) error {
	list, err := h.opt.Registry.Hosts(ctx)
	if err != nil {
		return fmt.Errorf("read enrolled hosts: %w", err)
	}
	h.mu.Lock()
	present := map[string]bool{}
	var gone []beat.AgentID
	for _, r := range list {
		present[r.Name] = true
		if old := h.admit(r); old != 0 {
			gone = append(gone, old)
		}
	}
	for name, x := range h.hosts {
		if !present[name] {
			gone = append(gone, h.expel(x))
		}
	}
	h.refreshed = h.opt.Now()
	h.mu.Unlock()
	for _, id := range gone {
		h.beats.Drop(id)
	}
	return nil
}

// Forget revokes a host: its record is deleted, its certificate and beats are
// refused from now on. What it runs goes on running.
func (h *Hub) Forget(ctx context.Context, name string) error {
	if err := h.opt.Registry.RemoveHost(ctx, name); err != nil {
		return fmt.Errorf("forget host %s: %w", name, err)
	}
	return h.Refresh(ctx)
}

// admit takes a record; mu is held. It returns the number of an earlier agent of
// that host, whose beats the caller drops, or 0.
func (h *Hub) admit(r enrol.Host) (old beat.AgentID) {
	x := h.hosts[r.Name]
	switch {
	case x == nil:
		h.hosts[r.Name] = newHost(r)
	case x.record.Agent == r.Agent:
		// The same enrolment, at most with another certificate: beats and leases go on.
		x.record = r
		return 0
	default:
		// The host joined anew: its earlier agent's beats are void, and whoever
		// still polls with the earlier certificate is sent away.
		old = x.record.Agent
		h.keys.Set(old)
		delete(h.agents, old)
		x.record = r
	}
	h.keys.Set(r.Agent, r.Key())
	h.agents[r.Agent] = r.Name
	h.planChanged()
	return old
}

// expel forgets a host and returns its agent's number; mu is held.
func (h *Hub) expel(x *host) beat.AgentID {
	h.keys.Set(x.record.Agent)
	delete(h.agents, x.record.Agent)
	delete(h.hosts, x.record.Name)
	for _, j := range x.jobs {
		j.end(nil)
	}
	x.jobs = nil
	x.gone = true
	x.ring()
	h.planChanged()
	return x.record.Agent
}

// mayBeat reports whether the agent may speak of the server (S13). Host agents may
// speak of every server that exists: any of them may be told to run it.
func (h *Hub) mayBeat(id beat.AgentID, server string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, enrolled := h.agents[id]
	_, exists := h.servers[server]
	return enrolled && exists
}

// planChanged makes every host's watch be made anew; mu is held.
func (h *Hub) planChanged() {
	h.plan++
	for _, x := range h.hosts {
		x.ring()
	}
}

// effect is when a host last did something to a server, by our clock.
type effect struct {
	host string
	at   time.Time
}

// doubt is a command with an unknown outcome.
type doubt struct {
	server string
	// until is when the agent has ended it at the latest.
	until time.Time
}

// host is what the hub knows of one host. All is guarded by Hub.mu.
type host struct {
	record enrol.Host
	report *link.Report
	// reportAt is when the report came; heard is when anything authentic came.
	reportAt, heard time.Time
	// detoured is when beats came over HTTPS last.
	detoured time.Time
	// contactSince is when the present stretch of contact began.
	contactSince time.Time
	peerAddr     string

	jobs []*job
	// look counts the reports that were asked for, looked those that came.
	look, looked uint64
	// lookAsked is when the first report was asked for that has not come.
	lookAsked time.Time
	// doubts are the commands that were handed out and given up, by token: they may
	// still be under way, whatever the host reports meanwhile.
	doubts map[string]doubt
	// may names the servers that a handed-out command may have started here.
	may map[string]bool

	watch *link.Watch
	plan  uint64 // of which watch was made

	// poll is the number of the newest poll: an older one may wait on a connection
	// that died without a word, and must not take a command with it.
	poll uint64
	gone bool
	// bell wakes the poll, news whoever waits for a report; closed and replaced.
	bell, news chan struct{}
}

func newHost(r enrol.Host) *host {
	return &host{record: r, may: map[string]bool{}, doubts: map[string]doubt{}, bell: make(chan struct{}), news: make(chan struct{})}
}

// ring wakes the host's poll.
func (x *host) ring() {
	close(x.bell)
	x.bell = make(chan struct{})
}

// hear notes a sign of life; it returns true if the host was out of contact.
func (x *host) hear(now time.Time, contact time.Duration) bool {
	back := now.Sub(x.heard) > contact
	if back {
		x.contactSince = now
	}
	x.heard = now
	return back
}
