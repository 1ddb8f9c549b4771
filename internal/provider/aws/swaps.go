package aws

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// TagInstead names the interface that an interface was made to replace.
const TagInstead = "relight:instead-of"

// makeInterfaces makes the interfaces that take others' place where the server is away,
// and reads the addresses of those that its document names.
func (p *Provider) makeInterfaces(ctx context.Context, call provider.Call, made map[fleet.Object]fleet.Made) error {
	for _, s := range call.Server.Away.Interfaces {
		has := slices.ContainsFunc(call.Server.Spec.Identity.Interfaces, func(n fleet.Interface) bool { return n.Instead == s.Declared })
		if s.ID != "" && len(s.Now) > 0 || !has {
			continue // it is known, or the document names another interface
		}
		n, err := p.swapped(ctx, call, s)
		if err != nil {
			return err
		}
		made[fleet.Object{Interface: s.Declared}] = fleet.Made{ID: n.ID, Addresses: n.Addresses}
	}
	return nil
}

// swapped is the interface that takes another's place: the one that the document names,
// or one that is made, once for its token. Security groups and the number of addresses
// are those of the old one: a server behind fewer rules than before would be open.
func (p *Provider) swapped(ctx context.Context, call provider.Call, s fleet.Swap) (Interface, error) {
	if s.ID != "" {
		n, err := p.reads.interfaces.one(ctx, s.ID)
		switch {
		case err != nil:
			return Interface{}, err
		case n == nil:
			return Interface{}, provider.Errorf(provider.Refused, call, "interface %s, which elsewhere names for %s, is not there", s.ID, s.Declared)
		}
		return *n, nil
	}
	old, err := p.reads.interfaces.one(ctx, s.Of)
	if err != nil {
		return Interface{}, err
	}
	want := declared(call.Server, s.Declared)
	if old != nil {
		want.Groups, want.NoSourceCheck, want.Addresses = old.Groups, old.NoSourceCheck, old.Addresses
	}
	if len(want.Groups) == 0 {
		return Interface{}, provider.Errorf(provider.Refused, call, "interface %s is gone, and nothing tells its security groups; write them into identity.interfaces[].groups", s.Of)
	}
	n, err := p.made(ctx, call, s, want)
	if err != nil || !want.NoSourceCheck || n.NoSourceCheck {
		return n, err
	}
	return n, p.opt.Cloud.SkipSourceCheck(ctx, n.ID)
}

func (p *Provider) made(ctx context.Context, call provider.Call, s fleet.Swap, want fleet.Interface) (Interface, error) {
	// EC2 keeps client tokens for some time only: the tag is asked first.
	if n, err := p.opt.Cloud.InterfaceByToken(ctx, s.Token); err != nil || n != nil {
		return *cmp.Or(n, &Interface{}), err
	}
	n, err := p.opt.Cloud.MakeInterface(ctx, NewInterface{
		Token: s.Token, Subnet: call.Server.Away.Subnet, Groups: want.Groups,
		Addresses: max(len(family(want.Addresses, false)), 1), IPv6: len(family(want.Addresses, true)),
		Tags: map[string]string{
			"Name": call.Step.Server + " in place of " + s.Of, TagServer: call.Step.Server, TagToken: s.Token, TagInstead: s.Of,
			TagEpoch: strconv.FormatUint(uint64(call.Step.Epoch), 10),
		},
	})
	if isCode(err, "IdempotentParameterMismatch") {
		// It was made by a try of another epoch, or by one that saw other groups of the old
		// interface, while the look before lagged.
		if again, lookErr := p.opt.Cloud.InterfaceByToken(ctx, s.Token); lookErr == nil && again != nil {
			return *again, nil
		}
		return Interface{}, provider.Errorf(provider.Retry, call, "the interface in place of %s was made, and EC2 does not tell of it yet: %w", s.Of, err)
	}
	return n, err
}

// declared is what the document says of an interface that the server has another for.
func declared(s fleet.Server, id string) fleet.Interface {
	for _, n := range s.Spec.Identity.Interfaces {
		if n.Named() == id {
			return n
		}
	}
	return fleet.Interface{}
}
