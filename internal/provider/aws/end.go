package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// stop ends an instance: stopped for the recover rung, which starts that same one
// again, terminated for all others, so that its volumes and interfaces are free. It
// gives evidence only once a describe call reads the state back: that the request
// was accepted proves nothing.
func (p *Provider) stop(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	m, all, err := p.find(ctx, call)
	if errors.Is(err, errNone) {
		m, err = renamed(call, all, err)
		if err == nil && m.state() != fleet.InstanceStopped && m.state() != fleet.InstanceTerminated {
			return p.replaced(call, m)
		}
	}
	if err != nil {
		return provider.Outcome{}, err
	}
	again := call.Step.Rung == fleet.Recover
	if out, over := p.ended(call, m, again); over {
		return p.supported(ctx, call, m, out), nil
	}
	if err := p.tellToEnd(ctx, call, m, again); err != nil {
		return provider.Outcome{}, err
	}
	if m, err = p.seeAgain(ctx, call, m.ID); err != nil {
		return provider.Outcome{Detail: "told to end"}, nil //nolint:nilerr // it was; the next look tells more
	}
	out, _ := p.ended(call, m, again)
	return p.supported(ctx, call, m, out), nil
}

// tellToEnd asks for the end of an instance, after EC2's own recovery was taken from
// it: two healers of one instance would undo each other's work (DET-SYS).
func (p *Provider) tellToEnd(ctx context.Context, call provider.Call, m Machine, again bool) error {
	how := Ending{Force: m.state() == fleet.InstanceStopping} // asked before, and it hangs
	if t := call.Server.Spec.Template.EC2; t != nil {
		how.SkipOS = t.SkipOSShutdown
	}
	if m.AutoRecovery != "disabled" {
		if err := p.opt.Cloud.DisableAutoRecovery(ctx, m.ID); err != nil {
			return err
		}
	}
	if again {
		return p.opt.Cloud.Stop(ctx, m.ID, how)
	}
	return p.terminate(ctx, call, m, how)
}

// renamed finds the instance that had the epoch before it was to be started as a later
// one; none is the error if there is no such instance.
func renamed(call provider.Call, all []Machine, none error) (Machine, error) {
	for _, m := range all {
		if ParseEpoch(m.Tags[TagFrom]) == call.Step.Epoch && epochOf(m) > call.Step.Epoch {
			return m, nil
		}
	}
	return Machine{}, none
}

// replaced is the end of an epoch whose instance was stopped, and then started as a
// later epoch: it is over for ever, and the instance must not be touched for it.
func (p *Provider) replaced(call provider.Call, m Machine) (provider.Outcome, error) {
	if m.state() != fleet.InstanceRunning {
		return provider.Outcome{}, provider.Errorf(provider.Retry, call, "%s, as epoch %d", described(m), epochOf(m))
	}
	out := provider.Outcome{Detail: fmt.Sprintf("%s was stopped and runs as epoch %d", m.ID, epochOf(m))}
	out.Evidence = []fleet.Evidence{p.evidence(call, fleet.Terminated, m, out.Detail)}
	return out, nil
}

// ended gives the evidence that the state is, and reports whether nothing is left
// to be asked for.
func (p *Provider) ended(call provider.Call, m Machine, again bool) (provider.Outcome, bool) {
	out := provider.Outcome{Detail: described(m)}
	switch m.state() {
	case fleet.InstanceTerminated:
		out.Evidence = []fleet.Evidence{p.evidence(call, fleet.Terminated, m, out.Detail)}
		return out, true
	case fleet.InstanceStopped:
		out.Evidence = []fleet.Evidence{p.evidence(call, fleet.Stopped, m, out.Detail)}
		return out, again
	default:
		return out, false
	}
}

// terminate ends an instance for ever, and sees to it before that no disk goes with
// it that we did not make: what a server of others' making holds is not ours to
// delete (S8).
func (p *Provider) terminate(ctx context.Context, call provider.Call, m Machine, how Ending) error {
	ours := m.Tags[TagToken] != ""
	var keep []string
	for _, d := range m.Devices {
		if d.Delete && (!ours || moves(call.Server, d.Volume)) {
			keep = append(keep, d.Name)
		}
	}
	if len(keep) > 0 {
		if err := p.opt.Cloud.KeepDisks(ctx, m.ID, keep); err != nil {
			return err
		}
	}
	for _, n := range call.Server.Spec.Identity.Interfaces {
		// One that was made with the instance ends with it, and with it the private
		// address that clients know (OP-NETID).
		if attachment, ends := m.Ending[n.ID]; ends {
			if err := p.opt.Cloud.KeepInterface(ctx, n.ID, attachment); err != nil {
				return err
			}
		}
	}
	return p.opt.Cloud.Terminate(ctx, m.ID, how)
}

// moves reports whether a volume is part of the server's identity, or was before it
// went to another zone: what it left behind is no less its data.
func moves(s fleet.Server, volume string) bool {
	if a := s.Away; a != nil && slices.ContainsFunc(a.Copies, func(c fleet.Copy) bool { return c.Declared == volume || c.Of == volume || c.ID == volume }) {
		return true
	}
	for _, v := range s.Spec.Identity.Volumes {
		if v.ID == volume {
			return true
		}
	}
	return false
}

// reboot resets an instance in place, once for its token: the tag tells a replay
// that it was done.
func (p *Provider) reboot(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	m, _, err := p.find(ctx, call)
	switch {
	case err != nil:
		return provider.Outcome{}, err
	case m.Tags[TagReboot] == call.Step.Token:
		return provider.Outcome{Detail: "rebooted " + m.ID}, nil
	case m.state() != fleet.InstanceRunning:
		return provider.Outcome{}, provider.Errorf(provider.Conflict, call, "%s, not running", described(m))
	}
	if p.opt.Guests != nil {
		p.opt.Guests.Rebooting(call.Step.Server)
	}
	if err := p.opt.Cloud.Reboot(ctx, m.ID); err != nil {
		return provider.Outcome{}, err
	}
	if err := p.opt.Cloud.Tag(ctx, m.ID, map[string]string{TagReboot: call.Step.Token}); err != nil {
		return provider.Outcome{}, err
	}
	return provider.Outcome{Detail: "rebooted " + m.ID}, nil
}

// seeAgain looks at an instance after it was told to end. The read begins after that
// call was answered: see batch.
func (p *Provider) seeAgain(ctx context.Context, call provider.Call, id string) (Machine, error) {
	all, err := p.machines(ctx, call.Step.Server)
	if err != nil {
		return Machine{}, err
	}
	for _, m := range all {
		if m.ID == id {
			return m, nil
		}
	}
	return Machine{}, errNone
}
