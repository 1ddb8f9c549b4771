package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/driver/virsh"
	"relight/internal/agent/keeper"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

const (
	// domainsEvery is how often libvirt is asked; a domain that ended is seen as
	// late as that.
	domainsEvery = time.Second
	endedFile    = "ended.json"
)

// Domains is a Driver for hosts that run libvirt already. It tells of the domains
// that carry a mark (see virsh.Conn.Mark) and passes over all others. It starts
// domains that are defined on this host, resets and ends them; it makes none, so a
// server whose LUNs must be let in anew for each epoch is for Machines.
type Domains struct {
	opt     DomainOptions
	changes chan struct{}

	mu    sync.Mutex
	seen  map[string]virsh.Domain // by UUID
	since map[string]time.Time
	// blind is why the last look failed.
	blind string
	// ended has the highest epoch of each server that must not start here again, and
	// gone those of them that libvirt was seen to have no process of.
	ended, gone map[string]fleet.Epoch
}

// DomainOptions are what Domains needs.
type DomainOptions struct {
	Conn *virsh.Conn
	// Dir keeps what must outlive the agent, and the consoles before each reset.
	Dir string
	// Accel chooses what domains that it makes are run by; qemu.TCG if nil.
	Accel func(ctx context.Context) (qemu.Accel, string)
	// Clock tells the time.
	Clock func() time.Time
	Log   *slog.Logger
}

// Errors of libvirt's driver.
var (
	errNoDomain  = errors.New("no domain with that name is defined on this host")
	errForeign   = errors.New("a domain of that name is somebody else's; next: relight import libvirt --adopt")
	errEnded     = errors.New("the epoch was ended here and does not start again")
	errOtherRuns = errors.New("another epoch runs in the domain")
)

// NewDomains makes the driver and reads what an earlier agent has left.
func NewDomains(o DomainOptions) (*Domains, error) {
	d := &Domains{
		opt: o, changes: make(chan struct{}, 1), seen: map[string]virsh.Domain{}, since: map[string]time.Time{},
		ended: map[string]fleet.Epoch{}, gone: map[string]fleet.Epoch{},
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	err := keeper.ReadFile(filepath.Join(o.Dir, endedFile), &d.ended)
	if errors.Is(err, os.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which epochs were ended: %w", err)
	}
	return d, nil
}

// Run looks at libvirt until ctx ends.
func (d *Domains) Run(ctx context.Context) {
	tick := time.NewTicker(domainsEvery)
	defer tick.Stop()
	for {
		d.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look reads all domains. What cannot be read stays as it was, and says so.
func (d *Domains) look(ctx context.Context) {
	all, err := d.opt.Conn.Domains(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil && d.blind == "" {
			d.opt.Log.Warn("libvirt does not answer", "error", err)
			d.notify()
		}
		d.blind = err.Error()
		return
	}
	changed := d.blind != ""
	d.blind = ""
	now := d.opt.Clock()
	was := d.seen
	d.seen = map[string]virsh.Domain{}
	for _, one := range all {
		if one.Server == "" {
			continue
		}
		d.seen[one.UUID] = one
		if old, ok := was[one.UUID]; !ok || old.State != one.State || old.Epoch != one.Epoch {
			d.since[one.UUID], changed = now, true
		}
	}
	if changed || len(was) != len(d.seen) {
		d.notify()
	}
}

func (d *Domains) notify() {
	select {
	case d.changes <- struct{}{}:
	default:
	}
}

// Changes implements Driver.
func (d *Domains) Changes() <-chan struct{} { return d.changes }

// Instances implements Driver.
func (d *Domains) Instances() []Instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Instance
	for id, one := range d.seen {
		in := Instance{Server: one.Server, Epoch: one.Epoch, Since: d.since[id], Detail: "domain " + one.Name + " is " + string(one.State)}
		switch {
		case d.blind != "":
			in.State, in.Alive, in.Detail = fleet.InstanceLost, fleet.CannotTell, link.Cut("libvirt does not answer: "+d.blind)
		case one.State.Alive():
			in.State, in.Alive = fleet.InstanceRunning, fleet.Yes
		case d.gone[one.Server] >= one.Epoch:
			in.State, in.Alive = fleet.InstanceReaped, fleet.No
		default:
			in.State, in.Alive = fleet.InstanceStopped, fleet.No
		}
		out = append(out, in)
	}
	return inOrder(out)
}

// Do implements Driver.
func (d *Domains) Do(ctx context.Context, cmd link.Command) (Effect, error) {
	effect, err := d.do(ctx, cmd)
	if err == nil {
		d.look(ctx)
		return effect, nil
	}
	class, unknown := provider.Classify(err, []provider.ClassRow{
		{Is: errNoDomain, Class: provider.Capacity},
		{Is: errForeign, Class: provider.Capacity},
		{Is: virsh.ErrTemplate, Class: provider.Capacity},
		{Is: errEnded, Class: provider.Refused},
		{Is: errOtherRuns, Class: provider.Conflict},
	})
	if unknown {
		return Effect{}, classed(cmd, err)
	}
	return Effect{}, provider.Errorf(class, provider.Call{Step: cmd.Step}, "%w", err)
}

func (d *Domains) do(ctx context.Context, cmd link.Command) (Effect, error) {
	server, epoch := cmd.Step.Server, cmd.Step.Epoch
	switch cmd.Step.Kind {
	case fleet.StepAttach, fleet.StepDetach:
		// The guest has its addresses itself, and LUNs are let in on their array.
		return Effect{}, d.startable(server, epoch)
	case fleet.StepLaunch:
		return d.launch(ctx, cmd)
	case fleet.StepReboot:
		return d.reset(ctx, server, epoch)
	case fleet.StepStop:
		var grace time.Duration
		if cmd.VM != nil {
			grace = cmd.VM.StopGrace.Std()
		}
		return d.stop(ctx, server, epoch, grace)
	default:
		return Effect{}, fmt.Errorf("step %s: %w", cmd.Step.Kind, errNoStep)
	}
}

// find reads the server's domain afresh.
func (d *Domains) find(ctx context.Context, server string) (virsh.Domain, error) {
	all, err := d.opt.Conn.Domains(ctx)
	if err != nil {
		return virsh.Domain{}, err
	}
	for _, one := range all {
		if one.Server == server {
			return one, nil
		}
	}
	return virsh.Domain{}, fmt.Errorf("server %s: %w", server, errNoDomain)
}

func (d *Domains) startable(server string, epoch fleet.Epoch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended[server] >= epoch {
		return fmt.Errorf("epoch %d: %w", epoch, errEnded)
	}
	return nil
}

// own reads the domain of an instance. Errors: errNoneHere.
func (d *Domains) own(ctx context.Context, server string, epoch fleet.Epoch) (virsh.Domain, error) {
	one, err := d.find(ctx, server)
	switch {
	case errors.Is(err, errNoDomain):
		return one, fmt.Errorf("epoch %d: %w", epoch, errNoneHere)
	case err == nil && one.Epoch != epoch:
		return one, fmt.Errorf("epoch %d: %w: the domain has epoch %d", epoch, errNoneHere, one.Epoch)
	}
	return one, err
}

func (d *Domains) reset(ctx context.Context, server string, epoch fleet.Epoch) (Effect, error) {
	one, err := d.own(ctx, server, epoch)
	if err != nil {
		return Effect{}, err
	}
	if !one.State.Alive() {
		return Effect{}, fmt.Errorf("reset: %w", errNotLive)
	}
	kept, err := d.keepConsole(one)
	if err != nil {
		d.opt.Log.Warn("the console is not kept", "server", server, "error", err)
	}
	return Effect{Detail: kept}, d.opt.Conn.Reset(ctx, one.UUID)
}
