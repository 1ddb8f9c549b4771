package aws

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// attach gives a part of the identity to the instance of its epoch. What an older
// epoch of the same server still has is taken from it, what anybody else has is not.
func (p *Provider) attach(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	m, all, err := p.find(ctx, call)
	if err != nil {
		return provider.Outcome{}, err
	}
	if err := takes(call, m); err != nil {
		return provider.Outcome{}, err
	}
	switch o := call.Step.Object; {
	case o.Volume != "":
		return p.attachVolume(ctx, call, m)
	case o.Interface != "":
		return p.attachInterface(ctx, call, m)
	case o.Address != "":
		return p.associate(ctx, call, m, all)
	case o.Group != "":
		return p.register(ctx, call, m, all)
	case o.Name != "":
		return p.setRecord(ctx, call)
	default:
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "nothing is named to attach")
	}
}

// takes refuses to give anything to an instance that boots, or that is over.
func takes(call provider.Call, m Machine) error {
	switch m.state() {
	case fleet.InstanceRunning, fleet.InstanceStopped:
		return nil
	case fleet.InstancePending:
		return provider.Errorf(provider.Retry, call, "%s", described(m))
	default:
		return provider.Errorf(provider.Conflict, call, "%s", described(m))
	}
}

// device is where the n-th volume of a server is attached. It is only a name for
// the API: on Nitro the guest finds the disk by its serial.
func device(n int) string { return fmt.Sprintf("/dev/sd%c", 'f'+n) }

func volumeOf(call provider.Call) (fleet.Volume, int, error) {
	for n, v := range call.Server.Spec.Identity.Volumes {
		if v.Name == call.Step.Object.Volume {
			return v, n, nil
		}
	}
	return fleet.Volume{}, 0, provider.Errorf(provider.NotFound, call, "the server has no such volume")
}

func (p *Provider) attachVolume(ctx context.Context, call provider.Call, m Machine) (provider.Outcome, error) {
	made, err := p.copies(ctx, &call)
	if err != nil {
		return provider.Outcome{Made: made}, err
	}
	v, n, err := volumeOf(call)
	if err != nil {
		return provider.Outcome{Made: made}, err
	}
	seen, err := p.reads.volumes.one(ctx, v.ID)
	if err != nil {
		return provider.Outcome{Made: made}, err
	}
	done := provider.Outcome{Detail: v.ID + " attached to " + m.ID, Made: made}
	switch {
	case seen == nil: // EC2's own answer to the attach tells
	case seen.Holder == m.ID && (seen.Attachment == "attached" || seen.Attachment == "attaching"):
		return done, nil
	case seen.Epoch > call.Step.Epoch:
		return provider.Outcome{Made: made}, provider.Errorf(provider.Refused, call, "the volume was given to epoch %d", seen.Epoch)
	case seen.Epoch < call.Step.Epoch && seen.Holder == "":
		// The tag comes first: it is the floor for the next epoch when our own records are
		// lost, and must never be lower than what had the volume (S3).
		tag := map[string]string{TagServer: call.Step.Server, TagEpoch: strconv.FormatUint(uint64(call.Step.Epoch), 10)}
		if err := p.opt.Cloud.Tag(ctx, v.ID, tag); err != nil {
			return provider.Outcome{Made: made}, err
		}
	}
	err = p.opt.Cloud.AttachVolume(ctx, v.ID, m.ID, cmp.Or(v.Device, device(n)))
	if isCode(err, "VolumeInUse") {
		// It may be ours already, and only the look before lagged.
		if again, lookErr := p.reads.volumes.one(ctx, v.ID); lookErr == nil && again != nil && again.Holder == m.ID {
			return done, nil
		}
	}
	return done, noMore(call, m, err)
}

// noMore says of a machine that takes no more volumes or interfaces what helps.
func noMore(call provider.Call, m Machine, err error) error {
	if !isCode(err, "AttachmentLimitExceeded") {
		return err
	}
	return provider.Errorf(provider.Permanent, call, "a %s takes no more volumes and interfaces (%w); declare a machine type that takes more, or leave some of them out", m.Type, err)
}

func interfaceOf(call provider.Call) (fleet.Interface, error) {
	for _, n := range call.Server.Spec.Identity.Interfaces {
		if n.Named() == call.Step.Object.Interface {
			return n, nil
		}
	}
	return fleet.Interface{}, provider.Errorf(provider.NotFound, call, "the server has no such interface")
}

func (p *Provider) attachInterface(ctx context.Context, call provider.Call, m Machine) (provider.Outcome, error) {
	made, err := p.copies(ctx, &call)
	if err != nil {
		return provider.Outcome{Made: made}, err
	}
	n, err := interfaceOf(call)
	if err != nil {
		return provider.Outcome{Made: made}, err
	}
	seen, err := p.reads.interfaces.one(ctx, n.ID)
	if err != nil {
		return provider.Outcome{Made: made}, err
	}
	done := provider.Outcome{Detail: n.ID + " attached to " + m.ID, Made: made}
	if seen != nil && seen.Holder == m.ID {
		return done, nil
	}
	err = p.opt.Cloud.AttachInterface(ctx, n.ID, m.ID, n.Index)
	if isCode(err, "InvalidNetworkInterface.InUse") {
		// It may be ours already, and only the look before lagged.
		if again, lookErr := p.reads.interfaces.one(ctx, n.ID); lookErr == nil && again != nil && again.Holder == m.ID {
			return done, nil
		}
	}
	return done, noMore(call, m, err)
}

func addressOf(call provider.Call) (fleet.Address, error) {
	for _, a := range call.Server.Spec.Identity.Addresses {
		if a.IP == call.Step.Object.Address {
			return a, nil
		}
	}
	return fleet.Address{}, provider.Errorf(provider.NotFound, call, "the server has no such address")
}

// associate leads an elastic address to where the spec says, else to the instance's
// primary interface. EC2 would take it from whoever has it; so that is asked for only if
// it is this server's own: an older epoch has it, or another interface of the same one.
func (p *Provider) associate(ctx context.Context, call provider.Call, m Machine, all []Machine) (provider.Outcome, error) {
	a, err := addressOf(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	if len(m.Interfaces) == 0 {
		return provider.Outcome{}, provider.Errorf(provider.Retry, call, "%s shows no interface yet", m.ID)
	}
	to, known := destinationOf(call.Server, a)
	if !known {
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "nothing tells which private address of the interface in place of %s is to have %s, which led to %s; name it in the document", a.Interface, a.IP, a.Private)
	}
	to.iface = cmp.Or(to.iface, m.Interfaces[0])
	seen, err := p.reads.addresses.one(ctx, a.Allocation)
	if err != nil {
		return provider.Outcome{}, err
	}
	done := provider.Outcome{Detail: a.IP + " leads to " + m.ID}
	again := false // EC2 itself refuses the claim then, if anybody has it
	switch {
	case seen == nil:
	case seen.Holder == m.ID && to.is(a, *seen):
		return done, nil
	case seen.Holder == m.ID:
		again = true // it leads to another interface or private address of the same instance
	case seen.Holder != "":
		if err := fromOlder(call, all, seen.Holder); err != nil {
			return provider.Outcome{}, err
		}
		again, done.Detail = true, done.Detail+", taken from "+seen.Holder+", an older epoch's"
	case seen.Interface != to.iface && ours(call.Server, seen.Interface):
		again = true // it stayed with an interface that the server left behind, which no instance has
	}
	return done, p.opt.Cloud.Associate(ctx, a.Allocation, to.iface, to.private, again)
}

// ours reports whether an interface is one that the server has or left behind.
func ours(s fleet.Server, iface string) bool {
	is := func(n fleet.Interface) bool { return n.ID == iface || n.Named() == iface }
	was := func(n fleet.Swap) bool { return n.Of == iface }
	return slices.ContainsFunc(s.Spec.Identity.Interfaces, is) || s.Away != nil && slices.ContainsFunc(s.Away.Interfaces, was)
}

// fromOlder allows to take something from an instance only if that is an older
// epoch of the same server.
func fromOlder(call provider.Call, all []Machine, holder string) error {
	for _, m := range all {
		if m.ID != holder {
			continue
		}
		if e := epochOf(m); e > call.Step.Epoch {
			return provider.Errorf(provider.Refused, call, "epoch %d has it (%s)", e, m.ID)
		}
		return nil
	}
	return provider.Errorf(provider.Conflict, call, "%s has it, which is no instance of this server", holder)
}

// register takes the server's older instances out of the target group before the
// new one serves, so that clients never reach two.
func (p *Provider) register(ctx context.Context, call provider.Call, m Machine, all []Machine) (provider.Outcome, error) {
	group := call.Step.Object.Group
	targets, err := p.opt.Cloud.Targets(ctx, group)
	if err != nil {
		return provider.Outcome{}, err
	}
	var older, own []Target
	for _, t := range targets {
		switch {
		case t.Drains():
		case t.ID == m.ID:
			own = append(own, t)
		case slices.ContainsFunc(all, func(old Machine) bool { return old.ID == t.ID }):
			older = append(older, t)
		}
	}
	if len(older) > 0 {
		if err := p.opt.Cloud.Deregister(ctx, group, older); err != nil {
			return provider.Outcome{}, err
		}
	}
	out := provider.Outcome{Detail: m.ID + " has its place"}
	if missing := lacking(call.Server, group, m.ID, own); len(missing) > 0 {
		return out, p.opt.Cloud.Register(ctx, group, missing)
	}
	return out, nil
}

// lacking are the targets that an instance is to be in a group and is not. Where the spec
// names no port, any will do that it is there on: nobody tells which is the group's own.
func lacking(s fleet.Server, group, id string, own []Target) []Target {
	var ports []int
	for _, g := range s.Spec.Identity.Groups {
		if g.ID == group {
			ports = g.Ports
		}
	}
	if len(ports) == 0 {
		if len(own) > 0 {
			return nil
		}
		return []Target{{ID: id}}
	}
	var out []Target
	for _, port := range ports {
		if !slices.ContainsFunc(own, func(t Target) bool { return t.Port == port }) {
			out = append(out, Target{ID: id, Port: port})
		}
	}
	return out
}

// leave takes an instance out of a target group, on whatever port it is there: the spec
// may have named others when it came.
func (p *Provider) leave(ctx context.Context, group string, m Machine) (provider.Outcome, error) {
	out := provider.Outcome{Detail: m.ID + " leaves its place"}
	targets, err := p.opt.Cloud.Targets(ctx, group)
	targets = slices.DeleteFunc(targets, func(t Target) bool { return t.ID != m.ID || t.Drains() })
	if err != nil || len(targets) == 0 {
		return out, err
	}
	return out, p.opt.Cloud.Deregister(ctx, group, targets)
}

// detach takes a part of the identity from the instances of its epoch, and from no
// other. A volume that a guest still has mounted hangs busy.
func (p *Provider) detach(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	all, err := p.machines(ctx, call.Step.Server)
	if err != nil {
		return provider.Outcome{}, err
	}
	list := carriers(all, call.Step.Epoch)
	if len(list) == 0 {
		return provider.Outcome{}, provider.Errorf(provider.NotFound, call, "%w", errNone)
	}
	var out provider.Outcome
	for _, m := range list {
		if out, err = p.detachFrom(ctx, call, m); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (p *Provider) detachFrom(ctx context.Context, call provider.Call, m Machine) (provider.Outcome, error) {
	if m.state() == fleet.InstanceTerminated && call.Step.Object.Volume == "" {
		return provider.Outcome{Detail: described(m) + ", which has nothing any more"}, nil
	}
	switch o := call.Step.Object; {
	case o.Volume != "":
		return p.detachVolume(ctx, call, m)
	case o.Interface != "":
		return p.detachInterface(ctx, call, m)
	case o.Address != "":
		return p.disassociate(ctx, call, m)
	case o.Group != "":
		return p.leave(ctx, o.Group, m)
	default:
		return provider.Outcome{Detail: "a name leads to an address, which moves"}, nil
	}
}

func (p *Provider) detachInterface(ctx context.Context, call provider.Call, m Machine) (provider.Outcome, error) {
	n, err := interfaceOf(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	seen, err := p.reads.interfaces.one(ctx, n.ID)
	done := provider.Outcome{Detail: n.ID + " is taken from " + m.ID}
	if err != nil || seen == nil || seen.Holder != m.ID {
		return done, err
	}
	return done, p.opt.Cloud.DetachInterface(ctx, seen.Attachment)
}

func (p *Provider) disassociate(ctx context.Context, call provider.Call, m Machine) (provider.Outcome, error) {
	a, err := addressOf(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	seen, err := p.reads.addresses.one(ctx, a.Allocation)
	done := provider.Outcome{Detail: a.IP + " is taken from " + m.ID}
	if err != nil || seen == nil || seen.Holder != m.ID {
		return done, err
	}
	return done, p.opt.Cloud.Disassociate(ctx, seen.Association)
}
