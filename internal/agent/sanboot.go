package agent

import (
	"fmt"

	"relight/internal/agent/driver/qemu"
	"relight/internal/array"
	"relight/internal/array/ipxe"
)

// SANScript writes what iPXE carries out for a machine with boot sanboot: unit 1 is
// started, the other LUNs are its next disks. The machine asks its network for an
// address. Errors: ipxe.ErrInvalid.
func SANScript(m qemu.Machine) ([]byte, error) {
	b, err := sanBoot(m)
	if err != nil {
		return nil, err
	}
	return ipxe.Script(b)
}

// sanBoot is what the machine starts from its disks.
func sanBoot(m qemu.Machine) (ipxe.Boot, error) {
	b := ipxe.Boot{Ref: array.Ref{Server: m.Server, Epoch: m.Epoch}}
	for _, d := range m.Disks {
		u := ipxe.Unit{Target: array.Target{Portal: d.Portal, IQN: d.Target}, Unit: d.Unit}
		if d.Unit == 1 {
			b.Initiator, b.User, b.Secret = d.Initiator, d.User, d.Secret
			b.Root = append(b.Root, u)
			for _, portal := range d.MorePortals {
				u.Target.Portal = portal
				b.Root = append(b.Root, u)
			}
			continue
		}
		u.More = d.MorePortals
		b.Data = append(b.Data, u)
	}
	for _, d := range m.Disks {
		// iPXE has one name and one secret for all that it logs in to.
		if d.Initiator != b.Initiator || d.User != b.User || d.Secret != b.Secret {
			return ipxe.Boot{}, fmt.Errorf("%w: volume %s lies on another array than the boot disk", ipxe.ErrInvalid, d.Volume)
		}
	}
	return b, nil
}
