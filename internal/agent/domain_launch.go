package agent

import (
	"context"
	"errors"
	"fmt"

	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/driver/virsh"
	"relight/internal/provider/onprem/link"
)

func (d *Domains) launch(ctx context.Context, cmd link.Command) (Effect, error) {
	server, epoch := cmd.Step.Server, cmd.Step.Epoch
	if err := d.startable(server, epoch); err != nil {
		return Effect{}, err
	}
	one, err := d.find(ctx, server)
	switch {
	case errors.Is(err, errNoDomain) && len(cmd.Disks) > 0 && cmd.VM != nil:
		// It runs from its LUNs alone, so every host can have it.
		return d.make(ctx, cmd)
	case err != nil:
		return Effect{}, err
	case one.State.Alive() && one.Epoch == epoch:
		return Effect{Detail: "domain " + one.Name + " runs"}, nil
	case one.State.Alive():
		return Effect{}, fmt.Errorf("launch of epoch %d: epoch %d: %w", epoch, one.Epoch, errOtherRuns)
	case one.Made:
		return d.make(ctx, cmd)
	}
	// The mark first: a domain that runs must never carry an older epoch's.
	if err := d.opt.Conn.Mark(ctx, one, server, epoch); err != nil {
		return Effect{}, err
	}
	if len(cmd.Disks) > 0 {
		text, err := d.opt.Conn.Definition(ctx, one.UUID)
		if err != nil {
			return Effect{}, err
		}
		if err := d.define(ctx, cmd, text); err != nil {
			return Effect{}, err
		}
	}
	return Effect{Detail: "domain " + one.Name + " started"}, d.opt.Conn.Start(ctx, one.UUID)
}

// define gives a description the epoch's LUNs, and libvirt the secrets with which it logs
// in to them.
func (d *Domains) define(ctx context.Context, cmd link.Command, text []byte) error {
	disks := throughPortals(ctx, ordered(cmd.Disks), nil)
	text, err := virsh.WithDisks(text, cmd.Step.Server, disks)
	if err != nil {
		return err
	}
	for _, one := range disks {
		if err := d.opt.Conn.KeepSecret(ctx, d.opt.Dir, cmd.Step.Server, one); err != nil {
			return fmt.Errorf("secret of volume %s: %w", one.Volume, err)
		}
	}
	return d.opt.Conn.Define(ctx, d.opt.Dir, text)
}

// make defines and starts the domain of a server that this host has none of, or one that
// was made so before.
func (d *Domains) make(ctx context.Context, cmd link.Command) (Effect, error) {
	server := cmd.Step.Server
	all, err := d.opt.Conn.Domains(ctx)
	if err != nil {
		return Effect{}, err
	}
	for _, one := range all {
		if one.Name == server && !one.Made {
			return Effect{}, fmt.Errorf("domain %s: %w", server, errForeign)
		}
	}
	kvm := false
	if d.opt.Accel != nil {
		accel, _ := d.opt.Accel(ctx)
		kvm = accel == qemu.KVM
	}
	vm := *cmd.VM
	vm.MAC = qemu.MAC(server, vm) // the same on every host
	text, err := virsh.Describe(server, cmd.Step.Epoch, vm, kvm)
	if err != nil {
		return Effect{}, err
	}
	if err := d.define(ctx, cmd, text); err != nil {
		return Effect{}, err
	}
	one, err := d.find(ctx, server)
	if err != nil {
		return Effect{}, err
	}
	return Effect{Detail: "domain " + one.Name + " was made and started"}, d.opt.Conn.Start(ctx, one.UUID)
}
