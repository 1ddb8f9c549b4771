package aws

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// launch makes the instance of a new epoch, once for its token: EC2 itself refuses
// a second one under the same client token, also while its describe calls still lag.
func (p *Provider) launch(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	all, done, out, err := p.admitLaunch(ctx, call)
	if done || err != nil {
		return out, err
	}
	if call.Server.Spec.Template.EC2 == nil {
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "the server has no EC2 template")
	}
	made, err := p.copies(ctx, &call)
	if err == nil {
		out, err = p.launchIn(ctx, call, all)
	}
	out.Made = made
	if a := call.Server.Away; err == nil && a != nil && len(made) > 0 {
		out.Detail += " " + a.Loss()
	}
	return out, err
}

// launchIn makes the instance where the server is to be.
func (p *Provider) launchIn(ctx context.Context, call provider.Call, all []Machine) (provider.Outcome, error) {
	t := call.Server.Spec.Template.EC2
	l := Launch{
		Token: call.Step.Token, Template: t.LaunchTemplate, Version: t.Version, Subnet: t.Subnet,
		NoAutoRecovery: t.AutoRecovery != fleet.AutoRecoveryPlatform,
		Own:            t.Launch, Tags: launchTags(call, t.Launch),
	}
	var err error
	if l.UserData, err = p.userData(ctx, call); err != nil {
		return provider.Outcome{}, err
	}
	if l.UserData != nil {
		l.Tags[TagGuest] = "yes"
	}
	for _, n := range call.Server.Spec.Identity.Interfaces {
		if n.Index == 0 {
			l.Primary, l.Subnet = n.ID, "" // it brings its subnet with it
		}
	}
	if err := p.onOutpost(ctx, call); err != nil {
		return provider.Outcome{}, err
	}
	if err := p.besideVolumes(ctx, call, l.Subnet); err != nil {
		return provider.Outcome{}, err
	}
	var full, limited error
	for _, kind := range inStock(t.Types, all, p.opt.Now()) {
		l.Type = kind
		id, err := p.opt.Cloud.Launch(ctx, l)
		switch {
		case err == nil:
			return provider.Outcome{Detail: "launched " + id}, nil
		case isCode(err, "InsufficientInstanceCapacity", "Unsupported", "InsufficientHostCapacity"):
			// No instance was made, so that the token is free for the next type; where
			// that is not so, EC2 answers that the parameters do not match.
			full = err
		case isCode(err, "VcpuLimitExceeded", "InstanceLimitExceeded"):
			limited = err // a smaller type, or one of another family, may be within it
		case isCode(err, "IdempotentParameterMismatch"):
			return p.launchedBefore(ctx, call, err)
		case isCode(err, "Unavailable") && p.inLost(call.Server.Away, all):
			// It was refused because its zone is not there: that is want of room. Another
			// zone that answers so is asked again: it would be passed over for a moment's trouble.
			return provider.Outcome{}, provider.Errorf(provider.Capacity, call, "its zone is lost: %w", err)
		default:
			return provider.Outcome{}, err
		}
	}
	var e *APIError
	if errors.As(full, &e) {
		return provider.Outcome{}, provider.Errorf(provider.Capacity, call, "%w", full)
	}
	return provider.Outcome{}, limited
}

// onOutpost refuses a launch whose subnet does not lie on the Outpost that it is meant
// for: the instance would run in the zone, or on another Outpost, without a word. The
// place has no room for the server then, and the next one is tried.
func (p *Provider) onOutpost(ctx context.Context, call provider.Call) error {
	away := call.Server.Away
	if away == nil || away.Outpost == "" {
		return nil
	}
	lies, err := p.subnet(ctx, away.Subnet)
	arn := lies.Outpost
	switch {
	case err != nil:
		return err
	case arn == "":
		return provider.Errorf(provider.Capacity, call, "subnet %s lies on no Outpost, and elsewhere says %s", away.Subnet, away.Outpost)
	case arn != away.Outpost:
		return provider.Errorf(provider.Capacity, call, "subnet %s lies on %s, and elsewhere says %s", away.Subnet, arn, away.Outpost)
	}
	return nil
}

// inLost reports whether the zone is lost that the server is to be started in: the one
// that it is away in, or that of its last instance.
func (p *Provider) inLost(away *fleet.Away, all []Machine) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	zone := ""
	switch {
	case away != nil:
		zone = away.Zone
	case len(all) > 0:
		zone = all[len(all)-1].Zone
	}
	_, lost := p.zones.lost[zone]
	return lost
}

// launchTags are the spec's and, over them, ours.
func launchTags(call provider.Call, own *fleet.EC2Launch) map[string]string {
	out := map[string]string{"Name": call.Step.Server}
	if own != nil {
		maps.Copy(out, own.Tags)
	}
	out[TagServer], out[TagEpoch], out[TagToken] = call.Step.Server, strconv.FormatUint(uint64(call.Step.Epoch), 10), call.Step.Token
	return out
}

// launchedBefore is a token that another type was launched under: what it made is
// the answer. As long as EC2 does not tell of that, the epoch may run: whoever took it for
// one that never was would start the next beside it (S2).
func (p *Provider) launchedBefore(ctx context.Context, call provider.Call, mismatch error) (provider.Outcome, error) {
	m, err := p.opt.Cloud.ByToken(ctx, call.Step.Token)
	switch {
	case err != nil:
		return provider.Outcome{}, err
	case m == nil:
		e := provider.Errorf(provider.Retry, call, "something was launched under its token, which EC2 does not tell of yet: %w", mismatch)
		e.MayHaveHappened = true
		return provider.Outcome{}, e
	case epochOf(*m) != call.Step.Epoch || m.Tags[TagServer] != call.Step.Server:
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "%w", mismatch)
	case m.state() == fleet.InstanceTerminated:
		return provider.Outcome{}, provider.Errorf(provider.Conflict, call, "%s was launched and has ended: %s", m.ID, m.Reason)
	}
	return provider.Outcome{Detail: "launched " + m.ID}, nil
}

// admitLaunch looks at what EC2 tells of the server before anything is made.
func (p *Provider) admitLaunch(ctx context.Context, call provider.Call) (all []Machine, done bool, out provider.Outcome, err error) {
	if all, err = p.machines(ctx, call.Step.Server); err != nil {
		return nil, false, out, err
	}
	if n := len(all); n > 0 && epochOf(all[n-1]) > call.Step.Epoch { // they are in order
		return nil, false, out, provider.Errorf(provider.Refused, call, "epoch %d is older than %d, which exists (%s)", call.Step.Epoch, epochOf(all[n-1]), all[n-1].ID)
	}
	for _, m := range all {
		e := epochOf(m)
		switch {
		case e == 0 && m.state() != fleet.InstanceTerminated:
			// Whoever tagged it by hand may run the server on it: nothing proves it dead.
			return nil, false, out, provider.Errorf(provider.Refused, call, "%s carries %s and no %s; give it its epoch, or take the tag away", m.ID, TagServer, TagEpoch)
		case e == call.Step.Epoch && m.state() == fleet.InstanceTerminated:
			return nil, false, out, provider.Errorf(provider.Conflict, call, "epoch %d was made and has ended (%s: %s)", e, m.ID, m.Reason)
		case e == call.Step.Epoch && m.Tags[TagToken] == call.Step.Token:
			return nil, true, provider.Outcome{Detail: "launched " + m.ID}, nil
		case e == call.Step.Epoch:
			return nil, false, out, provider.Errorf(provider.Conflict, call, "epoch %d exists (%s)", e, m.ID)
		case e > call.Proof.Epoch() && m.state() != fleet.InstanceTerminated:
			return nil, false, out, provider.Errorf(provider.Refused, call, "the proof speaks of epoch %d, and epoch %d exists (%s is %s)", call.Proof.Epoch(), e, m.ID, m.State)
		}
		// What lives of an epoch whose instance is known to have ended is a copy that nobody
		// knew of, and it may write.
		if _, ended := call.Proof.Ended(e); ended && !over(m) {
			return nil, false, out, provider.Errorf(provider.Retry, call, "epoch %d is proved to have ended, and %s: it is ended first", e, described(m))
		}
	}
	return all, false, out, nil
}

// soldOutFor is how long a machine type counts as sold out that EC2 took back.
const soldOutFor = 15 * time.Minute

// inStock orders the machine types to try, "" for the template's own: those last of
// which EC2 has just taken an instance back for want of capacity, which it tells only
// after it had accepted the launch.
func inStock(types []string, all []Machine, now time.Time) []string {
	out := append([]string{""}, types...)
	soldOut := func(kind string) bool {
		for _, m := range all {
			is := m.Type == kind || kind == "" && !slices.Contains(types, m.Type)
			if is && m.Reason == "Server.InsufficientInstanceCapacity" && now.Sub(m.Launched) < soldOutFor {
				return true
			}
		}
		return false
	}
	slices.SortStableFunc(out, func(a, b string) int {
		switch sa, sb := soldOut(a), soldOut(b); {
		case sa && !sb:
			return 1
		case sb && !sa:
			return -1
		default:
			return 0
		}
	})
	return out
}
