package onprem

import (
	"context"
	"slices"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

// controller is the vantage point of everything that the hub sees itself.
const controller = "controller"

// beaten is what the beat table knows of one host.
type beaten struct {
	// at is when the newest beat came, by the wall clock; zero if none did.
	at    time.Time
	items []beat.ItemState
}

// wall turns a reading of the lease clock into the wall clock's.
func (h *Hub) wall(clock int64) time.Time {
	if clock == 0 {
		return time.Time{}
	}
	return h.opt.Now().Add(-time.Duration(h.opt.Clock() - clock))
}

// lastBeat returns when the host's newest beat came.
func (h *Hub) lastBeat(name string) time.Time {
	h.mu.Lock()
	x := h.hosts[name]
	var id beat.AgentID
	if x != nil {
		id = x.record.Agent
	}
	h.mu.Unlock()
	seen, _ := h.beats.Last(id)
	return h.wall(seen.At)
}

func (h *Hub) allBeats() map[string]beaten {
	h.mu.Lock()
	ids := make(map[string]beat.AgentID, len(h.hosts))
	for name, x := range h.hosts {
		ids[name] = x.record.Agent
	}
	h.mu.Unlock()
	out := make(map[string]beaten, len(ids))
	for name, id := range ids {
		seen, _ := h.beats.Last(id)
		out[name] = beaten{at: h.wall(seen.At), items: h.beats.Items(id, nil)}
	}
	return out
}

// contact says whether the host was heard of lately; mu is held.
func (h *Hub) contact(x *host, beatAt, now time.Time) fleet.Answer {
	last := latest(x.heard, beatAt)
	switch {
	case last.IsZero() && now.Sub(h.started) <= h.opt.Contact:
		return fleet.CannotTell
	case now.Sub(last) <= h.opt.Contact:
		return fleet.Yes
	default:
		return fleet.No
	}
}

// Observe implements provider.Provider. Hosts in contact whose last report is old,
// or from before a command with an unknown outcome, are asked for a new one first.
func (h *Hub) Observe(ctx context.Context, servers []fleet.Server) (provider.Sweep, error) {
	if err := h.lookAgain(ctx); err != nil {
		return provider.Sweep{}, err
	}
	h.opt.Arrays.Look(ctx, servers, h.lookWait())
	beats := h.allBeats()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.opt.Now()
	sweep := provider.Sweep{At: now, Servers: make([]provider.ServerSight, len(servers))}
	sights := make(map[string]*provider.ServerSight, len(servers))
	for i, s := range servers {
		sweep.Servers[i].Observed = fleet.Observed{Server: s.Name, At: now, Complete: true}
		sights[s.Name] = &sweep.Servers[i]
	}
	var silent []string
	for _, name := range sortedNames(h.hosts) {
		x := h.hosts[name]
		l := look{hub: h, host: x, name: name, beat: beats[name], now: now, sights: sights}
		if l.contact = h.contact(x, l.beat.at, now); l.contact == fleet.No {
			silent = append(silent, name)
		}
		l.servers()
		sweep.Hosts = append(sweep.Hosts, l.hostSight())
	}
	for i := range servers {
		h.opt.Arrays.Show(&servers[i], &sweep.Servers[i].Observed)
	}
	h.othersOnHosts(&sweep)
	h.noteContact(silent, now)
	return sweep, nil
}

// lookWait is how long a sweep waits for the reports that it asked for. While it
// waits, what all other hosts said grows old: the wait must stay well below the
// silence that makes a host suspect.
func (h *Hub) lookWait() time.Duration { return min(longestLook, h.opt.FreshFor/2) }

// lookAgain asks for fresh reports and waits for them, for lookWait at most.
func (h *Hub) lookAgain(ctx context.Context) error {
	want := h.askForReports()
	if len(want) == 0 {
		return ctx.Err()
	}
	limit := time.NewTimer(h.lookWait())
	defer limit.Stop()
	for x, n := range want {
		for {
			h.mu.Lock()
			done, news := x.looked >= n || x.gone, x.news
			h.mu.Unlock()
			if done {
				break
			}
			select {
			case <-news:
			case <-limit.C:
				return ctx.Err()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return ctx.Err()
}

// askForReports asks the hosts in contact whose last report is old or in doubt, and
// returns those to wait for with the number of the look.
func (h *Hub) askForReports() map[*host]uint64 {
	beats := h.allBeats()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.opt.Now()
	want := map[*host]uint64{}
	for name, x := range h.hosts {
		old := x.report != nil && now.Sub(x.reportAt) > h.opt.FreshFor
		if !old && len(x.doubts) == 0 || h.contact(x, beats[name].at, now) != fleet.Yes {
			continue
		}
		if x.look == x.looked {
			x.lookAsked = now
		}
		x.look++
		x.ring()
		// A host that beats and does not report must hold up one sweep, not all.
		if now.Sub(x.lookAsked) < h.lookWait() {
			want[x] = x.look
		}
	}
	return want
}

// look is one host's share of a sweep. Hub.mu is held while it is used.
type look struct {
	hub     *Hub
	host    *host
	name    string
	beat    beaten
	contact fleet.Answer
	now     time.Time
	sights  map[string]*provider.ServerSight
}

// stale reports whether the host's last report may not be the present.
func (l look) stale() bool {
	return l.contact != fleet.Yes || l.host.report == nil ||
		l.now.Sub(l.host.reportAt) > l.hub.opt.Contact
}

// servers adds what the host says about each server that was asked for.
func (l look) servers() {
	if l.stale() {
		l.incomplete()
	}
	for _, d := range l.host.doubts {
		if s := l.sights[d.server]; s != nil {
			s.Observed.Complete = false
		}
	}
	l.beats()
	r := l.host.report
	if r == nil {
		return
	}
	for _, i := range r.Instances {
		l.instance(i)
	}
	for _, v := range r.Volumes {
		if s := l.sights[v.Server]; s != nil && (v.Looked || v.Fresh) && !l.overtaken(v) {
			s.Observed.Volumes = append(s.Observed.Volumes, fleet.VolumeState{
				Volume: v.Volume, Epoch: v.Epoch, Sealed: v.Sealed, Holder: v.Holder, Fresh: v.Fresh,
				Host: l.name, Held: v.Held, At: l.ago(v.Ago),
			})
		}
	}
	for _, a := range r.Addresses {
		if s := l.sights[a.Server]; s != nil {
			s.Observed.Addresses = append(s.Observed.Addresses, fleet.AddressState{IP: a.IP, Holder: a.Holder, Host: l.name, At: l.host.reportAt})
		}
	}
	for _, c := range r.Contests {
		if s := l.sights[c.Server]; s != nil {
			s.Observed.Addresses = append(s.Observed.Addresses, fleet.AddressState{IP: c.IP, Holder: c.Epoch, Host: l.name, Rival: c.By, At: l.ago(c.Ago)})
		}
	}
	for _, c := range r.Checks {
		l.check(c)
	}
	for _, p := range r.Probes {
		l.probe(p)
	}
}

// overtaken reports whether another host has done something to the server since
// this one looked at the volume. What it saw would read as if nothing had been done.
func (l look) overtaken(v link.Volume) bool {
	e := l.hub.effects[v.Server]
	return e.host != l.name && l.ago(v.Ago).Before(e.at)
}

// incomplete marks the servers that may run on this host without our knowing.
func (l look) incomplete() {
	for server, s := range l.sights {
		if l.host.report == nil || l.host.may[server] || hasInstance(l.host.report, server) {
			s.Observed.Complete = false
		}
	}
}

func hasInstance(r *link.Report, server string) bool {
	return slices.ContainsFunc(r.Instances, func(i link.Instance) bool { return i.Server == server && !i.State.Gone() })
}

// ago turns an age in the host's last report into a time of our clock.
func (l look) ago(d fleet.Duration) time.Time { return l.host.reportAt.Add(-d.Std()) }

// item returns the host's last beat about the instance, if it is younger than the
// report: beats come more often.
func (l look) item(server string, epoch fleet.Epoch) (beat.ItemState, time.Time, bool) {
	for _, it := range l.beat.items {
		if it.Server == server && it.Epoch == epoch {
			at := l.hub.wall(it.At)
			return it, at, at.After(l.host.reportAt)
		}
	}
	return beat.ItemState{}, time.Time{}, false
}

// instance adds an instance and its agent's word on it.
func (l look) instance(i link.Instance) {
	s := l.sights[i.Server]
	if s == nil {
		return
	}
	since := l.ago(i.SinceAgo)
	at := l.host.reportAt
	sig := fleet.Signal{
		Source:   fleet.Source{Channel: fleet.ChannelAgent, Vantage: l.name},
		Question: fleet.Alive, Answer: i.Alive, Epoch: i.Epoch, At: at, Since: since, Detail: i.Detail,
	}
	if i.State == fleet.InstanceReaped {
		sig.Answer, sig.CannotLie = fleet.No, true
	}
	if it, beatAt, newer := l.item(i.Server, i.Epoch); newer && !sig.CannotLie {
		at = beatAt
		sig.At = beatAt
		if it.Alive != sig.Answer && it.Alive != fleet.CannotTell {
			sig.Answer, sig.Since = it.Alive, l.hub.wall(it.Since)
			sig.CannotLie = it.CannotLie && it.Alive == fleet.No
		}
	}
	s.Observed.Instances = append(s.Observed.Instances, fleet.Instance{
		Server: i.Server, Epoch: i.Epoch, Host: l.name, State: i.State, Since: since, Alive: i.Alive, At: at, Detail: i.Detail,
	})
	s.Signals = append(s.Signals, sig)
}

// check adds the application's own check as its host made it.
func (l look) check(c link.Answer) {
	s := l.sights[c.Server]
	if s == nil {
		return
	}
	sig := fleet.Signal{
		Source:   fleet.Source{Channel: fleet.ChannelApp, Vantage: l.name},
		Question: fleet.Works, Answer: c.Works, Epoch: c.Epoch,
		At: l.ago(c.Ago), Since: l.ago(c.SinceAgo), Detail: c.Detail,
	}
	if it, at, newer := l.item(c.Server, c.Epoch); newer && it.Works != fleet.CannotTell {
		if it.Works != sig.Answer {
			sig.Since, sig.Detail = l.hub.wall(it.Since), ""
		}
		sig.Answer, sig.At = it.Works, at
	}
	s.Signals = append(s.Signals, sig)
}

// probe adds what a witness saw over the network.
func (l look) probe(p link.Answer) {
	s := l.sights[p.Server]
	if s == nil {
		return
	}
	sig := fleet.Signal{
		Source:   fleet.Source{Channel: fleet.ChannelProbe, Vantage: l.name},
		Question: fleet.Alive, Answer: p.Alive, At: l.ago(p.Ago), Since: l.ago(p.SinceAgo), Detail: p.Detail,
	}
	s.Signals = append(s.Signals, sig)
	if p.Works != fleet.CannotTell {
		sig.Question, sig.Answer = fleet.Works, p.Works
		s.Signals = append(s.Signals, sig)
	}
}

// beats adds what the host's beats say about its instances.
func (l look) beats() {
	for _, it := range l.beat.items {
		s := l.sights[it.Server]
		if s == nil {
			continue
		}
		s.Signals = append(s.Signals, fleet.Signal{
			Source:   fleet.Source{Channel: fleet.ChannelBeat, Vantage: controller},
			Question: fleet.Alive, Answer: it.Alive, Epoch: it.Epoch,
			At: l.hub.wall(it.At), Since: l.hub.wall(it.Since), CannotLie: it.CannotLie && it.Alive == fleet.No,
		})
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
