package sim

import (
	"cmp"
	"context"
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
	l := look{p: p, w: p.w, now: p.w.Now()}
	sweep := provider.Sweep{At: l.now, Servers: make([]provider.ServerSight, 0, len(servers))}
	for _, s := range servers {
		sight := l.server(s)
		if p.opts.Faults != nil {
			sight = p.spoil(f, sight)
		}
		sweep.Servers = append(sweep.Servers, sight)
	}
	if !p.opts.AttachFirst {
		return sweep, nil // a platform shows none of its hosts
	}
	l.volumes = l.byPlace(servers)
	for _, name := range p.w.Hosts() {
		sweep.Hosts = append(sweep.Hosts, l.host(p.w.Host(name), servers))
	}
	return sweep, nil
}

// spoil remembers the true sight and returns what the fault makes of it.
func (p *Provider) spoil(f Fault, sight provider.ServerSight) provider.ServerSight {
	name, now := sight.Observed.Server, sight.Observed.At
	past := append(p.past[name], sight)
	p.past[name] = past[max(0, len(past)-pastKept):]
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
	p   *Provider
	w   *world.World
	now time.Time
	// volumes are those of the sweep, by the place below which they can be used.
	volumes map[string][]placed
}

// placed is a volume of the world: that of the server-th server of the sweep, the
// nth of its spec.
type placed struct {
	server, nth int
	volume      *world.Volume
}

// byPlace sorts the volumes of a sweep, so that each host looks at those near it and
// not at all of the fleet.
func (l look) byPlace(servers []fleet.Server) map[string][]placed {
	out := map[string][]placed{}
	for n, s := range servers {
		for k, v := range s.Spec.Identity.Volumes {
			if vol := l.w.Volume(VolumeID(s, v.Name)); vol != nil {
				out[vol.Place] = append(out[vol.Place], placed{n, k, vol})
			}
		}
	}
	return out
}

// reached returns the volumes of the sweep that a host can use, in their order.
func (l look) reached(h *world.Host, sites []string) []placed {
	var out []placed
	for _, place := range append([]string{h.Name, ""}, sites...) {
		for _, v := range l.volumes[place] {
			if l.w.Reaches(h.Name, v.volume) {
				out = append(out, v)
			}
		}
	}
	slices.SortFunc(out, func(a, b placed) int { return cmp.Or(cmp.Compare(a.server, b.server), cmp.Compare(a.nth, b.nth)) })
	return out
}

func (l look) server(s fleet.Server) provider.ServerSight {
	sight := provider.ServerSight{Observed: fleet.Observed{Server: s.Name, At: l.now, Complete: true}}
	all := l.w.Of(s.Name)
	if len(all) > 0 { // most servers have one instance, and each four signals
		sight.Observed.Instances = make([]fleet.Instance, 0, len(all))
		sight.Signals = make([]fleet.Signal, 0, 4)
	}
	if n := len(s.Spec.Identity.Volumes); n > 0 {
		sight.Observed.Volumes = make([]fleet.VolumeState, 0, n)
	}
	for _, i := range all {
		h := l.w.Host(i.Host)
		seen, known := l.instance(i, h)
		if l.p.opts.AttachFirst && !l.p.contact(h) && !seen.State.Gone() {
			// It is known only from before the silence.
			sight.Observed.Complete = false
		}
		if !known {
			continue
		}
		sight.Observed.Instances = append(sight.Observed.Instances, seen)
		if l.p.opts.AttachFirst {
			sight.Signals = append(sight.Signals, l.agentSignals(s, i, h, seen)...)
		} else {
			sight.Signals = append(sight.Signals, l.platformSignals(s, i, h)...)
		}
		if !s.Spec.Health.Check.IsZero() {
			sight.Signals = append(sight.Signals, l.probes(s, i, h)...)
		}
	}
	for _, v := range s.Spec.Identity.Volumes {
		sight.Observed.Volumes = append(sight.Observed.Volumes, l.volume(s, v.Name)...)
	}
	for _, a := range s.Spec.Identity.Addresses {
		sight.Observed.Addresses = append(sight.Observed.Addresses, l.address(a.IP)...)
	}
	return sight
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

// volume is what each host says that looks at the lock, or what the platform
// says of the attachment.
func (l look) volume(s fleet.Server, name string) []fleet.VolumeState {
	v := l.w.Volume(VolumeID(s, name))
	if v == nil {
		return nil
	}
	state := fleet.VolumeState{Volume: name, Epoch: v.Epoch, Sealed: v.Sealed, Held: fleet.No, At: l.now}
	holder := l.w.Instance(v.Holder)
	if holder != nil {
		state.Held = fleet.Yes
	}
	if !l.p.opts.AttachFirst {
		if holder != nil {
			state.Holder, state.Host = holder.Epoch, holder.Host
		}
		return []fleet.VolumeState{state}
	}
	var out []fleet.VolumeState
	if holder != nil && !l.seenAt(l.w.Host(holder.Host)).IsZero() {
		own := state
		own.Holder, own.Host, own.At = holder.Epoch, holder.Host, l.seenAt(l.w.Host(holder.Host))
		out = append(out, own)
	}
	for _, name := range l.w.Hosts() {
		// One look from elsewhere is enough to tell: the lock is the same for all.
		h := l.w.Host(name)
		if l.p.contact(h) && h.HasStorage() && l.w.Reaches(name, v) && (holder == nil || holder.Host != name) {
			state.Host = name
			return append(out, state)
		}
	}
	return out
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

func (l look) host(h *world.Host, servers []fleet.Server) provider.HostSight {
	sight := provider.HostSight{
		Host: fleet.Host{
			Name: h.Name, Sites: l.w.Path(h.Name), InContact: l.p.silent(l.now), Since: h.ContactSince,
			Units: h.Units, UsedUnits: l.w.UsedUnits(h.Name), Power: h.Power, Closed: h.Closed,
		},
		Reaches: map[string][]string{},
	}
	if l.p.contact(h) {
		sight.Host.InContact = fleet.Yes
	}
	for _, v := range l.reached(h, sight.Host.Sites) {
		s := &servers[v.server]
		sight.Reaches[s.Name] = append(sight.Reaches[s.Name], s.Spec.Identity.Volumes[v.nth].Name)
	}
	for _, i := range l.w.OnHost(h.Name) {
		if !slices.Contains(sight.Servers, i.Server) {
			sight.Servers = append(sight.Servers, i.Server)
		}
	}
	sight.Signals = append(sight.Signals, l.hostSignals(h)...)
	for _, sig := range sight.Signals {
		if sig.Source.Channel == fleet.ChannelStorage {
			sight.Host.StorageBeat = sig.Answer
		}
	}
	return sight
}
