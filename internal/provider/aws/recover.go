package aws

import (
	"context"
	"strconv"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// recover starts a stopped instance on other hardware, as the next epoch. The tag is
// written before the start: an instance must never run under an epoch that is over.
func (p *Provider) recover(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	all, err := p.machines(ctx, call.Step.Server)
	if err != nil {
		return provider.Outcome{}, err
	}
	m, err := toStart(call, all)
	switch {
	case err != nil:
		return provider.Outcome{}, err
	case epochOf(m) == call.Step.Epoch && (m.state() == fleet.InstancePending || m.state() == fleet.InstanceRunning):
		return provider.Outcome{Detail: "started " + m.ID}, nil
	case m.state() != fleet.InstanceStopped:
		return provider.Outcome{}, provider.Errorf(provider.Conflict, call, "%s, not stopped", described(m))
	}
	if err := p.nameAnew(ctx, call, m); err != nil {
		return provider.Outcome{}, err
	}
	if err := p.renewUserData(ctx, call, m); err != nil {
		return provider.Outcome{}, err
	}
	if err := p.opt.Cloud.Start(ctx, m.ID); err != nil {
		return provider.Outcome{}, err
	}
	return provider.Outcome{Detail: "started " + m.ID}, nil
}

// toStart picks the instance that the proof speaks of, or that was started already
// under the call's own epoch and token, and refuses if any other may live. After starts
// that came to nothing it still has the epoch that ran last, or that of the last try
// that got as far as its tag.
func toStart(call provider.Call, all []Machine) (Machine, error) {
	var m *Machine
	for n := range all {
		e, over := epochOf(all[n]), all[n].state() == fleet.InstanceTerminated
		switch {
		case e > call.Step.Epoch:
			return Machine{}, provider.Errorf(provider.Refused, call, "epoch %d is older than %d, which exists (%s)", call.Step.Epoch, e, all[n].ID)
		case e == call.Step.Epoch && all[n].Tags[TagToken] != call.Step.Token:
			return Machine{}, provider.Errorf(provider.Conflict, call, "epoch %d exists (%s)", e, all[n].ID)
		case over:
		case (e == call.Step.Epoch || e >= call.Proof.Ran() && e <= call.Proof.Epoch()) && m != nil:
			return Machine{}, provider.Errorf(provider.Conflict, call, "%s, %s: nobody knows which of them is the server", described(*m), described(all[n]))
		case e == call.Step.Epoch, e >= call.Proof.Ran() && e <= call.Proof.Epoch():
			m = &all[n]
		case e > call.Proof.Epoch():
			return Machine{}, provider.Errorf(provider.Refused, call, "the proof speaks of epoch %d, and epoch %d exists", call.Proof.Epoch(), e)
		}
	}
	if m == nil {
		return Machine{}, provider.Errorf(provider.NotFound, call, "%w", errNone)
	}
	return *m, nil
}

// nameAnew gives an instance its next epoch, and takes EC2's own recovery from it
// unless the spec wants that.
func (p *Provider) nameAnew(ctx context.Context, call provider.Call, m Machine) error {
	tags := map[string]string{TagEpoch: strconv.FormatUint(uint64(call.Step.Epoch), 10), TagToken: call.Step.Token}
	if epochOf(m) != call.Step.Epoch {
		// Not the epoch of a try that came to nothing: who is to end the one that ran would
		// not find it again.
		tags[TagFrom] = strconv.FormatUint(uint64(call.Proof.Ran()), 10)
	}
	if err := p.opt.Cloud.Tag(ctx, m.ID, tags); err != nil {
		return err
	}
	t := call.Server.Spec.Template.EC2
	if t == nil || t.AutoRecovery == fleet.AutoRecoveryPlatform || m.AutoRecovery == "disabled" {
		return nil
	}
	return p.opt.Cloud.DisableAutoRecovery(ctx, m.ID)
}
