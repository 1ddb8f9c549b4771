package aws

import (
	"context"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// detachVolume takes a volume from an instance. A terminated one mostly has nothing any
// more, but an attachment can outlive it.
func (p *Provider) detachVolume(ctx context.Context, call provider.Call, m Machine) (provider.Outcome, error) {
	v, _, err := volumeOf(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	out := provider.Outcome{Detail: v.ID + " is told to leave " + m.ID}
	if call.Step.Force || m.state() == fleet.InstanceTerminated {
		seen, err := p.reads.volumes.one(ctx, v.ID)
		switch {
		case err != nil:
			return provider.Outcome{}, err
		case seen == nil || seen.Holder != m.ID:
			return provider.Outcome{Detail: described(m) + ", and does not have " + v.ID}, nil
		}
		if call.Step.Force {
			if err := mayForce(call, v, m, *seen); err != nil {
				return provider.Outcome{}, err
			}
			out.Detail = v.ID + " is taken by force from " + m.ID
		}
	}
	err = p.opt.Cloud.DetachVolume(ctx, v.ID, m.ID, call.Step.Force)
	if isCode(err, "IncorrectState", "InvalidAttachment.NotFound") {
		err = nil // it does not have it
	}
	return out, err
}

// mayForce is the last guard before a volume is torn from an instance, which loses what
// that had not flushed: the spec allows it, the instance's epoch is proved dead, EC2
// does not call it running, and the ordinary detach was asked for and hangs.
func mayForce(call provider.Call, v fleet.Volume, m Machine, seen Volume) error {
	proved := call.Proof.Epoch()
	switch {
	case v.ForceDetach == nil:
		return provider.Errorf(provider.Refused, call, "the spec does not allow to detach volume %s by force (forceDetach)", v.Name)
	case !call.Proof.Covers(call.Step.Server, proved+1) || call.Step.Epoch == 0 || call.Step.Epoch > proved:
		return provider.Errorf(provider.Refused, call, "no proof that epoch %d is dead", call.Step.Epoch)
	case m.state() == fleet.InstanceRunning || m.state() == fleet.InstancePending:
		return provider.Errorf(provider.Refused, call, "%s: what runs is ended first, nothing is torn from it", described(m))
	case seen.Attachment != "detaching" && seen.Attachment != "busy":
		return provider.Errorf(provider.Conflict, call, "%s is %s at %s: it is detached the ordinary way first", v.ID, seen.Attachment, m.ID)
	}
	return nil
}
