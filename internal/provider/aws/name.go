package aws

import (
	"context"
	"slices"
	"strings"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// setRecord points a name to the first address, and where it has one of IPv6 to that.
func (p *Provider) setRecord(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	names := call.Server.Spec.Identity.Names
	at := slices.IndexFunc(names, func(n fleet.DNSName) bool { return n.Name == call.Step.Object.Name })
	if at < 0 {
		return provider.Outcome{}, provider.Errorf(provider.NotFound, call, "the server has no such name")
	}
	n := names[at]
	to, err := p.leadsTo(ctx, call)
	if err != nil {
		return provider.Outcome{}, err
	}
	all := []string{to}
	if n.IPv6 {
		to6, err := p.leadsTo6(ctx, call)
		if err != nil {
			return provider.Outcome{}, err
		}
		all = append(all, to6)
	}
	done := provider.Outcome{Detail: n.Name + " leads to " + strings.Join(all, " and ")}
	seen, err := p.opt.Cloud.Records(ctx, n.Zone, []string{n.Name})
	if err != nil {
		return done, err
	}
	now := seen[undotted(n.Name)]
	for i, value := range all {
		is, shared := now.Value, now.Shared
		if i == 1 {
			is, shared = now.V6, now.SharedV6
		}
		switch {
		case is == value:
			continue
		case shared != "":
			return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "the record %s is not this server's alone: %s; give the server a name of its own", n.Name, shared)
		}
		if err := p.opt.Cloud.SetRecord(ctx, n.Zone, n.Name, value, n.TTL.Std()); err != nil {
			return done, err
		}
	}
	return done, nil
}

// leadsTo is the address that a server's names lead to: its first elastic one, or the
// private one of its first interface, which may be another one where it is away.
func (p *Provider) leadsTo(ctx context.Context, call provider.Call) (string, error) {
	id := call.Server.Spec.Identity
	if len(id.Addresses) > 0 {
		return id.Addresses[0].IP, nil
	}
	first := named(id)
	if first == nil {
		return "", provider.Errorf(provider.Permanent, call, "the server has no address for the name")
	}
	n, err := p.reads.interfaces.one(ctx, first.ID)
	switch {
	case err != nil:
		return "", err
	case n == nil || len(n.Addresses) == 0:
		return "", provider.Errorf(provider.Retry, call, "the private address of %s is not known yet", first.ID)
	}
	return n.Addresses[0], nil
}

// leadsTo6 is the address that the AAAA records of a server's names lead to: the first one
// of IPv6 of its first interface, which may be another one where it is away.
func (p *Provider) leadsTo6(ctx context.Context, call provider.Call) (string, error) {
	first := named(call.Server.Spec.Identity)
	if first == nil {
		return "", provider.Errorf(provider.Permanent, call, "the server has no interface for the AAAA record of the name")
	}
	n, err := p.reads.interfaces.one(ctx, first.ID)
	if err != nil {
		return "", err
	}
	if n != nil {
		if six := family(n.Addresses, true); len(six) > 0 {
			return six[0], nil
		}
		return "", provider.Errorf(provider.Permanent, call, "interface %s has no IPv6 address for the AAAA record of the name; give it one: aws ec2 assign-ipv6-addresses --ipv6-address-count 1 --network-interface-id %s", first.ID, first.ID)
	}
	return "", provider.Errorf(provider.Retry, call, "the IPv6 address of %s is not known yet", first.ID)
}

// named is the interface whose private address the names of a server without elastic
// addresses lead to: that of the lowest index; nil if it has none.
func named(id fleet.Identity) *fleet.Interface {
	var first *fleet.Interface
	for i := range id.Interfaces {
		if first == nil || id.Interfaces[i].Index < first.Index {
			first = &id.Interfaces[i]
		}
	}
	return first
}
