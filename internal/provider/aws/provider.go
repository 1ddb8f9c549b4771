package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/guest"
	"relight/internal/provider/san"
)

// Name is the provider's name in specs.
const Name = "aws"

// Options are what a Provider needs.
type Options struct {
	Cloud Cloud
	// Region names the vantage point of EC2's own word.
	Region string
	Now    func() time.Time
	// Heard tells of the beats of the guest's agent; nil if there are no beats.
	Heard func(server string) (at time.Time, epoch fleet.Epoch, ok bool)
	// Guests makes the user data that starts guest agents, and knows what they say; nil
	// if there are none.
	Guests *guest.Door
	// Arrays are where servers' LUNs are; nil means that no server's volumes may be LUNs.
	Arrays *san.Arrays
	// Wakes are names of servers that events spoke of; nil if none come.
	Wakes <-chan string
}

// Provider implements provider.Provider on EC2.
type Provider struct {
	opt   Options
	reads reads
	// theirs is the user data of launch templates by their version, which never changes.
	theirs sync.Map
	// subnets are the Subnets by their ids, which never change either.
	subnets sync.Map

	mu    sync.Mutex
	term  fleet.Term
	since map[string]sighting
	// snapshots is what was read last of volumes' snapshots, by volume.
	snapshots map[string]snapshotsOf
	zones     zones
	// size is how many instances the last sweep of all of them saw, and seen is where those
	// are that were seen.
	size int
	seen map[string]whereabouts
}

// sighting is since when a source has given its answer about an instance: EC2 tells
// what is, seldom since when.
type sighting struct {
	server, said string
	at           time.Time
}

var _ provider.Provider = (*Provider)(nil)

// New returns a provider.
func New(o Options) *Provider {
	if o.Arrays == nil {
		o.Arrays = san.New()
	}
	return &Provider{opt: o, reads: newReads(o.Cloud, o.Now), since: map[string]sighting{}, seen: map[string]whereabouts{}, snapshots: map[string]snapshotsOf{}, zones: zones{read: map[string]bool{}}}
}

// Traits implements provider.Provider.
func (p *Provider) Traits() fleet.Traits {
	return fleet.Traits{Provider: Name, Rungs: []fleet.Rung{fleet.Reboot, fleet.Recover, fleet.Relaunch, fleet.Move}, Arrays: true}
}

// Wakes implements provider.Provider.
func (p *Provider) Wakes() <-chan string { return p.opt.Wakes }

// ServerOf names the server of an instance that was seen.
func (p *Provider) ServerOf(instance string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, is := p.seen[instance]
	return w.server, is
}

// Do implements provider.Provider.
func (p *Provider) Do(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	out, err := p.do(ctx, call)
	return out, classed(call, err)
}

func (p *Provider) do(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	call.Server = call.Server.Located()
	if err := provider.CheckProof(call); err != nil {
		return provider.Outcome{}, err
	}
	if err := p.checkTerm(call); err != nil {
		return provider.Outcome{}, err
	}
	if err := ctx.Err(); err != nil {
		return provider.Outcome{}, provider.Errorf(provider.Retry, call, "%w", err)
	}
	if d := call.Step.Within.Std(); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if vol, is := san.LUNOf(call); is {
		return p.onArray(ctx, call, vol)
	}
	switch call.Step.Kind {
	case fleet.StepLaunch:
		return p.launch(ctx, call)
	case fleet.StepRecover:
		return p.recover(ctx, call)
	case fleet.StepStop:
		return p.stop(ctx, call)
	case fleet.StepReboot:
		return p.reboot(ctx, call)
	case fleet.StepAttach:
		return p.attach(ctx, call)
	case fleet.StepDetach:
		return p.detach(ctx, call)
	default:
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "provider %s has no step %s", Name, call.Step.Kind)
	}
}

func (p *Provider) checkTerm(call provider.Call) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if call.Term < p.term {
		return provider.Errorf(provider.Refused, call, "the controller's term %d is older than %d, which was seen already", call.Term, p.term)
	}
	p.term = call.Term
	return nil
}

// epochOf reads the epoch of an instance from its tags; 0 if it has none.
func epochOf(m Machine) fleet.Epoch {
	return ParseEpoch(m.Tags[TagEpoch])
}

// ParseEpoch reads an epoch from a tag; 0 if it is none.
func ParseEpoch(tag string) fleet.Epoch {
	n, err := strconv.ParseUint(tag, 10, 64)
	if err != nil {
		return 0
	}
	return fleet.Epoch(n)
}

// machines are the instances of one server, the newest epoch last.
func (p *Provider) machines(ctx context.Context, server string) ([]Machine, error) {
	all, at, err := p.reads.machines.read(ctx, server)
	if err != nil {
		return nil, err
	}
	for n := range all {
		all[n].seen = at
	}
	slices.SortStableFunc(all, func(a, b Machine) int {
		return cmp.Or(cmp.Compare(epochOf(a), epochOf(b)), a.Launched.Compare(b.Launched))
	})
	return all, nil
}

// errNone: EC2 tells of no such instance, which may be because it is fresh.
var errNone = errors.New("EC2 tells of no instance of that epoch")

// find returns the instance of the call's epoch, one that has not ended before one that
// has, with all those of its server. It refuses to act for an epoch that a later one has
// replaced, and to choose among several that live. If EC2 tells of none of that epoch, the
// error is errNone and all are returned none the less.
func (p *Provider) find(ctx context.Context, call provider.Call) (Machine, []Machine, error) {
	all, err := p.machines(ctx, call.Step.Server)
	if err != nil {
		return Machine{}, nil, err
	}
	for _, m := range all {
		if e := epochOf(m); e > call.Step.Epoch && call.Step.Kind.NeedsProof() {
			return Machine{}, all, provider.Errorf(provider.Refused, call, "epoch %d is older than %d, which exists (%s)", call.Step.Epoch, e, m.ID)
		}
	}
	found := leastEnded(carriers(all, call.Step.Epoch))
	switch {
	case len(found) == 0:
		return Machine{}, all, provider.Errorf(provider.NotFound, call, "%w", errNone)
	case len(found) > 1 && !over(found[0]):
		return Machine{}, all, provider.Errorf(provider.Conflict, call, "%s carry epoch %d, and nobody knows which is the server", describedAll(found), call.Step.Epoch)
	}
	return found[len(found)-1], all, nil
}

// evidence is what an instance's state shows, as old as the read that told it.
func (p *Provider) evidence(call provider.Call, how fleet.Method, m Machine, detail string) fleet.Evidence {
	return fleet.Evidence{Method: how, Server: call.Step.Server, Epoch: call.Step.Epoch, By: "EC2 in " + p.opt.Region, At: m.seen, Detail: detail}
}

func described(m Machine) string { return fmt.Sprintf("%s is %s", m.ID, m.State) }

func describedAll(list []Machine) string {
	var out []string
	for _, m := range list {
		out = append(out, described(m))
	}
	return strings.Join(out, ", ")
}
