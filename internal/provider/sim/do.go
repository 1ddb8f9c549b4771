package sim

import (
	"context"
	"fmt"

	"relight/internal/core/fleet"
	"relight/internal/core/lease"
	"relight/internal/provider"
	"relight/internal/world"
)

// APIs are the names under which the world's quotas limit the calls.
func api(k fleet.StepKind) string { return string(k) }

// Do implements provider.Provider.
func (p *Provider) Do(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	p.w.Lock()
	defer p.w.Unlock()
	if err := p.alive(ctx, call); err != nil {
		return provider.Outcome{}, err
	}
	f := p.draw(call)
	if err := p.before(call, f); err != nil {
		return provider.Outcome{}, err
	}
	if !p.w.Take(api(call.Step.Kind)) {
		return provider.Outcome{}, provider.Errorf(provider.Retry, call, "%w", errThrottled)
	}
	out, err := p.execute(call)
	if hidden := p.after(call, f); hidden != nil {
		return provider.Outcome{}, hidden
	}
	return out, classed(call, err)
}

// execute is what the executor at the other end does: it trusts no controller.
func (p *Provider) execute(call provider.Call) (provider.Outcome, error) {
	out, replayed, err := p.serve(call)
	if p.opts.Executed != nil {
		p.opts.Executed(call, out, replayed, err)
	}
	return out, err
}

// serve carries the call out, or answers it from memory, which has no new effect.
func (p *Provider) serve(call provider.Call) (out provider.Outcome, replayed bool, err error) {
	if err := provider.CheckProof(call); err != nil {
		return provider.Outcome{}, false, err
	}
	if err := p.admit(call); err != nil {
		return provider.Outcome{}, false, err
	}
	again, err := p.replay(call)
	if again != nil || err != nil {
		return deref(again), again != nil, err
	}
	out, err = p.carryOut(call)
	if err == nil && call.Step.Token != "" && remembered(call.Step.Kind) {
		p.w.Registry.Replays[call.Step.Token] = world.Replay{Request: request(call), Detail: out.Detail, Evidence: out.Evidence}
	}
	return out, false, err
}

// admit refuses older terms and, for what starts, epochs that the executor knows
// to be over, and proofs that leave out an epoch that it has seen.
func (p *Provider) admit(call provider.Call) error {
	reg, s := p.w.Registry, call.Step
	if err := p.obey(call); err != nil {
		return err
	}
	if !s.Kind.NeedsProof() {
		return nil
	}
	if fenced := reg.Fenced[p.executor(s.Host, s.Server)]; s.Epoch <= fenced {
		return provider.Errorf(provider.Refused, call, "epoch %d was ended for ever", fenced)
	}
	for _, i := range p.w.Of(s.Server) {
		if p.opts.AttachFirst && i.Host != s.Host {
			continue // a host's agent knows its own only; the volumes know the rest
		}
		if i.Epoch > s.Epoch {
			return provider.Errorf(provider.Refused, call, "epoch %d is older than %d, which exists", s.Epoch, i.Epoch)
		}
		if i.Epoch < s.Epoch && i.Epoch > call.Proof.Epoch() && !i.State.Gone() {
			return provider.Errorf(provider.Refused, call, "the proof speaks of epoch %d, and epoch %d exists", call.Proof.Epoch(), i.Epoch)
		}
	}
	return nil
}

// obey holds the call against what its executor has obeyed before: a host's agent
// by the rules of every agent, a platform's adapter by the term.
func (p *Provider) obey(call provider.Call) error {
	reg, s := p.w.Registry, call.Step
	if !p.opts.AttachFirst {
		if call.Term < reg.Terms[s.Server] {
			return provider.Errorf(provider.Refused, call, "term %d is older than %d, which was seen already", call.Term, reg.Terms[s.Server])
		}
		reg.Terms[s.Server] = call.Term
		return nil
	}
	host := agentOf(s)
	if p.lunOf(call) != nil {
		host = "" // no agent hears of it
	}
	if h := p.w.Host(host); h == nil || !p.contact(h) {
		return nil // whoever needs the agent is told that it is not reached
	}
	after, changed, err := reg.Obeyed[host].Admit(lease.Order{
		Term: call.Term, Kind: s.Kind, Server: s.Server, Epoch: s.Epoch, Units: call.Server.Spec.Placement.Units,
	}, reg.LeaseTerms[host])
	if err != nil {
		return provider.Errorf(provider.Refused, call, "%w", err)
	}
	if changed {
		reg.Obeyed[host] = after
	}
	return nil
}

// agentOf is the host whose agent carries the step out.
func agentOf(s fleet.Step) string {
	if s.Via != "" {
		return s.Via
	}
	return s.Host
}

// executor is who remembers for a server: a host's agent, or the platform.
func (p *Provider) executor(host, server string) world.Executor {
	if !p.opts.AttachFirst {
		host = ""
	}
	return world.Executor{Host: host, Server: server}
}

// remembered steps answer a replay from memory. The others are idempotent by
// themselves, and their evidence must be seen afresh each time.
func remembered(k fleet.StepKind) bool {
	switch k {
	case fleet.StepStop, fleet.StepSeal, fleet.StepPowerOff, fleet.StepDetach, fleet.StepSnapshot:
		return false
	default:
		return true
	}
}

func (p *Provider) replay(call provider.Call) (*provider.Outcome, error) {
	r, ok := p.w.Registry.Replays[call.Step.Token]
	if !ok || call.Step.Token == "" {
		return nil, nil
	}
	if r.Request != request(call) {
		return nil, provider.Errorf(provider.Permanent, call, "token %s belongs to another request", call.Step.Token)
	}
	return &provider.Outcome{Detail: r.Detail, Evidence: r.Evidence}, nil
}

func deref(o *provider.Outcome) provider.Outcome {
	if o == nil {
		return provider.Outcome{}
	}
	return *o
}

func (p *Provider) carryOut(call provider.Call) (provider.Outcome, error) {
	if l := p.lunOf(call); l != nil {
		return p.onArray(call, l)
	}
	switch call.Step.Kind {
	case fleet.StepLaunch:
		return p.launch(call)
	case fleet.StepAttach:
		return p.attach(call)
	case fleet.StepDetach:
		return p.detach(call)
	case fleet.StepStop:
		return p.stop(call)
	case fleet.StepSeal:
		return p.seal(call)
	case fleet.StepPowerOff:
		return p.powerOff(call)
	case fleet.StepRecover:
		return p.recover(call)
	case fleet.StepRestartApp:
		return p.inPlace(call, fleet.RestartApp, p.w.RestartApp)
	case fleet.StepReboot:
		return p.inPlace(call, fleet.Reboot, p.w.Reboot)
	default:
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "not a step for a provider")
	}
}

// reach returns the host whose agent carries the call out.
func (p *Provider) reach(call provider.Call) (*world.Host, error) {
	name := agentOf(call.Step)
	h := p.w.Host(name)
	if h == nil {
		return nil, provider.Errorf(provider.NotFound, call, "there is no host %q", name)
	}
	if !p.contact(h) {
		return nil, provider.Errorf(provider.Retry, call, "host %s: %w", name, world.ErrUnreachable)
	}
	return h, nil
}

func (p *Provider) find(call provider.Call) (*world.Instance, error) {
	i := p.w.Find(call.Step.Server, call.Step.Epoch)
	if p.opts.AttachFirst {
		i = p.own(call)
	}
	if i == nil {
		return nil, provider.Errorf(provider.NotFound, call, "there is no such instance")
	}
	return i, nil
}

// own returns the instance on the step's host: its agent knows no others.
func (p *Provider) own(call provider.Call) *world.Instance {
	all := p.w.Of(call.Step.Server)
	for n := len(all) - 1; n >= 0; n-- {
		if all[n].Epoch == call.Step.Epoch && all[n].Host == call.Step.Host {
			return all[n]
		}
	}
	return nil
}

func (p *Provider) can(call provider.Call, r fleet.Rung) error {
	for _, has := range p.traits.Rungs {
		if has == r {
			return nil
		}
	}
	return provider.Errorf(provider.Permanent, call, "this provider has no rung %s", r)
}

// inPlace carries out restartApp and reboot.
func (p *Provider) inPlace(call provider.Call, r fleet.Rung, act func(*world.Instance) error) (provider.Outcome, error) {
	if err := p.can(call, r); err != nil {
		return provider.Outcome{}, err
	}
	i, err := p.find(call)
	if err != nil {
		return provider.Outcome{}, err
	}
	if err := act(i); err != nil {
		return provider.Outcome{}, err
	}
	return provider.Outcome{Detail: fmt.Sprintf("%s %s", call.Step.Kind, i.ID)}, nil
}

func (p *Provider) evidence(call provider.Call, m fleet.Method, by, detail string) fleet.Evidence {
	return fleet.Evidence{Method: m, Server: call.Step.Server, Epoch: call.Step.Epoch, By: by, At: p.w.Now(), Detail: detail}
}
