package sim

import (
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/world"
)

// stop ends an instance. A host's agent reaps it; a platform stops it for the
// recover rung and terminates it for all others, and shows evidence only once a
// replay reads the state back.
func (p *Provider) stop(call provider.Call) (provider.Outcome, error) {
	if p.opts.AttachFirst {
		return p.stopOnHost(call)
	}
	if _, err := p.find(call); err != nil {
		return provider.Outcome{}, err
	}
	// Whatever carries the epoch is ended, and it is not over before all of it is.
	var last *world.Instance
	for _, i := range p.w.Of(call.Step.Server) {
		if i.Epoch != call.Step.Epoch {
			continue
		}
		end := p.w.Terminate
		if call.Step.Rung == fleet.Recover {
			end = p.w.Stop
		}
		if err := end(i); err != nil && !i.State.Gone() {
			return provider.Outcome{}, err
		}
		if last == nil || i.State.Ending() <= last.State.Ending() {
			last = i
		}
	}
	out := provider.Outcome{Detail: last.ID + " is " + string(last.State)}
	switch last.State {
	case fleet.InstanceTerminated:
		out.Evidence = []fleet.Evidence{p.evidence(call, fleet.Terminated, "sim", out.Detail)}
	case fleet.InstanceStopped:
		out.Evidence = []fleet.Evidence{p.evidence(call, fleet.Stopped, "sim", out.Detail)}
	default: // any other state proves nothing
	}
	return out, nil
}

// stopOnHost ends the epoch on its own host and promises never to start it
// again, so that a launch that is still on its way is refused when it arrives.
// About an epoch that never came here it gives no evidence: it may run elsewhere.
func (p *Provider) stopOnHost(call provider.Call) (provider.Outcome, error) {
	h, err := p.reach(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	if call.Step.Host != h.Name {
		return provider.Outcome{}, provider.Errorf(provider.Refused, call, "host %s cannot stop what runs on %s", h.Name, call.Step.Host)
	}
	by := p.executor(h.Name, call.Step.Server)
	p.w.Registry.Fenced[by] = max(p.w.Registry.Fenced[by], call.Step.Epoch)
	i, err := p.find(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	if err := p.w.Reap(i, "stopped"); err != nil {
		return provider.Outcome{}, err
	}
	e := p.evidence(call, fleet.Reaped, "agent@"+h.Name, i.ID+" was reaped")
	return provider.Outcome{Detail: e.Detail, Evidence: []fleet.Evidence{e}}, nil
}

func (p *Provider) seal(call provider.Call) (provider.Outcome, error) {
	if !p.traits.Seals {
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "volumes here carry no epoch file")
	}
	h, err := p.reach(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	volume := call.Step.Object.Volume
	if err := p.w.Seal(VolumeID(call.Server, volume), call.Step.Epoch, h.Name); err != nil {
		return provider.Outcome{}, err
	}
	e := p.evidence(call, fleet.Sealed, "agent@"+h.Name, "read back")
	e.Volume = volume
	return provider.Outcome{Detail: "sealed", Evidence: []fleet.Evidence{e}}, nil
}

// powerOff switches the step's host off by its device, which needs no network of
// the host, and reads the state back.
func (p *Provider) powerOff(call provider.Call) (provider.Outcome, error) {
	name := call.Step.Host
	h := p.w.Host(name)
	switch {
	case h == nil:
		return provider.Outcome{}, provider.Errorf(provider.NotFound, call, "there is no host %q", name)
	case !h.Power || call.Power == nil:
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "no device can switch host %s", name)
	}
	if err := p.w.KillHost(name); err != nil {
		return provider.Outcome{}, err
	}
	e := p.evidence(call, fleet.PoweredOff, "device", "read back as off")
	e.Host = name
	return provider.Outcome{Detail: "host " + name + " is off", Evidence: []fleet.Evidence{e}}, nil
}
