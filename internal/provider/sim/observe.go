package sim

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/world"
)

// pastKept is how many sights of each server are kept for stale reads.
const pastKept = 16

// controller is the vantage point of what the controller sees itself.
const controller = "controller"

// Observe implements provider.Provider.
func (p *Provider) Observe(ctx context.Context, servers []fleet.Server) (provider.Sweep, error) {
	p.w.Lock()
	defer p.w.Unlock()
	call := provider.Call{Step: fleet.Step{Kind: StepObserve}}
	if err := p.alive(ctx, call); err != nil {
		return provider.Sweep{}, err
	}
	f := p.draw(call)
	switch f.Kind {
	case Throttle, ServerError, TimeoutBefore, CrashBefore:
		return provider.Sweep{}, p.before(call, f)
	case CrashAfter:
		return provider.Sweep{}, p.crash()
	default: // what spoils the answer comes later
	}
	if !p.w.Take(api(StepObserve)) {
		return provider.Sweep{}, provider.Errorf(provider.Retry, call, "%w", errThrottled)
	}
	p.hear()
	l := look{p: p, w: p.w, now: p.w.Now(), page: p.blank()}
	sweep := provider.Sweep{At: l.now}
	for n := range servers {
		sight := l.server(&servers[n])
		if p.opts.Faults != nil {
			sight = p.spoil(f, sight)
		}
		l.servers = append(l.servers, sight)
	}
	sweep.Servers = l.servers
	if !p.opts.AttachFirst {
		return sweep, nil // a platform shows none of its hosts
	}
	l.sortVolumes(servers)
	for n, name := range p.w.Hosts() {
		l.hosts = append(l.hosts, l.host(n, p.w.Host(name), servers))
	}
	sweep.Hosts = l.hosts
	return sweep, nil
}

// spoil remembers the true sight and returns what the fault makes of it.
func (p *Provider) spoil(f Fault, sight provider.ServerSight) provider.ServerSight {
	name, now := sight.Observed.Server, sight.Observed.At
	past := append(p.past[name], sight)
	if !p.opts.Fleeting {
		p.past[name] = past[max(0, len(past)-pastKept):]
	}
	switch f.Kind {
	case StaleRead:
		old := past[0]
		for _, s := range past {
			if now.Sub(s.Observed.At) >= f.Age {
				old = s
			}
		}
		return asIfNew(old, now)
	case Partial:
		return provider.ServerSight{Observed: fleet.Observed{Server: name, At: now}}
	case NotFound:
		sight.Observed.Instances, sight.Signals = nil, nil
	default: // the truth
	}
	return sight
}

// asIfNew stamps an old sight with the present: an eventually consistent API does
// not say how old its answer is.
func asIfNew(s provider.ServerSight, now time.Time) provider.ServerSight {
	shift := now.Sub(s.Observed.At)
	s.Observed.At = now
	s.Observed.Instances = slices.Clone(s.Observed.Instances)
	for n := range s.Observed.Instances {
		s.Observed.Instances[n].At = s.Observed.Instances[n].At.Add(shift)
	}
	s.Observed.Volumes = slices.Clone(s.Observed.Volumes)
	for n := range s.Observed.Volumes {
		s.Observed.Volumes[n].At = s.Observed.Volumes[n].At.Add(shift)
	}
	s.Observed.Addresses = slices.Clone(s.Observed.Addresses)
	for n := range s.Observed.Addresses {
		s.Observed.Addresses[n].At = s.Observed.Addresses[n].At.Add(shift)
	}
	s.Signals = slices.Clone(s.Signals)
	for n := range s.Signals {
		s.Signals[n].At = s.Signals[n].At.Add(shift)
	}
	return s
}

// look is one sweep over the world.
type look struct {
	*page
	p   *Provider
	w   *world.World
	now time.Time
}

// placed is a volume of the world: that of the server-th server of the sweep, the
// nth of its spec.
type placed struct {
	server, nth int
	volume      *world.Volume
}

// sortVolumes sorts the volumes of a sweep by place, so that each host looks at those
// near it and not at all of the fleet.
func (l look) sortVolumes(servers []fleet.Server) {
	for n := range servers {
		s := &servers[n]
		for k := range s.Spec.Identity.Volumes {
			if vol := l.w.Volume(s.Name + "/" + s.Spec.Identity.Volumes[k].Name); vol != nil {
				l.volumes[vol.Place] = append(l.volumes[vol.Place], placed{n, k, vol})
			}
		}
	}
}

// reached returns the volumes of the sweep that a host can use, in their order. They
// are good until the next call.
func (l look) reached(h *world.Host, sites []string) []placed {
	out := l.near[:0]
	add := func(place string) {
		for _, v := range l.volumes[place] {
			if l.w.Reaches(h.Name, v.volume) && (v.volume.LUN() == nil || l.w.HasPath(h.Name, v.volume.LUN().Array())) {
				out = append(out, v)
			}
		}
	}
	add(h.Name)
	add("")
	for _, place := range sites {
		add(place)
	}
	slices.SortFunc(out, func(a, b placed) int { return cmp.Or(cmp.Compare(a.server, b.server), cmp.Compare(a.nth, b.nth)) })
	l.near = out
	return out
}

func (l look) server(s *fleet.Server) provider.ServerSight {
	sight := provider.ServerSight{Observed: fleet.Observed{Server: s.Name, At: l.now, Complete: true}}
	signals, instances, volumes := len(l.signals), len(l.instances), len(l.seen)
	for _, i := range l.w.Of(s.Name) {
		h := l.w.Host(i.Host)
		seen, known := l.instance(i, h)
		if l.p.opts.AttachFirst && !l.p.contact(h) && !seen.State.Gone() {
			// It is known only from before the silence.
			sight.Observed.Complete = false
		}
		if !known {
			continue
		}
		l.instances = append(l.instances, seen)
		if l.p.opts.AttachFirst {
			l.agentSignals(s, i, h, seen)
		} else if l.speaks(i) {
			l.platformSignals(s, i, h)
		}
		if !s.Spec.Health.Check.IsZero() {
			l.probes(s, i, h)
		}
	}
	for n := range s.Spec.Identity.Volumes {
		if !l.volume(s, s.Spec.Identity.Volumes[n].Name) {
			sight.Observed.Complete = false
		}
	}
	for _, a := range s.Spec.Identity.Addresses {
		sight.Observed.Addresses = append(sight.Observed.Addresses, l.address(a.IP)...)
	}
	sight.Signals = part(l.signals, signals)
	sight.Observed.Instances, sight.Observed.Volumes = part(l.instances, instances), part(l.seen, volumes)
	return sight
}

// speaks reports that what is said of an instance is said of its epoch: of several that
// carry one, the first of those that have ended least speaks.
func (l look) speaks(i *world.Instance) bool {
	for _, o := range l.w.Of(i.Server) {
		if o.Epoch == i.Epoch && o != i && (o.State.Ending() < i.State.Ending() || o.State.Ending() == i.State.Ending() && o.ID < i.ID) {
			return false
		}
	}
	return true
}

// instance is what its record says. A host's agent that is silent has last said
// what was so when the silence began.
func (l look) instance(i *world.Instance, h *world.Host) (fleet.Instance, bool) {
	seen := fleet.Instance{
		Server: i.Server, Epoch: i.Epoch, Host: i.Host, State: i.State, Since: i.Since, At: l.now, Detail: i.Detail,
	}
	if !l.p.opts.AttachFirst {
		return seen, true
	}
	if l.p.opts.Hearing != nil {
		return l.p.heard.instance(i.ID, seen, l.p.contact(h))
	}
	if !l.p.contact(h) {
		seen.At = h.ContactSince
		if i.Since.After(h.ContactSince) {
			seen.State, seen.Since, seen.Detail = fleet.InstanceRunning, h.ContactSince, ""
		}
	}
	return seen, true
}

// volume notes what each host says that looks at the lock, or what the platform
// says of the attachment, or the array of the map; false if nobody could be asked.
func (l look) volume(s *fleet.Server, name string) bool {
	v := l.w.Volume(s.Name + "/" + name)
	if v == nil {
		return true
	}
	if u := v.LUN(); u != nil {
		return l.maps(name, u)
	}
	l.lock(name, v)
	return true
}

func (l look) lock(name string, v *world.Volume) {
	state := fleet.VolumeState{Volume: name, Epoch: v.Epoch, Sealed: v.Sealed, Held: fleet.No, At: l.now}
	holder := l.w.Instance(v.Holder)
	if holder != nil {
		state.Held = fleet.Yes
	}
	if !l.p.opts.AttachFirst {
		if holder != nil {
			state.Holder, state.Host = holder.Epoch, holder.Host
		}
		l.seen = append(l.seen, state)
		return
	}
	if holder != nil && !l.seenAt(l.w.Host(holder.Host)).IsZero() {
		own := state
		own.Holder, own.Host, own.At = holder.Epoch, holder.Host, l.seenAt(l.w.Host(holder.Host))
		l.seen = append(l.seen, own)
	}
	for _, host := range slices.Sorted(maps.Keys(v.Hidden)) {
		if h := l.w.Host(host); v.Hidden[host] && l.p.contact(h) {
			l.seen = append(l.seen, fleet.VolumeState{Volume: name, Host: host, Fresh: true, Held: fleet.No, At: l.now})
		}
	}
	state.Fresh = v.Epoch == 0
	for _, name := range l.w.Hosts() {
		// One look from elsewhere is enough to tell: the lock is the same for all.
		h := l.w.Host(name)
		if !v.Hidden[name] && l.p.contact(h) && h.HasStorage() && l.w.Reaches(name, v) && (holder == nil || holder.Host != name) {
			state.Host = name
			l.seen = append(l.seen, state)
			return
		}
	}
}

func (l look) address(ip string) []fleet.AddressState {
	a := l.w.Address(ip)
	if a == nil {
		return nil
	}
	var out []fleet.AddressState
	for _, id := range a.Holders {
		i := l.w.Instance(id)
		at := l.now
		if l.p.opts.AttachFirst {
			at = l.seenAt(l.w.Host(i.Host))
		}
		if at.IsZero() {
			continue // nobody has told this controller
		}
		out = append(out, fleet.AddressState{IP: ip, Holder: i.Epoch, Host: i.Host, At: at})
	}
	return out
}

func (l look) host(nth int, h *world.Host, servers []fleet.Server) provider.HostSight {
	sight := provider.HostSight{
		Host: fleet.Host{
			Name: h.Name, Sites: l.w.Path(h.Name), InContact: l.p.silent(l.now), Since: h.ContactSince,
			Units: h.Units, UsedUnits: l.w.UsedUnits(h.Name), Power: h.Power, Closed: h.Closed,
		},
		Reaches: l.reaches(nth),
	}
	if l.p.contact(h) {
		sight.Host.InContact = fleet.Yes
	}
	near := l.reached(h, sight.Host.Sites)
	for from := 0; from < len(near); {
		s, names := &servers[near[from].server], len(l.names)
		to := from
		for ; to < len(near) && near[to].server == near[from].server; to++ {
			l.names = append(l.names, s.Spec.Identity.Volumes[near[to].nth].Name)
		}
		sight.Reaches[s.Name], from = part(l.names, names), to
	}
	names := len(l.names)
	for _, i := range l.w.OnHost(h.Name) {
		if !slices.Contains(l.names[names:], i.Server) {
			l.names = append(l.names, i.Server)
		}
	}
	sight.Servers = part(l.names, names)
	signals := len(l.signals)
	l.hostSignals(h)
	sight.Signals = part(l.signals, signals)
	if l.p.contact(h) { // it knows itself whether it can write
		sight.Host.StorageBeat = fleet.No
		if h.HasStorage() {
			sight.Host.StorageBeat = fleet.Yes
		}
		return sight
	}
	for n := range sight.Signals {
		if sight.Signals[n].Source.Channel == fleet.ChannelStorage {
			sight.Host.StorageBeat = sight.Signals[n].Answer
		}
	}
	return sight
}
