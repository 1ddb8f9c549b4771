package virsh

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// made is the description of domains that we define: nobody else's are made anew.
const made = "made by Relight from the server's template, anew at each start"

// Describe describes the domain of a server that this host has none of, from the server's
// template. kvm is whether the host's own CPUs run it. Errors: ErrTemplate.
func Describe(server string, epoch fleet.Epoch, vm fleet.VMTemplate, kvm bool) ([]byte, error) {
	if !ValidName(server) {
		return nil, fmt.Errorf("server %q: %w", server, ErrTemplate)
	}
	var b strings.Builder
	put := func(format string, values ...any) {
		for i, v := range values {
			if s, is := v.(string); is {
				values[i] = escaped(s)
			}
		}
		fmt.Fprintf(&b, format, values...)
	}
	kind := "qemu"
	if kvm {
		kind = "kvm"
	}
	put("<domain type='%s'><name>%s</name><uuid>%s</uuid><description>%s</description>", kind, server, idOf("relight server "+server), made)
	put("<metadata><relight:instance xmlns:relight='%s' server='%s' epoch='%d'/></metadata>", markSpace, server, epoch)
	put("<memory unit='MiB'>%d</memory><vcpu>%d</vcpu><os><type arch='x86_64' machine='q35'>hvm</type>", vm.Memory, max(vm.CPUs, 1))
	if vm.Firmware != "" {
		put("<loader type='rom'>%s</loader>", vm.Firmware)
	}
	switch vm.Boot {
	case fleet.BootKernel:
		put("<kernel>%s</kernel>", vm.Kernel)
		if vm.Initrd != "" {
			put("<initrd>%s</initrd>", vm.Initrd)
		}
		put("<cmdline>%s</cmdline>", strings.TrimSpace("console=ttyS0 "+vm.Cmdline)+fmt.Sprintf(" relight.server=%s relight.epoch=%d", server, epoch))
	case fleet.BootLUN:
		put("<boot dev='hd'/>")
	default:
		return nil, fmt.Errorf("boot %s: %w", vm.Boot, ErrTemplate)
	}
	put("</os><features><acpi/></features><clock offset='utc'/><devices>")
	if vm.Bridge != "" {
		put("<interface type='bridge'><source bridge='%s'/>", vm.Bridge)
		if vm.MAC != "" {
			put("<mac address='%s'/>", vm.MAC)
		}
		put("<model type='virtio'/></interface>")
	}
	put("<serial type='file'><source path='%s'/></serial>", filepath.Join(consoles, server+"-console.log"))
	put("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>")
	if vm.Watchdog {
		put("<watchdog model='i6300esb' action='reset'/>")
	}
	put("</devices></domain>")
	return []byte(b.String()), nil
}

// consoles is where libvirt lets its machines write.
const consoles = "/var/log/libvirt/qemu"

// Definition reads a domain as it will start, with what libvirt shows to nobody else.
func (c *Conn) Definition(ctx context.Context, id string) ([]byte, error) {
	text, err := c.call(ctx, "dumpxml", "--inactive", "--security-info", id)
	return []byte(text), err
}

// Define has libvirt keep a description, in place of the one that it has of that domain.
// dir is for a file that only this user reads.
func (c *Conn) Define(ctx context.Context, dir string, text []byte) error {
	return c.withFile(dir, text, func(path string) error {
		_, err := c.call(ctx, "define", path)
		return err
	})
}

// KeepSecret has libvirt keep the secret of an epoch's disk until it ends, in place of an
// earlier epoch's. A disk without one has none.
func (c *Conn) KeepSecret(ctx context.Context, dir, server string, d link.Disk) error {
	if d.User == "" {
		return nil
	}
	id := secretID(server, d.Volume)
	text := fmt.Sprintf("<secret ephemeral='yes' private='yes'><uuid>%s</uuid><usage type='iscsi'><target>%s</target></usage></secret>",
		id, escaped("relight "+server+" "+d.Volume))
	err := c.withFile(dir, []byte(text), func(path string) error {
		_, err := c.call(ctx, "secret-define", path)
		return err
	})
	if err != nil {
		return err
	}
	// Never as an argument: everybody on the host reads those.
	return c.withFile(dir, []byte(d.Secret), func(path string) error {
		_, err := c.call(ctx, "secret-set-value", id, "--plain", "--file", path)
		return err
	})
}

func (c *Conn) withFile(dir string, text []byte, do func(path string) error) error {
	f, err := os.CreateTemp(dir, "virsh-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text)
	if shut := f.Close(); err == nil {
		err = shut
	}
	if err != nil {
		return err
	}
	return do(f.Name())
}
