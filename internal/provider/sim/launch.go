package sim

import (
	"slices"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/world"
)

// launch starts the new instance: a process once all its volumes are attached, a
// machine out of nothing.
func (p *Provider) launch(call provider.Call) (provider.Outcome, error) {
	if err := p.mapAll(call); err != nil {
		return provider.Outcome{}, err
	}
	i, err := p.toLaunch(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	if p.opts.AttachFirst {
		for _, v := range call.Server.Spec.Identity.Volumes {
			if v.OnArray() {
				continue
			}
			if !slices.Contains(i.Volumes, VolumeID(call.Server, v.Name)) {
				return provider.Outcome{}, provider.Errorf(provider.Conflict, call, "volume %s is not attached", v.Name)
			}
		}
	}
	if err := p.w.Start(i); err != nil {
		return provider.Outcome{}, err
	}
	if err := p.plug(call, i); err != nil {
		return provider.Outcome{}, err
	}
	return provider.Outcome{Detail: "launched " + i.ID}, nil
}

// toLaunch returns the instance that a launch starts, made now or by an attach.
func (p *Provider) toLaunch(call provider.Call) (*world.Instance, error) {
	if p.opts.AttachFirst {
		return p.keep(call)
	}
	if p.w.Find(call.Step.Server, call.Step.Epoch) != nil {
		return nil, provider.Errorf(provider.Conflict, call, "epoch %d exists", call.Step.Epoch)
	}
	return p.w.Prepare(world.Request{
		Server: call.Step.Server, Epoch: call.Step.Epoch, Site: p.zone(call.Server), Style: world.Machine,
		Token: call.Step.Token, Units: call.Server.Spec.Placement.Units,
	})
}

// zone is where a machine must go: to its volumes, or to the site that its
// spec prefers.
func (p *Provider) zone(s fleet.Server) string {
	for _, v := range s.Spec.Identity.Volumes {
		if vol := p.w.Volume(VolumeID(s, v.Name)); vol != nil && vol.Place != "" {
			return vol.Place
		}
	}
	if len(s.Spec.Placement.Sites) > 0 {
		return s.Spec.Placement.Sites[0]
	}
	return ""
}

// keep returns the epoch's keeper on the step's host, made if it is not there.
func (p *Provider) keep(call provider.Call) (*world.Instance, error) {
	h, err := p.reach(call)
	if err != nil {
		return nil, err
	}
	if i := p.own(call); i != nil {
		if i.State.Gone() {
			return nil, provider.Errorf(provider.Refused, call, "epoch %d was reaped", i.Epoch)
		}
		return i, nil
	}
	return p.w.Prepare(world.Request{
		Server: call.Step.Server, Epoch: call.Step.Epoch, Host: h.Name, Style: world.Process,
		Units: call.Server.Spec.Placement.Units,
	})
}

func (p *Provider) attach(call provider.Call) (provider.Outcome, error) {
	i, err := p.toAttach(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	if call.Step.Object.Address != "" {
		err = p.w.HoldAddress(call.Step.Object.Address, i, true)
	} else {
		err = p.attachVolume(call, i)
	}
	if err != nil {
		p.dropEmpty(i)
		return provider.Outcome{}, err
	}
	return provider.Outcome{Detail: "attached to " + i.ID}, nil
}

// attachVolume refuses a directory without a record, as a host's agent does, unless the step
// says that there may be none yet.
func (p *Provider) attachVolume(call provider.Call, i *world.Instance) error {
	id := VolumeID(call.Server, call.Step.Object.Volume)
	if p.opts.AttachFirst && !call.Step.Fresh && p.w.Blank(id, i.Host) && !slices.Contains(i.Volumes, id) {
		return provider.Errorf(provider.Refused, call, "volume %s has no record on %s: its disk is not mounted there", id, i.Host)
	}
	return p.w.Attach(id, i)
}

func (p *Provider) toAttach(call provider.Call) (*world.Instance, error) {
	if p.opts.AttachFirst {
		return p.keep(call)
	}
	i, err := p.find(call)
	if err != nil {
		return nil, err
	}
	if i.State != fleet.InstanceRunning && i.State != fleet.InstanceStopped {
		return nil, provider.Errorf(provider.Conflict, call, "%s is %s", i.ID, i.State)
	}
	return i, nil
}

// dropEmpty ends a keeper whose first attach was refused: it holds nothing, and
// would only leak its place (invariant S8).
func (p *Provider) dropEmpty(i *world.Instance) {
	if p.opts.AttachFirst && i.State == fleet.InstancePending && len(i.Volumes)+len(i.Addresses) == 0 {
		p.w.Discard(i)
	}
}

func (p *Provider) detach(call provider.Call) (provider.Outcome, error) {
	if p.opts.AttachFirst {
		if _, err := p.reach(call); err != nil {
			return provider.Outcome{}, err
		}
	}
	i, err := p.find(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	if a := call.Step.Object.Address; a != "" {
		p.w.ReleaseAddress(a, i)
		return provider.Outcome{Detail: "released"}, nil
	}
	if err := p.w.Detach(VolumeID(call.Server, call.Step.Object.Volume), i); err != nil {
		return provider.Outcome{}, err
	}
	return provider.Outcome{Detail: "detached"}, nil
}

// recover starts a stopped machine on other hardware, as the next epoch.
func (p *Provider) recover(call provider.Call) (provider.Outcome, error) {
	if err := p.can(call, fleet.Recover); err != nil {
		return provider.Outcome{}, err
	}
	i := p.w.Find(call.Step.Server, call.Proof.Ran())
	if i == nil {
		return provider.Outcome{}, provider.Errorf(provider.NotFound, call, "there is no instance of epoch %d", call.Proof.Ran())
	}
	if err := p.w.Recover(i, call.Step.Epoch, p.zone(call.Server)); err != nil {
		return provider.Outcome{}, err
	}
	return provider.Outcome{Detail: "recovered " + i.ID}, nil
}
