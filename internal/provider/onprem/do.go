package onprem

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
	"relight/internal/provider/onprem/power"
	"relight/internal/provider/san"
)

// disks tells the epoch's host where its LUNs are and as whom to log in.
func (h *Hub) disks(ctx context.Context, call provider.Call) ([]link.Disk, error) {
	disks, err := h.opt.Arrays.Disks(ctx, call)
	var out []link.Disk
	for _, d := range disks {
		out = append(out, link.Disk(d))
	}
	return out, err
}

// DefaultWithin is the time of a step that says nothing.
const DefaultWithin = 10 * time.Second

var (
	errSilent = errors.New("the agent is out of contact")
	errLate   = errors.New("no answer in time")
	errGone   = errors.New("the host is not enrolled any more")
)

// Do implements provider.Provider. A step goes to the agent of Step.Via, or else of
// Step.Host; powerOff without Via is carried out here. It returns with the agent's
// result, hence with the effect complete.
func (h *Hub) Do(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	if err := provider.CheckProof(call); err != nil {
		return provider.Outcome{}, err
	}
	if err := h.checkTerm(call); err != nil {
		return provider.Outcome{}, err
	}
	within := call.Step.Within.Std()
	if within <= 0 {
		within = DefaultWithin
	}
	if err := ctx.Err(); err != nil {
		return provider.Outcome{}, provider.Errorf(provider.Retry, call, "%w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	switch call.Step.Kind {
	case fleet.StepPowerOff:
		if call.Power == nil {
			return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "no power device is declared for %s", call.Step.Host)
		}
		if call.Step.Via == "" {
			return h.powerOff(ctx, call)
		}
	case fleet.StepReboot:
		if call.Server.Spec.Template.VM == nil {
			return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "only a virtual machine can be reset in place")
		}
	case fleet.StepSnapshot, fleet.StepRestore, fleet.StepDrop:
		if _, ok := san.LUNOf(call); !ok {
			return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "only an array takes snapshots, and the volume is on none")
		}
	case fleet.StepStop, fleet.StepSeal, fleet.StepDetach, fleet.StepAttach, fleet.StepLaunch:
	default:
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "provider %s has no step %s", Name, call.Step.Kind)
	}
	if vol, ok := san.LUNOf(call); ok {
		return h.opt.Arrays.Do(ctx, call, vol)
	}
	cmd, err := command(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	if call.Step.Kind == fleet.StepLaunch {
		if cmd.Disks, err = h.disks(ctx, call); err != nil {
			return provider.Outcome{}, err
		}
	}
	return h.send(ctx, call, cmd, within)
}

func (h *Hub) checkTerm(call provider.Call) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if call.Term < h.term {
		return provider.Errorf(provider.Refused, call, "the controller's term %d is older than %d, which was seen already", call.Term, h.term)
	}
	h.term = call.Term
	return nil
}

// powerOff switches the host off from here and gives evidence once it reads as off.
func (h *Hub) powerOff(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	said, err := power.SwitchIf(ctx, *call.Power, provider.Leased)
	if err != nil {
		// It may be off by now, or go off later; only reading it can tell.
		return provider.Outcome{}, &provider.Error{
			Class: provider.Retry, Op: string(call.Step.Kind), Object: provider.ObjectOf(call),
			MayHaveHappened: true, Err: err,
		}
	}
	h.wake("")
	return provider.Outcome{
		Evidence: []fleet.Evidence{{
			Method: fleet.PoweredOff, Server: call.Step.Server, Epoch: call.Step.Epoch, Host: call.Step.Host,
			By: "the power device of " + call.Step.Host, At: h.opt.Now(), Detail: said,
		}},
		Detail: call.Step.Host + " reads as off",
	}, nil
}

// send queues the command for its host and waits for the result.
func (h *Hub) send(ctx context.Context, call provider.Call, cmd link.Command, within time.Duration) (provider.Outcome, error) {
	name := call.Step.Via
	if name == "" {
		name = call.Step.Host
	}
	now := h.opt.Now()
	deadline := now.Add(within)
	if d, ok := ctx.Deadline(); ok {
		deadline = now.Add(time.Until(d))
	}
	at := h.lastBeat(name)
	h.mu.Lock()
	x := h.hosts[name]
	if x == nil {
		h.mu.Unlock()
		return provider.Outcome{}, provider.Errorf(provider.NotFound, call, "host %s is not enrolled", name)
	}
	if h.contact(x, at, now) == fleet.No {
		h.mu.Unlock()
		return provider.Outcome{}, &provider.Error{
			Class: provider.Retry, Op: string(call.Step.Kind), Object: provider.ObjectOf(call),
			Err: fmt.Errorf("host %s: %w", name, errSilent),
		}
	}
	j := x.enqueue(cmd, deadline)
	h.mu.Unlock()
	late := h.await(ctx, name, j)
	h.mu.Lock()
	defer h.mu.Unlock()
	x.leave(j)
	return h.outcome(call, name, j, late)
}

// await waits for a job's end and says why there was none: its time is over, or
// its host fell silent meanwhile. A recovery must not wait for the answer of a
// dead host when another one could act.
func (h *Hub) await(ctx context.Context, name string, j *job) error {
	look := time.NewTicker(h.opt.Contact / 4)
	defer look.Stop()
	for {
		select {
		case <-j.done:
			return nil
		case <-ctx.Done():
			return errLate
		case <-look.C:
		}
		at := h.lastBeat(name)
		h.mu.Lock()
		x := h.hosts[name]
		silent := x != nil && h.contact(x, at, h.opt.Now()) == fleet.No
		h.mu.Unlock()
		if silent {
			return errSilent
		}
	}
}

// outcome turns a job's end into the call's; late is why it has none. mu is held.
func (h *Hub) outcome(call provider.Call, host string, j *job, late error) (provider.Outcome, error) {
	fail := func(class provider.Class, may bool, err error) (provider.Outcome, error) {
		return provider.Outcome{}, &provider.Error{
			Class: class, Op: string(call.Step.Kind), Object: provider.ObjectOf(call), MayHaveHappened: may,
			Err: fmt.Errorf("host %s: %w", host, err),
		}
	}
	switch r := j.result; {
	case !j.ended:
		return fail(provider.Retry, j.handed, late)
	case r == nil:
		return fail(provider.Retry, j.handed, errGone)
	case r.Class != "":
		return fail(r.Class, r.MayHaveHappened, errors.New(r.Error))
	default:
		evidence, err := believed(call.Step, host, r, j.endedAt)
		if err != nil {
			return fail(provider.Permanent, true, err)
		}
		return provider.Outcome{Evidence: evidence, Detail: r.Detail, Note: r.Note}, nil
	}
}

// errEvidence refuses evidence that the step cannot have shown.
var errEvidence = errors.New("the agent sent evidence that the step cannot give")

// believed checks an agent's evidence against what it was told to do: it may speak
// of that server and epoch only, and of nothing that the step cannot show (S13).
func believed(step fleet.Step, host string, r *link.Result, at time.Time) ([]fleet.Evidence, error) {
	var out []fleet.Evidence
	for _, e := range r.Evidence {
		ok := e.Server == step.Server && e.Epoch == step.Epoch
		switch e.Method {
		case fleet.Reaped:
			ok = ok && step.Kind == fleet.StepStop
		case fleet.Sealed:
			ok = ok && step.Kind == fleet.StepSeal && e.Volume == step.Object.Volume
		case fleet.PoweredOff:
			// Perishable: an outcome from the agent's memory is too old to say when.
			ok = ok && step.Kind == fleet.StepPowerOff && e.Host == step.Host && !r.Replayed
		default:
			ok = false
		}
		if !ok {
			return nil, fmt.Errorf("%w: %s of %s.%d for step %s", errEvidence, e.Method, e.Server, e.Epoch, step.Kind)
		}
		e.By, e.At = "the agent of "+host, at
		out = append(out, e)
	}
	return out, nil
}

// command makes the agent's command of a call.
func command(call provider.Call) (link.Command, error) {
	spec := call.Server.Spec
	cmd := link.Command{
		ID: call.Step.Token, Term: call.Term, Step: call.Step,
		Volumes: spec.Identity.Volumes, Addresses: spec.Identity.Addresses,
		Units: max(spec.Placement.Units, 1),
	}
	if cmd.ID == "" {
		return cmd, provider.Errorf(provider.Permanent, call, "the step has no token")
	}
	if call.Step.Kind == fleet.StepPowerOff {
		cmd.Power = call.Power
	}
	if q := spec.Quiesce; q != nil && call.Step.Quiesce {
		list, err := expandAll(q.Command, spec.Identity)
		if err != nil {
			return cmd, provider.Errorf(provider.Permanent, call, "quiesce: %w", err)
		}
		cmd.Quiesce = &fleet.Quiesce{Command: list, Guest: q.Guest, Within: q.Within, OnFailure: q.OnFailure}
	}
	cmd.VM = spec.Template.VM
	if spec.Template.Process == nil {
		if call.Step.Kind == fleet.StepLaunch && cmd.VM == nil {
			return cmd, provider.Errorf(provider.Permanent, call, "the server has no template of a process or a virtual machine")
		}
		return cmd, nil
	}
	p, err := expandProcess(*spec.Template.Process, spec.Identity)
	if err != nil {
		return cmd, provider.Errorf(provider.Permanent, call, "%w", err)
	}
	cmd.Process = &p
	return cmd, nil
}
