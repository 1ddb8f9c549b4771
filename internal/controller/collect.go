package controller

import (
	"maps"
	"slices"
	"sync"
	"time"

	"relight/internal/beat"
	"relight/internal/core/detect"
	"relight/internal/core/fleet"
	"relight/internal/core/lease"
	"relight/internal/provider"
)

// Collector keeps the latest of what was seen: nothing of it is stored, a new
// controller begins to look afresh.
type Collector struct {
	mu      sync.RWMutex
	servers map[string]*serverSight
	hosts   map[string]*hostSight
	// names are the hosts in order.
	names  []string
	shared shared
	// Observer is how this controller stands itself; see Tick.
	observer detect.Observer
	lastTick lease.Moment
	// base is when moments are counted from, boot goes on in a suspend; see CountBy.
	base time.Time
	boot beat.Clock
	// contact is the silence after which a host counts as out of contact here,
	// for the observer's doubt in itself.
	contact time.Duration
	// news are servers for which a look at others has changed something.
	news []string
	// slow are the providers of which a sweep takes long.
	slow map[string]slowSweep
	// opened is the room of the hosts that came into contact since Opened was asked.
	opened int
}

// serverSight is what was seen of one server. It is changed in place, so that a
// sweep that brings nothing new allocates nothing: readers get copies.
type serverSight struct {
	observed fleet.Observed
	signals  []signal
	// held is true while something holds the server: it is looked at seldom, so a yes
	// that comes after a silence is news though it was the last word before it too.
	held bool
}

type hostSight struct {
	host    fleet.Host
	signals []signal
	// open is the room that it was seen to have while it was in contact.
	open int
	// reaches holds the volumes that the host can use, by server; equal lists are one.
	reaches map[*serverSight]*[]string
	servers []string
}

// Known is what the collector knows of a server and of the host that runs it.
type Known struct {
	Observed fleet.Observed
	// Signals are about the server, Host about its host.
	Signals, Host []fleet.Signal
	Observer      detect.Observer
	// held is what Hold noted last.
	held bool
}

// NewCollector returns a collector that begins to look at now.
func NewCollector(now time.Time, contact time.Duration) *Collector {
	return &Collector{
		servers: map[string]*serverSight{}, hosts: map[string]*hostSight{},
		shared: newShared(), observer: detect.Observer{Since: now, Contact: contact}, base: now, contact: contact,
	}
}

// stallAfter is the gap between two ticks from which on this process was frozen
// or starved: its own silence must not be taken for that of others.
const stallAfter = time.Second

// CountBy has stalls counted by a clock that goes on while the machine is suspended, too.
// It is called before the first Tick.
func (c *Collector) CountBy(boot beat.Clock) {
	c.boot = boot
	c.lastTick = momentOf(c.base, c.base, boot)
}

// momentOf is a moment by all clocks, counted from base where that is not their own.
func momentOf(base, now time.Time, boot beat.Clock) lease.Moment {
	m := lease.Moment{Steady: now.Sub(base), Wall: now.Round(0).Sub(base.Round(0))}
	if boot != nil {
		m.Boot = time.Duration(boot())
	}
	return m
}

// Tick notes that the loop runs and counts the hosts out of contact. It is
// called several times a second, whatever happens.
func (c *Collector) Tick(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tick := momentOf(c.base, now, c.boot)
	if gap := lease.Elapsed(c.lastTick, tick); gap > stallAfter {
		c.observer.StalledAt, c.observer.Stall = now, gap
	}
	c.lastTick = tick
	c.observer.Hosts, c.observer.Silent = len(c.hosts), 0
	for _, h := range c.hosts {
		if c.silent(h, now) {
			c.observer.Silent++
		}
		c.opens(h, now)
	}
}

// opens counts the room that a host has more than it had when it was last seen, which
// is none while it is out of contact.
func (c *Collector) opens(h *hostSight, now time.Time) {
	was := h.open
	h.open = 0
	if answer, _ := contactOf(h, now, c.contact); answer == fleet.Yes && h.host.Closed == "" {
		h.open = h.host.Units
	}
	c.opened += max(h.open-was, 0)
}

// Opened returns, once, the room of the hosts that came into contact.
func (c *Collector) Opened() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	opened := c.opened
	c.opened = 0
	return opened
}

func (c *Collector) silent(h *hostSight, now time.Time) bool {
	heard, ok := beatOf(h)
	return ok && now.Sub(heard) > c.contact
}

// Take folds a sweep into what is known and returns the servers for which
// something has changed but the time. A server that the sweep could not see keeps
// its older facts with their older times. Nothing of the sweep is kept but strings.
func (c *Collector) Take(sweep provider.Sweep) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changed []string
	for i := range sweep.Servers {
		s := &sweep.Servers[i]
		have := c.sightOf(s.Observed.Server)
		signals, moved, _, yes := c.fold(have.signals, s.Signals)
		have.signals = signals
		if c.observe(&have.observed, &s.Observed) || moved || have.held && yes {
			changed = append(changed, have.observed.Server)
		}
	}
	for i := range sweep.Hosts {
		h := &sweep.Hosts[i]
		have := c.hostOf(h.Host.Name)
		signals, moved, back, _ := c.fold(have.signals, h.Signals)
		have.signals = signals
		if moved || back {
			changed = append(append(changed, have.servers...), h.Servers...)
		}
		have.host = h.Host
		c.runs(have, h.Servers)
		c.foldReaches(have, sweep.Servers, h.Reaches, len(sweep.Servers) == len(c.servers))
	}
	if len(sweep.Hosts) > 0 {
		c.looked(sweep.At)
	}
	slices.Sort(changed)
	return slices.Compact(changed)
}

// TakeFor takes a look at some servers that somebody waits for; what it has brought
// about others is kept for News.
func (c *Collector) TakeFor(servers []fleet.Server, sweep provider.Sweep) {
	changed := c.Take(sweep)
	changed = slices.DeleteFunc(changed, func(name string) bool {
		return slices.ContainsFunc(servers, func(s fleet.Server) bool { return s.Name == name })
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news = append(c.news, changed...)
}

// News returns, once, the servers for which a look at others has changed something:
// a host that is heard again is so for all that it runs.
func (c *Collector) News() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.news
	c.news = nil
	return news
}

// looked tells the observer whom the look at that time has heard of. It is asked at
// each look, not at each tick: between two looks nobody is heard.
func (c *Collector) looked(at time.Time) {
	var newest time.Time
	beating := 0
	for _, h := range c.hosts { // the order is all one
		if heard, ok := beatOf(h); ok {
			beating++
			if heard.After(newest) {
				newest = heard
			}
		}
	}
	c.observer = c.observer.Looked(at, newest, beating)
}

// beatOf returns when a host's newest beat came; false if it does not beat.
func beatOf(h *hostSight) (time.Time, bool) {
	for i := range h.signals {
		if h.signals[i].about.Source.Channel == fleet.ChannelBeat {
			return *h.signals[i].at, true
		}
	}
	return time.Time{}, false
}

func (c *Collector) sightOf(server string) *serverSight {
	s, ok := c.servers[server]
	if !ok {
		s = &serverSight{observed: fleet.Observed{Server: server}}
		c.servers[server] = s
	}
	return s
}

func (c *Collector) hostOf(name string) *hostSight {
	h, ok := c.hosts[name]
	if !ok {
		h = &hostSight{reaches: map[*serverSight]*[]string{}}
		c.hosts[name] = h
		at, _ := slices.BinarySearch(c.names, name)
		c.names = slices.Insert(c.names, at, name)
	}
	return h
}

// runs notes the servers on a host, each by the one string that all share.
func (c *Collector) runs(h *hostSight, servers []string) {
	if slices.Equal(h.servers, servers) {
		return
	}
	h.servers = make([]string, len(servers))
	for i, name := range servers {
		h.servers[i] = c.sightOf(name).observed.Server
	}
}

// foldReaches takes what the host reaches of the servers that were looked at. A
// look at one server says nothing about the volumes of the others: forgetting
// those would leave them without a place to go until the next sweep.
func (c *Collector) foldReaches(h *hostSight, looked []provider.ServerSight, reaches map[string][]string, all bool) {
	for i := range looked {
		if s := c.servers[looked[i].Observed.Server]; s != nil {
			if _, ok := reaches[s.observed.Server]; !ok {
				delete(h.reaches, s)
			}
		}
	}
	for name, volumes := range reaches { // into another map: the order is all one
		s := c.sightOf(name)
		if have, ok := h.reaches[s]; !ok || !slices.Equal(*have, volumes) {
			h.reaches[s] = c.shared.list(volumes)
		}
	}
	if all && len(h.reaches) > len(reaches) {
		maps.DeleteFunc(h.reaches, func(s *serverSight, _ *[]string) bool {
			_, ok := reaches[s.observed.Server]
			return !ok
		})
	}
}

// fold folds each new signal into the one of the same source and question, in
// place. It reports whether an answer changed, whether a source was silent for so
// long that its silence may have counted, and speaks again, and whether such a one
// says yes.
func (c *Collector) fold(have []signal, news []fleet.Signal) (out []signal, moved, back, yes bool) {
	out = have
	for _, n := range news {
		i := slices.IndexFunc(out, func(s signal) bool { return s.about.Source == n.Source && s.about.Question == n.Question })
		if i < 0 {
			if len(out) == cap(out) {
				out = append(make([]signal, 0, max(len(out)+1, len(news))), out...)
			}
			out, moved = append(out, c.shared.signal(signal{}, detect.Fold(fleet.Signal{}, n))), true
			continue
		}
		was := out[i].full()
		now := detect.Fold(was, n)
		moved = moved || now.Answer != was.Answer || now.Epoch != was.Epoch
		again := now.At.Sub(was.At) > c.contact
		back, yes = back || again, yes || again && now.Answer == fleet.Yes
		out[i] = c.shared.signal(out[i], now)
	}
	return out, moved, back, yes
}

// observe takes a new look at a server's resources in place, and reports whether
// something has changed but the time.
func (c *Collector) observe(have, seen *fleet.Observed) bool {
	same := sameInstances(have, seen) && slices.Equal(have.Scheduled, seen.Scheduled)
	have.At, have.Lag, have.Complete = seen.At, seen.Lag, seen.Complete
	have.Instances = exact(have.Instances, seen.Instances)
	for i := range have.Instances {
		n := &have.Instances[i]
		n.Server, n.Host, n.State, n.Detail = have.Server, c.shared.name(n.Host), fleet.InstanceState(c.shared.name(string(n.State))), c.shared.name(n.Detail)
	}
	have.Volumes = exact(have.Volumes, seen.Volumes)
	for i := range have.Volumes {
		n := &have.Volumes[i]
		n.Volume, n.Host = c.shared.name(n.Volume), c.shared.name(n.Host)
	}
	have.Addresses = exact(have.Addresses, seen.Addresses)
	for i := range have.Addresses {
		n := &have.Addresses[i]
		n.Host, n.Rival = c.shared.name(n.Host), c.shared.name(n.Rival)
	}
	have.Others, have.Zone = exact(have.Others, addressed(seen.Others)), seen.Zone
	have.Scheduled = exact(have.Scheduled, seen.Scheduled)
	return !same
}

// addressed are those of the other objects that tell addresses, which a start in another
// zone gives up. Nothing is decided by the rest, and there are many of them.
func addressed(all []fleet.ObjectState) []fleet.ObjectState {
	var out []fleet.ObjectState
	for _, o := range all {
		if len(o.Addresses) > 0 {
			out = append(out, o)
		}
	}
	return out
}

// exact copies news into own memory, without slack: there is one for each server.
func exact[T any](own, news []T) []T {
	if len(news) == 0 {
		return nil
	}
	if len(own) != len(news) {
		own = make([]T, len(news))
	}
	copy(own, news)
	return own
}

func sameInstances(a, b *fleet.Observed) bool {
	if len(a.Instances) != len(b.Instances) || len(a.Volumes) != len(b.Volumes) || contests(a) != contests(b) {
		return false
	}
	for i := range a.Instances {
		if a.Instances[i].State != b.Instances[i].State || a.Instances[i].Epoch != b.Instances[i].Epoch || a.Instances[i].Host != b.Instances[i].Host {
			return false
		}
	}
	for i := range a.Volumes {
		if a.Volumes[i].Held != b.Volumes[i].Held || a.Volumes[i].Sealed != b.Volumes[i].Sealed || a.Volumes[i].Fresh != b.Volumes[i].Fresh {
			return false
		}
	}
	return true
}

// contests counts the addresses for which somebody else answers.
func contests(o *fleet.Observed) (n int) {
	for i := range o.Addresses {
		if o.Addresses[i].Rival != "" {
			n++
		}
	}
	return n
}

// Silent returns the hosts out of contact at now, with their last sign of life.
func (c *Collector) Silent(now time.Time) map[string]time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := map[string]time.Time{}
	for name, h := range c.hosts {
		if answer, at := contactOf(h, now, c.contact); answer == fleet.No {
			out[name] = at
		}
	}
	return out
}

// Hold notes whether something holds the server, so that a sign of life after a
// silence is told.
func (c *Collector) Hold(server string, held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.servers[server]; ok {
		s.held = held
	}
}

// Settle forgets how often a server's check changed its answer: after a restart in
// place the epoch is the same, but its past flapping says nothing any more.
func (c *Collector) Settle(server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.servers[server]
	if !ok {
		return
	}
	for i := range s.signals {
		s.signals[i].flaps = 0
	}
}

// Forget drops what was seen of a deleted server.
func (c *Collector) Forget(server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.servers[server]
	delete(c.servers, server)
	for _, h := range c.hosts { // deletes: the order is all one
		delete(h.reaches, s)
	}
}

// RemoveHost drops a host that was taken out of the fleet.
func (c *Collector) RemoveHost(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.hosts, name)
	c.names = slices.DeleteFunc(c.names, func(n string) bool { return n == name })
}

// Unseen notes that a look at a server failed: a step was about to be done, for which
// what a long sweep saw is too old (S4). It gets no room for its age until the next one.
func (c *Collector) Unseen(server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.servers[server]; ok {
		s.observed.Lag = 0
	}
}

// Seen copies what is known of a server and of the host that runs it into sight,
// whose memory it uses again.
func (c *Collector) Seen(server, host string, sight *Known) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	o := &sight.Observed
	*o = fleet.Observed{Server: server, Instances: o.Instances[:0], Volumes: o.Volumes[:0], Addresses: o.Addresses[:0], Others: o.Others[:0], Scheduled: o.Scheduled[:0]}
	sight.Signals, sight.Host, sight.Observer, sight.held = sight.Signals[:0], sight.Host[:0], c.observer, false
	if s, ok := c.servers[server]; ok {
		o.At, o.Lag, o.Complete, sight.held = s.observed.At, s.observed.Lag, s.observed.Complete, s.held
		o.Instances = append(o.Instances, s.observed.Instances...)
		o.Volumes = append(o.Volumes, s.observed.Volumes...)
		o.Addresses = append(o.Addresses, s.observed.Addresses...)
		o.Others, o.Zone = append(o.Others, s.observed.Others...), s.observed.Zone
		o.Scheduled = append(o.Scheduled, s.observed.Scheduled...)
		sight.Signals = full(sight.Signals, s.signals)
	}
	if h, ok := c.hosts[host]; ok {
		sight.Host = full(sight.Host, h.signals)
	}
}

// Hosts returns every host as the server sees it, by name.
func (c *Collector) Hosts(server string, now time.Time) []fleet.Host {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.hostsOf(server, c.names, now)
}

// HostsOf returns those of the named hosts that are known, as the server sees them.
func (c *Collector) HostsOf(server string, names []string, now time.Time) []fleet.Host {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.hostsOf(server, names, now)
}

func (c *Collector) hostsOf(server string, names []string, now time.Time) []fleet.Host {
	s := c.servers[server]
	out := make([]fleet.Host, 0, len(names))
	for _, name := range names {
		h, ok := c.hosts[name]
		if !ok {
			continue
		}
		host := h.host
		if volumes, ok := h.reaches[s]; ok {
			host.Reaches = *volumes
		}
		host.InContact, host.Since = contactOf(h, now, c.contact)
		out = append(out, host)
	}
	return out
}

func contactOf(h *hostSight, now time.Time, limit time.Duration) (fleet.Answer, time.Time) {
	for i := range h.signals {
		s := &h.signals[i]
		if s.about.Source.Channel != fleet.ChannelBeat {
			continue
		}
		if now.Sub(*s.at) > limit {
			return fleet.No, *s.at
		}
		return fleet.Yes, *s.since
	}
	return h.host.InContact, h.host.Since
}
