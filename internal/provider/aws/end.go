package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// stop ends all instances of an epoch: stopped for the recover rung, which starts that
// same one again, terminated for all others, so that their volumes and interfaces are
// free. It gives evidence only once a describe call reads back that all of them have ended:
// that the request was accepted proves nothing, and a copy that a person has made with its
// tags is one more that may write.
func (p *Provider) stop(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	all, err := p.machines(ctx, call.Step.Server)
	if err != nil {
		return provider.Outcome{}, err
	}
	list := carriers(all, call.Step.Epoch)
	if len(list) == 0 || call.Step.Rung != "" {
		later := renamed(call, all)
		if n := slices.IndexFunc(later, func(m Machine) bool { return !over(m) }); n < 0 {
			list = append(list, later...)
		} else if len(list) == 0 {
			return p.replaced(call, later[n])
		}
	}
	if len(list) == 0 {
		return provider.Outcome{}, provider.Errorf(provider.NotFound, call, "%w", errNone)
	}
	again := call.Step.Rung == fleet.Recover
	left := slices.DeleteFunc(slices.Clone(list), func(m Machine) bool { return m.state() == fleet.InstanceTerminated || again && over(m) })
	if len(left) == 0 {
		return p.supported(ctx, call, list, p.ended(call, list)), nil
	}
	for _, m := range left {
		err = errors.Join(err, p.tellToEnd(ctx, call, m, again))
	}
	if err != nil {
		return provider.Outcome{}, err
	}
	if list, err = p.seeAgain(ctx, call, list); err != nil {
		return provider.Outcome{Detail: "told to end"}, nil //nolint:nilerr // it was; the next look tells more
	}
	return p.supported(ctx, call, list, p.ended(call, list)), nil
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

// renamed finds what had the epoch before it was to be started as a later one.
func renamed(call provider.Call, all []Machine) []Machine {
	return slices.DeleteFunc(slices.Clone(all), func(m Machine) bool {
		return ParseEpoch(m.Tags[TagFrom]) != call.Step.Epoch || epochOf(m) <= call.Step.Epoch
	})
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

// ended gives the evidence that the states of an epoch's instances are: no more than that
// of the one that has ended least.
func (p *Provider) ended(call provider.Call, list []Machine) provider.Outcome {
	out := provider.Outcome{Detail: describedAll(list)}
	switch m := leastEnded(list)[0]; m.state() {
	case fleet.InstanceTerminated:
		out.Evidence = []fleet.Evidence{p.evidence(call, fleet.Terminated, m, out.Detail)}
	case fleet.InstanceStopped:
		out.Evidence = []fleet.Evidence{p.evidence(call, fleet.Stopped, m, out.Detail)}
	default: // one of them lives, or may
	}
	return out
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

// seeAgain looks at instances after they were told to end. The read begins after that
// call was answered: see batch.
func (p *Provider) seeAgain(ctx context.Context, call provider.Call, list []Machine) ([]Machine, error) {
	all, err := p.machines(ctx, call.Step.Server)
	if err != nil {
		return nil, err
	}
	var out []Machine
	for _, was := range list {
		n := slices.IndexFunc(all, func(m Machine) bool { return m.ID == was.ID })
		if n < 0 {
			return nil, errNone
		}
		out = append(out, all[n])
	}
	return out, nil
}
