package aws

import (
	"context"
	"fmt"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// releasedWithin bounds the look at what an ended instance has let go of: it supports the
// evidence, and must not hold it back.
const releasedWithin = 3 * time.Second

// released says what is seen of a server's volumes and interfaces after one of its
// instances has ended for ever. It supports that evidence and never stands for it: a
// volume that is available only says that nothing has it at the moment, and that one is
// still attached contradicts no record of a terminated instance, which can be ahead of it.
func (p *Provider) released(ctx context.Context, call provider.Call, m Machine) string {
	ctx, cancel := context.WithTimeout(ctx, releasedWithin)
	defer cancel()
	id := call.Server.Spec.Identity
	words := func(n int) (string, error) {
		if n < len(id.Volumes) {
			return p.volumeLeft(ctx, id.Volumes[n].ID, m)
		}
		return p.interfaceLeft(ctx, id.Interfaces[n-len(id.Volumes)].ID, m)
	}
	var out []string
	for _, got := range together(len(id.Volumes)+len(id.Interfaces), words) {
		if got.err == nil && got.value != "" { // what cannot be read is not said
			out = append(out, got.value)
		}
	}
	return strings.Join(out, ", ")
}

func (p *Provider) volumeLeft(ctx context.Context, id string, m Machine) (string, error) {
	v, err := p.reads.volumes.one(ctx, id)
	switch {
	case err != nil || v == nil:
		return "", err
	case v.Holder == "":
		return id + " is available", nil
	case v.Holder == m.ID:
		return fmt.Sprintf("%s is still %s to it", id, v.Attachment), nil
	}
	return id + " is with " + v.Holder, nil
}

func (p *Provider) interfaceLeft(ctx context.Context, id string, m Machine) (string, error) {
	n, err := p.reads.interfaces.one(ctx, id)
	switch {
	case err != nil || n == nil:
		return "", err
	case n.Holder == "":
		return id + " is detached", nil
	case n.Holder == m.ID:
		return id + " is still attached to it", nil
	}
	return id + " is with " + n.Holder, nil
}

// supported adds to the evidence of an ended instance what is seen of the rest.
func (p *Provider) supported(ctx context.Context, call provider.Call, m Machine, out provider.Outcome) provider.Outcome {
	for n := range out.Evidence {
		if out.Evidence[n].Method == fleet.Terminated {
			out.Evidence[n].Support = p.released(ctx, call, m)
		}
	}
	return out
}
