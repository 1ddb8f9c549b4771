package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// releasedWithin bounds the look at what an ended instance has let go of: it supports the
// evidence, and must not hold it back.
const releasedWithin = 3 * time.Second

// released says what is seen of a server's volumes, interfaces and elastic addresses after
// the instances of one of its epochs have ended for ever, and whether they have let go of all
// of them. That supports the evidence and never stands for it: a volume that is available
// only says that nothing has it at the moment, and that one is still attached contradicts no
// record of a terminated instance, which can be ahead of it.
func (p *Provider) released(ctx context.Context, call provider.Call, ended []Machine) (string, fleet.Answer) {
	ctx, cancel := context.WithTimeout(ctx, releasedWithin)
	defer cancel()
	looks := p.looksAtLeft(call, ended)
	var out []string
	all := fleet.Yes
	for _, got := range together(len(looks), func(n int) (left, error) { return looks[n](ctx) }) {
		switch {
		case got.err != nil || got.value.words == "": // what cannot be read is not said
			if all == fleet.Yes {
				all = fleet.CannotTell
			}
			continue
		case got.value.kept:
			all = fleet.No
		}
		out = append(out, got.value.words)
	}
	if len(looks) == 0 {
		all = fleet.CannotTell // it had nothing that could show it
	}
	return strings.Join(out, ", "), all
}

// left is what is seen of one thing that an ended instance had: in words, none if it is
// told of no more, and whether that instance still has it.
type left struct {
	words string
	kept  bool
}

// looksAtLeft are the looks at all that a server's instance may have had. LUNs are proved
// by their arrays.
func (p *Provider) looksAtLeft(call provider.Call, ended []Machine) []func(context.Context) (left, error) {
	var out []func(context.Context) (left, error)
	id := call.Server.Spec.Identity
	for _, v := range id.Volumes {
		if v.LUN == nil {
			out = append(out, func(ctx context.Context) (left, error) { return p.volumeLeft(ctx, v.ID, ended) })
		}
	}
	for _, n := range id.Interfaces {
		out = append(out, func(ctx context.Context) (left, error) { return p.interfaceLeft(ctx, n.ID, ended) })
	}
	for _, a := range id.Addresses {
		out = append(out, func(ctx context.Context) (left, error) { return p.addressLeft(ctx, a, ended) })
	}
	return out
}

func (p *Provider) volumeLeft(ctx context.Context, id string, ended []Machine) (left, error) {
	v, err := p.reads.volumes.one(ctx, id)
	switch {
	case err != nil || v == nil:
		return left{}, err
	case v.Holder == "":
		return left{words: id + " is available"}, nil
	case among(ended, v.Holder):
		return left{fmt.Sprintf("%s is still %s to it", id, v.Attachment), true}, nil
	}
	return left{words: id + " is with " + v.Holder}, nil
}

func (p *Provider) interfaceLeft(ctx context.Context, id string, ended []Machine) (left, error) {
	n, err := p.reads.interfaces.one(ctx, id)
	switch {
	case err != nil || n == nil:
		return left{}, err
	case n.Holder == "":
		return left{words: id + " is detached"}, nil
	case among(ended, n.Holder):
		return left{id + " is still attached to it", true}, nil
	}
	return left{words: id + " is with " + n.Holder}, nil
}

func (p *Provider) addressLeft(ctx context.Context, a fleet.Address, ended []Machine) (left, error) {
	seen, err := p.reads.addresses.one(ctx, a.Allocation)
	switch {
	case err != nil || seen == nil:
		return left{}, err
	case seen.Holder == "":
		return left{words: a.IP + " leads to no instance"}, nil
	case among(ended, seen.Holder):
		return left{a.IP + " still leads to it", true}, nil
	}
	return left{words: a.IP + " leads to " + seen.Holder}, nil
}

// supported adds to the evidence of an ended instance what is seen of the rest.
func (p *Provider) supported(ctx context.Context, call provider.Call, ended []Machine, out provider.Outcome) provider.Outcome {
	for n := range out.Evidence {
		if out.Evidence[n].Method == fleet.Terminated {
			out.Evidence[n].Support, out.Evidence[n].Released = p.released(ctx, call, ended)
		}
	}
	return out
}

func among(list []Machine, id string) bool {
	return slices.ContainsFunc(list, func(m Machine) bool { return m.ID == id })
}
