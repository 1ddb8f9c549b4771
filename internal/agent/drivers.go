package agent

import (
	"context"
	"errors"
	"slices"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

// drivers is a Driver that hands each instance to the driver that has it, and each
// new one to the driver of its template. No instance is ever in both.
type drivers struct {
	processes, machines Driver
	changes             chan struct{}
}

func newDrivers(processes, machines Driver) *drivers {
	return &drivers{processes: processes, machines: machines, changes: make(chan struct{}, 1)}
}

var errNoMachines = errors.New("this host runs no virtual machines")

// route finds the driver of a command. The instance's own comes first: a template
// that was changed since must not send a stop to a driver that never had it, which
// would answer that there is nothing to stop.
func (d *drivers) route(cmd link.Command) (Driver, error) {
	if has := d.having(cmd.Step.Server, cmd.Step.Epoch); has != nil {
		return has, nil
	}
	switch {
	case cmd.VM == nil:
		return d.processes, nil
	case d.machines == nil:
		return nil, provider.Errorf(provider.Permanent, provider.Call{Step: cmd.Step}, "%w", errNoMachines)
	default:
		return d.machines, nil
	}
}

// having returns the driver that knows the instance, or nil.
func (d *drivers) having(server string, epoch fleet.Epoch) Driver {
	for _, one := range d.all() {
		if slices.ContainsFunc(one.Instances(), func(i Instance) bool { return i.Server == server && i.Epoch == epoch }) {
			return one
		}
	}
	return nil
}

func (d *drivers) all() []Driver {
	if d.machines == nil {
		return []Driver{d.processes}
	}
	return []Driver{d.processes, d.machines}
}

// Do implements Driver.
func (d *drivers) Do(ctx context.Context, cmd link.Command) (Effect, error) {
	one, err := d.route(cmd)
	if err != nil {
		return Effect{}, err
	}
	return one.Do(ctx, cmd)
}

// Instances implements Driver.
func (d *drivers) Instances() []Instance {
	var out []Instance
	for _, one := range d.all() {
		out = append(out, one.Instances()...)
	}
	return inOrder(out)
}

// Changes implements Driver; it receives while forward runs.
func (d *drivers) Changes() <-chan struct{} { return d.changes }

// forward passes the drivers' changes on until ctx ends.
func (d *drivers) forward(ctx context.Context) {
	var machines <-chan struct{}
	if d.machines != nil {
		machines = d.machines.Changes()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.processes.Changes():
		case <-machines:
		}
		select {
		case d.changes <- struct{}{}:
		default:
		}
	}
}

// End implements Driver. An instance that no driver knows is ended by both, so that
// neither starts it later.
func (d *drivers) End(ctx context.Context, server string, epoch fleet.Epoch) error {
	if has := d.having(server, epoch); has != nil {
		return has.End(ctx, server, epoch)
	}
	var errs []error
	for _, one := range d.all() {
		errs = append(errs, one.End(ctx, server, epoch))
	}
	return errors.Join(errs...)
}

// Tidy implements Driver.
func (d *drivers) Tidy(ctx context.Context) error {
	var errs []error
	for _, one := range d.all() {
		errs = append(errs, one.Tidy(ctx))
	}
	return errors.Join(errs...)
}
