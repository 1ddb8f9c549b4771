package controller

import (
	"maps"
	"sync"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// Collector keeps the latest of what was seen: nothing of it is stored, a new
// controller begins to look afresh.
type Collector struct {
	mu      sync.RWMutex
	servers map[string]*serverSight
	hosts   map[string]*hostSight
	// Observer is how this controller stands itself; see Tick.
	observer detect.Observer
	lastTick time.Time
	// contact is the silence after which a host counts as out of contact here,
	// for the observer's doubt in itself.
	contact time.Duration
}

type serverSight struct {
	observed fleet.Observed
	signals  []fleet.Signal
}

type hostSight struct {
	host    fleet.Host
	signals []fleet.Signal
	reaches map[string][]string
	servers []string
}

// NewCollector returns a collector that begins to look at now.
func NewCollector(now time.Time, contact time.Duration) *Collector {
	return &Collector{
		servers: map[string]*serverSight{}, hosts: map[string]*hostSight{},
		observer: detect.Observer{Since: now}, lastTick: now, contact: contact,
	}
}

// stallAfter is the gap between two ticks from which on this process was frozen
// or starved: its own silence must not be taken for that of others.
const stallAfter = time.Second

// Tick notes that the loop runs and counts the hosts out of contact. It is
// called several times a second, whatever happens.
func (c *Collector) Tick(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gap := now.Sub(c.lastTick); gap > stallAfter {
		c.observer.StalledAt, c.observer.Stall = now, gap
	}
	c.lastTick = now
	c.observer.Hosts, c.observer.Silent = len(c.hosts), 0
	for _, h := range c.hosts {
		if c.silent(h, now) {
			c.observer.Silent++
		}
	}
}

func (c *Collector) silent(h *hostSight, now time.Time) bool {
	for _, s := range h.signals {
		if s.Source.Channel == fleet.ChannelBeat {
			return now.Sub(s.At) > c.contact
		}
	}
	return false
}

// Take folds a sweep into what is known and returns the servers for which
// something has changed but the time. A server that the sweep could not see keeps
// its older facts with their older times.
func (c *Collector) Take(sweep provider.Sweep) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := map[string]bool{}
	for _, s := range sweep.Servers {
		name := s.Observed.Server
		have, ok := c.servers[name]
		if !ok {
			have = &serverSight{}
			c.servers[name] = have
		}
		signals := foldAll(have.signals, s.Signals)
		if !sameAnswers(have.signals, signals) || !sameInstances(have.observed, s.Observed) {
			changed[name] = true
		}
		have.observed, have.signals = s.Observed, signals
	}
	for _, h := range sweep.Hosts {
		have, ok := c.hosts[h.Host.Name]
		if !ok {
			have = &hostSight{}
			c.hosts[h.Host.Name] = have
		}
		signals := foldAll(have.signals, h.Signals)
		if !sameAnswers(have.signals, signals) || c.returned(have.signals, signals) {
			for _, name := range append(append([]string{}, have.servers...), h.Servers...) {
				changed[name] = true
			}
		}
		have.host, have.servers, have.signals = h.Host, h.Servers, signals
		have.foldReaches(sweep.Servers, h.Reaches, len(sweep.Servers) == len(c.servers))
	}
	return sortedKeys(changed)
}

// foldReaches takes what the host reaches of the servers that were looked at. A
// look at one server says nothing about the volumes of the others: forgetting
// those would leave them without a place to go until the next sweep.
func (h *hostSight) foldReaches(looked []provider.ServerSight, reaches map[string][]string, all bool) {
	if all || h.reaches == nil {
		h.reaches = maps.Clone(reaches)
		return
	}
	for _, s := range looked {
		delete(h.reaches, s.Observed.Server)
	}
	maps.Copy(h.reaches, reaches)
}

// returned reports that a source was silent for so long that its silence may
// have counted, and speaks again.
func (c *Collector) returned(before, after []fleet.Signal) bool {
	for i := range before {
		if after[i].At.Sub(before[i].At) > c.contact {
			return true
		}
	}
	return false
}

func sameAnswers(a, b []fleet.Signal) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Answer != b[i].Answer || a[i].Epoch != b[i].Epoch {
			return false
		}
	}
	return true
}

func sameInstances(a, b fleet.Observed) bool {
	if len(a.Instances) != len(b.Instances) || len(a.Volumes) != len(b.Volumes) {
		return false
	}
	for i := range a.Instances {
		if a.Instances[i].State != b.Instances[i].State || a.Instances[i].Epoch != b.Instances[i].Epoch || a.Instances[i].Host != b.Instances[i].Host {
			return false
		}
	}
	for i := range a.Volumes {
		if a.Volumes[i].Held != b.Volumes[i].Held || a.Volumes[i].Sealed != b.Volumes[i].Sealed {
			return false
		}
	}
	return true
}

// foldAll folds each new signal into the one of the same source and question.
// The old slice is left alone: a reader may hold it.
func foldAll(have, news []fleet.Signal) []fleet.Signal {
	out := append(make([]fleet.Signal, 0, len(have)+len(news)), have...)
	for _, n := range news {
		found := false
		for i := range out {
			if out[i].Source == n.Source && out[i].Question == n.Question {
				out[i], found = detect.Fold(out[i], n), true
				break
			}
		}
		if !found {
			out = append(out, detect.Fold(fleet.Signal{}, n))
		}
	}
	return out
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

// Settle forgets how often a server's check changed its answer: after a restart in
// place the epoch is the same, but its past flapping says nothing any more.
func (c *Collector) Settle(server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.servers[server]
	if !ok {
		return
	}
	fresh := append([]fleet.Signal(nil), s.signals...)
	for i := range fresh {
		fresh[i].Flaps = 0
	}
	s.signals = fresh
}

// Forget drops what was seen of a deleted server.
func (c *Collector) Forget(server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.servers, server)
	for _, h := range c.hosts {
		delete(h.reaches, server)
	}
}

// RemoveHost drops a host that was taken out of the fleet.
func (c *Collector) RemoveHost(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.hosts, name)
}

// Seen returns what is known of a server and of the host that runs it.
func (c *Collector) Seen(server, host string) (fleet.Observed, []fleet.Signal, []fleet.Signal, detect.Observer) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	observed := fleet.Observed{Server: server}
	var own, about []fleet.Signal
	if s, ok := c.servers[server]; ok {
		observed, own = s.observed, s.signals
	}
	if h, ok := c.hosts[host]; ok {
		about = h.signals
	}
	return observed, own, about, c.observer
}

// Hosts returns every host as the server sees it, by name.
func (c *Collector) Hosts(server string, now time.Time) []fleet.Host {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]fleet.Host, 0, len(c.hosts))
	for _, name := range sortedKeys(c.hosts) {
		h := c.hosts[name]
		host := h.host
		host.Reaches = h.reaches[server]
		host.InContact, host.Since = contactOf(h, now, c.contact)
		out = append(out, host)
	}
	return out
}

func contactOf(h *hostSight, now time.Time, limit time.Duration) (fleet.Answer, time.Time) {
	for _, s := range h.signals {
		if s.Source.Channel != fleet.ChannelBeat {
			continue
		}
		if now.Sub(s.At) > limit {
			return fleet.No, s.At
		}
		return fleet.Yes, s.Since
	}
	return h.host.InContact, h.host.Since
}
