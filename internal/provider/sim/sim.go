package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/world"
)

// Options choose the style and the faults of a provider.
type Options struct {
	// AttachFirst makes a site of hosts with keepers: processes, volumes that are
	// sealed, places chosen by us. Without it, it is a cloud with machines.
	AttachFirst bool
	// Rungs are those in Traits; nil means all that the style can do.
	Rungs []fleet.Rung
	// Faults are injected at each call; nil means none.
	Faults Faults
	// OnCrash is called when a crash fault strikes: from then on this provider
	// answers ErrCrashed only, as for a controller that is no more.
	OnCrash func()
	// Executed is told of each call when its executor has dealt with it, also of
	// those that arrive late or twice; replayed ones had no new effect. It runs under
	// the world's lock. Nil means nobody listens.
	Executed func(call provider.Call, out provider.Outcome, replayed bool, err error)
	// Wakes makes Wakes deliver the servers that something happens to.
	Wakes bool
	// Hearing makes the provider know of silent hosts only what it heard from
	// them itself, as a controller does. Nil means that it knows how they were
	// when they fell silent.
	Hearing *Hearing
	// Marks reads from a controller's journal the highest epoch of a server that was
	// fenced; no array lets one up to it in. Nil means that the arrays remember it
	// themselves.
	Marks func(server string) fleet.Epoch
	// Fleeting makes a sweep good until the next one only, which is written over it,
	// and keeps no sights for stale reads.
	Fleeting bool
}

// wakesKept is how many wakes wait for a slow reader before more are lost.
const wakesKept = 1024

// ErrCrashed is what a provider answers whose controller has crashed.
var ErrCrashed = errors.New("the controller is gone")

// Provider implements provider.Provider on a world. Several may share one world,
// one per controller: what executors must remember lives in the world.
type Provider struct {
	w       *world.World
	opts    Options
	traits  fleet.Traits
	wakes   chan string
	calls   int
	crashed bool
	past    map[string][]provider.ServerSight
	heard   heard
	// page is that of the last sweep.
	page *page
}

var _ provider.Provider = (*Provider)(nil)

// New returns a provider on the world. It takes the world's lock for each call.
func New(w *world.World, opts Options) *Provider {
	p := &Provider{w: w, opts: opts, past: map[string][]provider.ServerSight{}, heard: newHeard()}
	p.traits = fleet.Traits{
		Provider: "sim", Rungs: []fleet.Rung{fleet.RestartApp, fleet.Reboot, fleet.Recover, fleet.Relaunch, fleet.Move},
	}
	if opts.AttachFirst {
		p.traits.Rungs = []fleet.Rung{fleet.Relaunch, fleet.Move}
		p.traits.AttachFirst, p.traits.AppIsInstance, p.traits.Seals, p.traits.Places = true, true, true, true
	}
	if opts.Rungs != nil {
		p.traits.Rungs = slices.Clone(opts.Rungs)
	}
	if opts.Wakes {
		p.wakes = make(chan string, wakesKept)
		w.Lock()
		w.Watch(p.wake)
		w.Unlock()
	}
	return p
}

// Declare adds the volumes and addresses of a server to a world, free and empty.
// Zone and host volumes lie in place.
func Declare(w *world.World, s fleet.Server, place string) {
	w.Lock()
	defer w.Unlock()
	for _, v := range s.Spec.Identity.Volumes {
		vol := world.Volume{ID: VolumeID(s, v.Name), Server: s.Name, Reach: v.Reach}
		if v.Reach == fleet.ReachHost || v.Reach == fleet.ReachZone {
			vol.Place = place
		}
		w.AddVolume(vol)
		if v.LUN != nil {
			declareLUN(w, s, v)
		}
	}
	for _, a := range s.Spec.Identity.Addresses {
		w.AddAddress(world.Address{
			IP: a.IP, Server: s.Name,
			Exclusive: s.Spec.Template.Process == nil, AllowTwo: s.Spec.Fence.VolumesSuffice(),
		})
	}
}

// declareLUN puts a volume behind its unit: each server has a target of its own.
func declareLUN(w *world.World, s fleet.Server, v fleet.Volume) {
	if w.Array(v.LUN.Array) == nil {
		traits := world.TGT()
		traits.Forgets = true
		w.AddArray(world.Array{Name: v.LUN.Array, Traits: traits, Latency: world.Span{Min: time.Millisecond, Max: 20 * time.Millisecond}})
	}
	// Both exist, and the spec gives no unit twice.
	_, _ = w.AddLUN(v.LUN.Array, s.Name, v.LUN.Unit, VolumeID(s, v.Name))
}

// VolumeID is the world's name of a server's volume.
func VolumeID(s fleet.Server, volume string) string { return s.Name + "/" + volume }

// Traits implements provider.Provider.
func (p *Provider) Traits() fleet.Traits { return p.traits }

// Wakes implements provider.Provider.
func (p *Provider) Wakes() <-chan string { return p.wakes }

func (p *Provider) wake(e world.Event) {
	if e.Server == "" && e.What[:4] != "host" {
		return
	}
	select {
	case p.wakes <- e.Server:
	default: // lost wakes change nothing but speed
	}
}

// Clock is a provider.Clock on the world of a test with one goroutine: a pause
// lets the world go on.
func Clock(w *world.World) provider.Clock { return worldClock{w} }

type worldClock struct{ w *world.World }

// Now implements provider.Clock.
func (c worldClock) Now() time.Time {
	c.w.Lock()
	defer c.w.Unlock()
	return c.w.Now()
}

// Pause implements provider.Clock.
func (c worldClock) Pause(ctx context.Context, d time.Duration, _ <-chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.w.Lock()
	defer c.w.Unlock()
	c.w.Advance(d)
	return nil
}

// classed turns the world's answer into the port's error.
func classed(call provider.Call, err error) error {
	if err == nil {
		return nil
	}
	var already *provider.Error
	if errors.As(err, &already) {
		return err
	}
	class := provider.Retry
	switch {
	case errors.Is(err, world.ErrNotFound):
		class = provider.NotFound
	case errors.Is(err, world.ErrConflict):
		class = provider.Conflict
	case errors.Is(err, world.ErrCapacity):
		class = provider.Capacity
	case errors.Is(err, world.ErrSealed):
		class = provider.Refused
	}
	return provider.Errorf(class, call, "%w", err)
}

// request is a call in a form that can be compared: a token belongs to one
// request. Why and the term may differ between a call and its replay.
func request(call provider.Call) string {
	s := call.Step
	return fmt.Sprintf("%s|%s|%d|%s|%s|%s|%s", s.Kind, s.Server, s.Epoch, s.Host, s.Object, s.Via, s.Rung)
}
