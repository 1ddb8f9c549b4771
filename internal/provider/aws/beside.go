package aws

import (
	"context"

	"relight/internal/provider"
)

// besideVolumes refuses a launch in a zone where one of the server's volumes is not: the
// instance could never have it, which would come out at the attach, after a launch, a boot
// and a try for nothing. Where a subnet brings no answer EC2's own to the attach tells. On
// an Outpost the zone says nothing: its volumes are bound to the Outpost.
func (p *Provider) besideVolumes(ctx context.Context, call provider.Call, subnet string) error {
	volumes := call.Server.Spec.Identity.Volumes
	if subnet == "" || len(volumes) == 0 {
		return nil
	}
	lies, err := p.subnet(ctx, subnet)
	if err != nil || lies.Zone == "" || lies.Outpost != "" {
		return nil
	}
	zones := together(len(volumes), func(n int) (string, error) {
		v, err := p.reads.volumes.one(ctx, volumes[n].ID)
		if err != nil || v == nil {
			return "", err
		}
		return v.Zone, nil
	})
	for n, z := range zones {
		if z.err == nil && z.value != "" && z.value != lies.Zone {
			return provider.Errorf(provider.Permanent, call, "volume %s (%s) is in %s, and subnet %s in %s: nothing is launched there, for it could never have it; name a subnet of %s",
				volumes[n].Name, volumes[n].ID, z.value, subnet, lies.Zone, z.value)
		}
	}
	return nil
}

// subnet tells where a subnet lies, which never changes: it is asked for once.
func (p *Provider) subnet(ctx context.Context, id string) (Subnet, error) {
	if s, known := p.subnets.Load(id); known {
		return s.(Subnet), nil
	}
	s, err := p.opt.Cloud.Subnet(ctx, id)
	if err != nil {
		return Subnet{}, err
	}
	p.subnets.Store(id, s)
	return s, nil
}
