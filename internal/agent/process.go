package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"relight/internal/agent/address"
	"relight/internal/agent/driver/process"
	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/keeper"
	"relight/internal/agent/volume"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

// Processes is a Driver that runs instances as processes of this host. Its Term and
// BeatSocket are the agent's own, set between New and Run.
type Processes struct {
	// Driver is open and has adopted what an earlier agent left.
	Driver *process.Driver
	// Device carries addresses that are no loopback addresses; empty if the host
	// has none to give.
	Device string
	// BeatSocket returns the path of an instance's beat socket; nil for none.
	BeatSocket func(server string, epoch fleet.Epoch) string
	// Term returns the highest term that the agent has seen; for what it does on
	// its own decision.
	Term func() fleet.Term
}

// Changes implements Driver.
func (p *Processes) Changes() <-chan struct{} { return p.Driver.Changes() }

// Instances implements Driver.
func (p *Processes) Instances() []Instance {
	var out []Instance
	for _, in := range p.Driver.Instances() {
		if !empty(in) {
			out = append(out, told(in))
		}
	}
	return inOrder(out)
}

// empty reports whether all that there is of an instance is its keeper: what a
// refused attach leaves until it is tried again. It takes no place.
func empty(in process.Instance) bool {
	return in.State == process.Attached && len(in.Volumes) == 0 && len(in.Addresses) == 0
}

// told turns the driver's knowledge into the words of the port.
func told(in process.Instance) Instance {
	out := Instance{Server: in.Server, Epoch: in.Epoch, Since: in.Since, Detail: detail(in)}
	for _, v := range in.Volumes {
		out.Volumes = append(out.Volumes, v.Dir)
	}
	for _, a := range in.Addresses {
		out.Addresses = append(out.Addresses, a.IP)
		out.Device = cmp.Or(a.Device, out.Device)
	}
	switch in.State {
	case process.Attached:
		out.State = fleet.InstancePending
	case process.Running:
		out.State, out.Alive = fleet.InstanceRunning, fleet.Yes
	case process.Exited:
		out.State, out.Alive = fleet.InstanceLost, fleet.No
		if in.Ended() {
			out.State = fleet.InstanceReaped
		}
	default:
		out.State, out.Alive = fleet.InstanceLost, fleet.No
		if len(in.Processes) > 0 || in.LocksHeld {
			out.Alive = fleet.Yes
		}
	}
	return out
}

// detail says for people how the instance stands.
func detail(in process.Instance) string {
	text := ""
	switch {
	case in.Exit != nil && in.Exit.Error != "":
		text = "did not start: " + in.Exit.Error
	case in.Exit != nil && in.Exit.Signal != "":
		text = "killed by " + in.Exit.Signal
	case in.Exit != nil:
		text = fmt.Sprintf("exited with code %d", in.Exit.Code)
	case in.State == process.KeeperLost && len(in.Processes) > 0:
		text = fmt.Sprintf("its keeper is gone, %d processes run on", len(in.Processes))
	case in.State == process.KeeperLost:
		text = "its keeper is gone, no process of it is seen"
	}
	if in.Trouble != "" {
		text += "; " + in.Trouble
	}
	return link.Cut(text)
}

// Do implements Driver.
func (p *Processes) Do(ctx context.Context, cmd link.Command) (Effect, error) {
	effect, err := p.do(ctx, cmd)
	if err != nil {
		return Effect{}, classed(cmd, err)
	}
	return effect, nil
}

func (p *Processes) do(ctx context.Context, cmd link.Command) (Effect, error) {
	ref := process.Ref{Server: cmd.Step.Server, Epoch: cmd.Step.Epoch, Term: cmd.Term}
	switch cmd.Step.Kind {
	case fleet.StepAttach:
		return Effect{}, p.attach(ctx, ref, cmd)
	case fleet.StepLaunch:
		return p.launch(ctx, ref, cmd)
	case fleet.StepStop:
		return p.stop(ctx, ref, cmd)
	case fleet.StepDetach:
		_, err := p.Driver.Detach(ctx, ref)
		return Effect{}, err
	case fleet.StepSeal:
		return p.seal(ctx, ref, cmd)
	default:
		return Effect{}, fmt.Errorf("step %s: %w", cmd.Step.Kind, errNoStep)
	}
}

var (
	errNoStep      = errors.New("this driver has no such step")
	errNoVolume    = errors.New("the server has no such volume with a path")
	errNoneHere    = errors.New("no instance of that epoch is known here, which proves nothing")
	errNotAttached = errors.New("the instance does not have it")
	errNotEnded    = errors.New("the instance has not ended for certain")
	errFresh       = errors.New("no instance was ever seen on this volume, so its seal proves nothing")
)

func (p *Processes) attach(ctx context.Context, ref process.Ref, cmd link.Command) error {
	order := process.Order{Ref: ref, Fresh: cmd.Step.Fresh}
	if name := cmd.Step.Object.Volume; name != "" {
		dir, err := pathOf(cmd, name)
		if err != nil {
			return err
		}
		order.Volumes = []keeper.Volume{{Name: name, Dir: dir}}
	}
	// Without a volume this only makes the keeper, which an address needs as well.
	if _, err := p.Driver.Attach(ctx, order); err != nil || cmd.Step.Object.Address == "" {
		return err
	}
	_, err := p.Driver.Claim(ctx, ref, []address.Address{p.address(cmd.Step.Object.Address)})
	return err
}

// address adds the device to addresses that need one: all but loopback ones.
func (p *Processes) address(ip string) address.Address {
	a := address.Address{IP: ip}
	if !isLoopback(ip) {
		a.Device = p.Device
	}
	return a
}

func pathOf(cmd link.Command, name string) (string, error) {
	for _, v := range cmd.Volumes {
		if v.Name == name && v.Path != "" {
			return v.Path, nil
		}
	}
	return "", fmt.Errorf("volume %s: %w", name, errNoVolume)
}

func (p *Processes) launch(ctx context.Context, ref process.Ref, cmd link.Command) (Effect, error) {
	if cmd.Process == nil {
		return Effect{}, fmt.Errorf("launch: %w", errNoStep)
	}
	if err := p.complete(cmd); err != nil {
		return Effect{}, err
	}
	// A server without volumes and addresses has no keeper yet.
	if _, err := p.Driver.Attach(ctx, process.Order{Ref: ref}); err != nil {
		return Effect{}, err
	}
	l := keeper.Launch{Command: cmd.Process.Command, Dir: cmd.Process.Dir}
	for _, k := range slices.Sorted(maps.Keys(cmd.Process.Env)) {
		l.Env = append(l.Env, k+"="+cmd.Process.Env[k])
	}
	if p.BeatSocket != nil {
		l.BeatSocket = p.BeatSocket(ref.Server, ref.Epoch)
	}
	in, err := p.Driver.Launch(ctx, ref, l)
	return Effect{Detail: fmt.Sprintf("pid %d", in.PID)}, err
}

// complete refuses a launch before the instance has all that moves with it: an
// application that finds its directory unlocked would start all the same.
func (p *Processes) complete(cmd link.Command) error {
	var have Instance
	for _, i := range p.Instances() {
		if i.Server == cmd.Step.Server && i.Epoch == cmd.Step.Epoch {
			have = i
		}
	}
	for _, v := range cmd.Volumes {
		if v.Path != "" && !slices.Contains(have.Volumes, v.Path) {
			return fmt.Errorf("launch: volume %s: %w", v.Name, errNotAttached)
		}
	}
	for _, a := range cmd.Addresses {
		if !slices.Contains(have.Addresses, a.IP) {
			return fmt.Errorf("launch: address %s: %w", a.IP, errNotAttached)
		}
	}
	return nil
}

// stop ends the instance. The evidence is the keeper's: it waited for the last
// process and found the locks free.
func (p *Processes) stop(ctx context.Context, ref process.Ref, cmd link.Command) (Effect, error) {
	var grace fleet.Duration
	if cmd.Process != nil {
		grace = cmd.Process.StopGrace
	}
	in, err := p.Driver.Stop(ctx, ref, grace.Std())
	if err != nil {
		return Effect{}, err
	}
	return reaped(in, ref.Server, ref.Epoch)
}

func (p *Processes) seal(ctx context.Context, ref process.Ref, cmd link.Command) (Effect, error) {
	name := cmd.Step.Object.Volume
	dir, err := pathOf(cmd, name)
	if err != nil {
		return Effect{}, err
	}
	s, err := p.Driver.Seal(ctx, ref, dir)
	if err != nil {
		return Effect{}, err
	}
	if s.Fresh || !s.ReadBack || s.Epoch < ref.Epoch {
		return Effect{}, fmt.Errorf("seal %s: %w", dir, errFresh)
	}
	text := fmt.Sprintf("sealed up to epoch %d", s.Epoch)
	return Effect{Detail: text, Evidence: []fleet.Evidence{{
		Method: fleet.Sealed, Server: ref.Server, Epoch: ref.Epoch, Volume: name, Detail: text,
	}}}, nil
}

// reaped gives the evidence that an instance has ended after it was stopped, or says
// why there is none.
func reaped(in process.Instance, server string, epoch fleet.Epoch) (Effect, error) {
	switch {
	case in.State == process.Absent:
		return Effect{}, fmt.Errorf("stop: %w", errNoneHere)
	case !in.Ended():
		return Effect{}, fmt.Errorf("stop: %w: %s", errNotEnded, detail(in))
	}
	return Effect{Detail: detail(in), Evidence: []fleet.Evidence{{
		Method: fleet.Reaped, Server: server, Epoch: epoch, Detail: detail(in),
	}}}, nil
}

// End implements Driver.
func (p *Processes) End(ctx context.Context, server string, epoch fleet.Epoch) error {
	_, err := p.Driver.Stop(ctx, process.Ref{Server: server, Epoch: epoch, Term: p.Term()}, 0)
	return err
}

// classed classes a driver's error once, at this edge.
func classed(cmd link.Command, err error) error {
	class, may := provider.Classify(err, []provider.ClassRow{
		{Is: process.ErrOldTerm, Class: provider.Refused},
		{Is: process.ErrOldEpoch, Class: provider.Refused},
		{Is: process.ErrFenced, Class: provider.Refused},
		{Is: volume.ErrSealed, Class: provider.Refused},
		{Is: volume.ErrOldEpoch, Class: provider.Refused},
		{Is: volume.ErrOtherServer, Class: provider.Refused},
		{Is: volume.ErrNoRecord, Class: provider.Refused},
		{Is: volume.ErrLocked, Class: provider.Conflict},
		{Is: volume.ErrInUse, Class: provider.Conflict},
		{Is: address.ErrClaimed, Class: provider.Conflict},
		{Is: process.ErrAlive, Class: provider.Conflict},
		{Is: keeper.ErrRunning, Class: provider.Conflict},
		{Is: keeper.ErrDifferent, Class: provider.Conflict},
		{Is: keeper.ErrStopped, Class: provider.Conflict},
		{Is: keeper.ErrNotStopped, Class: provider.Conflict},
		{Is: process.ErrNotFound, Class: provider.Conflict},
		{Is: errFresh, Class: provider.Conflict},
		{Is: errNotEnded, Class: provider.Conflict},
		{Is: errNotAttached, Class: provider.Conflict},
		{Is: process.ErrKeeperLost, Class: provider.Conflict},
		{Is: process.ErrAbsent, Class: provider.NotFound},
		{Is: errNoneHere, Class: provider.NotFound},
		{Is: volume.ErrUnreachable, Class: provider.NotFound},
		{Is: volume.ErrCorrupt, Class: provider.Permanent},
		{Is: volume.ErrUnfit, Class: provider.Permanent},
		{Is: address.ErrInvalid, Class: provider.Permanent},
		{Is: keeper.ErrLaunch, Class: provider.Permanent},
		{Is: errNoStep, Class: provider.Permanent},
		{Is: errNoVolume, Class: provider.Permanent},
		{Is: qemu.ErrTemplate, Class: provider.Permanent},
		{Is: errNoDisk, Class: provider.Permanent},
		{Is: errNoIPXE, Class: provider.Permanent},
		{Is: errDeaf, Class: provider.Permanent},
		// What this host lacks another may have.
		{Is: qemu.ErrNetwork, Class: provider.Capacity},
		{Is: errNoWarm, Class: provider.Capacity},
		{Is: errNotUp, Class: provider.Conflict},
		{Is: errNotLive, Class: provider.Conflict},
		{Is: process.ErrName, Class: provider.Permanent},
	})
	e := provider.Errorf(class, provider.Call{Step: cmd.Step}, "%w", err)
	e.MayHaveHappened = may
	return e
}

// emptyFor is how long an instance may hold nothing before its keeper is ended: by
// then nobody comes back to that attach.
const emptyFor = time.Minute

// Tidy implements Driver: it ends the keepers of instances that are gone, and of
// those that never became any.
func (p *Processes) Tidy(ctx context.Context) error {
	var errs []error
	for _, in := range p.Driver.Instances() {
		ref := process.Ref{Server: in.Server, Epoch: in.Epoch, Term: p.Term()}
		switch {
		case in.Ended() && !in.Retired:
			_, err := p.Driver.Retire(ctx, ref)
			errs = append(errs, err)
		case empty(in) && time.Since(in.Since) > emptyFor:
			_, err := p.Driver.Stop(ctx, ref, 0)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
