package sim_test

import (
	"context"
	"fmt"
	"testing"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/providertest"
	"relight/internal/provider/sim"
	"relight/internal/world"
)

// broken is a provider with one mistake in it.
type broken struct {
	provider.Provider
	do      func(context.Context, provider.Call) (provider.Outcome, error)
	observe func(context.Context, []fleet.Server) (provider.Sweep, error)
}

func (b broken) Do(ctx context.Context, c provider.Call) (provider.Outcome, error) {
	if b.do != nil {
		return b.do(ctx, c)
	}
	return b.Provider.Do(ctx, c)
}

func (b broken) Observe(ctx context.Context, s []fleet.Server) (provider.Sweep, error) {
	if b.observe != nil {
		return b.observe(ctx, s)
	}
	return b.Provider.Observe(ctx, s)
}

// mistake is a broken provider and the cases that must find it out.
type mistake struct {
	name        string
	attachFirst bool
	breakIt     func(p provider.Provider, w *world.World) broken
	foundBy     []string
}

func doing(f func(p provider.Provider, w *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error)) func(provider.Provider, *world.World) broken {
	return func(p provider.Provider, w *world.World) broken {
		return broken{Provider: p, do: func(ctx context.Context, c provider.Call) (provider.Outcome, error) { return f(p, w, ctx, c) }}
	}
}

// anyProof is a valid proof for whatever the call asks.
func anyProof(c provider.Call) fence.Proof {
	e := c.Step.Epoch - 1
	p, _ := fence.Prove(c.Server, e, "", []fleet.Evidence{{Method: fleet.Attested, Server: c.Server.Name, Epoch: e}}, start)
	return p
}

func mistakes() []mistake {
	calls := 0
	return []mistake{
		{"ignores proofs", true, doing(func(p provider.Provider, _ *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			if !c.Proof.Covers(c.Step.Server, c.Step.Epoch) && c.Step.Kind.NeedsProof() {
				c.Proof = anyProof(c)
			}
			return p.Do(ctx, c)
		}), []string{"launch/needs a proof"}},
		{"ignores proofs", false, doing(func(p provider.Provider, _ *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			if c.Step.Kind.NeedsProof() {
				c.Proof = anyProof(c)
			}
			return p.Do(ctx, c)
		}), []string{"launch/needs a proof", "launch/refuses a proof that skips a living epoch"}},
		{"ignores tokens", false, doing(func(p provider.Provider, w *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			if c.Step.Kind != fleet.StepLaunch || provider.CheckProof(c) != nil {
				return p.Do(ctx, c)
			}
			// As RunInstances without a ClientToken: each call makes a machine.
			w.Lock()
			defer w.Unlock()
			i, err := w.Prepare(world.Request{Server: c.Step.Server, Epoch: c.Step.Epoch, Units: 1})
			if err != nil {
				return provider.Outcome{}, provider.Errorf(provider.Capacity, c, "%w", err)
			}
			return provider.Outcome{Detail: i.ID}, w.Start(i)
		}), []string{"replay/leaves one object and says the same", "replay/another launch of the same epoch makes no second object", "replay/starts nothing after a stop"}},
		{"reboots at each replay", false, doing(func(p provider.Provider, _ *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			if c.Step.Kind == fleet.StepReboot {
				calls++
				c.Step.Token = fmt.Sprint(c.Step.Token, calls)
			}
			return p.Do(ctx, c)
		}), []string{"reboot/keeps the epoch"}},
		{"ignores terms", true, doing(func(p provider.Provider, _ *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			c.Term = 99
			return p.Do(ctx, c)
		}), []string{"launch/refuses a lower term"}},
		{"takes acceptance for evidence", false, doing(func(p provider.Provider, _ *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			out, err := p.Do(ctx, c)
			if c.Step.Kind == fleet.StepStop && err == nil {
				out.Evidence = lies(c, fleet.Terminated)
			}
			return out, err
		}), []string{"stop/of a host out of contact proves nothing"}},
		{"takes silence for evidence", true, doing(func(p provider.Provider, _ *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			out, err := p.Do(ctx, c)
			if class, _ := provider.ClassOf(err); c.Step.Kind == fleet.StepStop && err != nil && class == provider.Retry {
				return provider.Outcome{Evidence: lies(c, fleet.Reaped)}, nil
			}
			return out, err
		}), []string{"stop/of a host out of contact proves nothing"}},
		{"swears for other hosts", true, doing(func(p provider.Provider, _ *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			out, err := p.Do(ctx, c)
			if class, _ := provider.ClassOf(err); c.Step.Kind == fleet.StepStop && class == provider.NotFound && err != nil {
				return provider.Outcome{Evidence: lies(c, fleet.Reaped)}, nil
			}
			return out, err
		}), []string{"stop/of another host proves nothing", "launch/names what is not there"}},
		{"seals what is held", true, doing(func(p provider.Provider, _ *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			out, err := p.Do(ctx, c)
			if c.Step.Kind == fleet.StepSeal && err != nil {
				e := lies(c, fleet.Sealed)
				e[0].Volume = c.Step.Object.Volume
				return provider.Outcome{Evidence: e}, nil
			}
			return out, err
		}), []string{"seal/refuses while held and works after"}},
		{"steals volumes", false, doing(func(p provider.Provider, w *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			if c.Step.Kind == fleet.StepAttach && c.Step.Object.Volume != "" {
				w.Lock()
				w.LoseLock(sim.VolumeID(c.Server, c.Step.Object.Volume))
				w.Unlock()
			}
			return p.Do(ctx, c)
		}), []string{"attach/refuses what another epoch holds"}},
		{"reports without acting", true, doing(func(p provider.Provider, _ *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			if c.Step.Kind == fleet.StepDetach {
				return provider.Outcome{Detail: "detached"}, nil
			}
			return p.Do(ctx, c)
		}), []string{"detach/takes a volume and an address"}},
		{"answers errors of its own", true, doing(func(p provider.Provider, _ *world.World, ctx context.Context, c provider.Call) (provider.Outcome, error) {
			out, err := p.Do(ctx, c)
			if err != nil {
				err = fmt.Errorf("it failed: %s", err)
			}
			return out, err
		}), []string{"launch/needs a proof", "launch/says when it has no capacity"}},
		{"sends what was given up", true, doing(func(p provider.Provider, _ *world.World, _ context.Context, c provider.Call) (provider.Outcome, error) {
			return p.Do(context.Background(), c)
		}), []string{"launch/does nothing for a call that was given up"}},
		{"fails whole", true, func(p provider.Provider, w *world.World) broken {
			return broken{Provider: p, observe: func(ctx context.Context, s []fleet.Server) (provider.Sweep, error) {
				for _, one := range s {
					if w.Volume(sim.VolumeID(one, one.Spec.Identity.Volumes[0].Name)) == nil {
						return provider.Sweep{}, fmt.Errorf("server %s is not there", one.Name)
					}
				}
				return p.Observe(ctx, s)
			}}
		}, []string{"observe/is batched and does not fail whole"}},
		{"calls the unreachable gone", true, func(p provider.Provider, _ *world.World) broken {
			return broken{Provider: p, observe: func(ctx context.Context, s []fleet.Server) (provider.Sweep, error) {
				sweep, err := p.Observe(ctx, s)
				for n := range sweep.Servers {
					if o := &sweep.Servers[n].Observed; !o.Complete {
						o.Instances, o.Complete = nil, true
					}
				}
				return sweep, err
			}}
		}, []string{"observe/says nothing final about what it cannot reach"}},
	}
}

func lies(c provider.Call, m fleet.Method) []fleet.Evidence {
	return []fleet.Evidence{{Method: m, Server: c.Step.Server, Epoch: c.Step.Epoch, By: "a liar", At: start}}
}

func TestSuiteFindsBrokenProviders(t *testing.T) {
	for _, m := range mistakes() {
		t.Run(fmt.Sprintf("%s,attachFirst=%v", m.name, m.attachFirst), func(t *testing.T) {
			failures := providertest.Failures(t, func(*testing.T) providertest.Harness {
				w := newWorld(false)
				h := bareHarness(w, sim.Options{AttachFirst: m.attachFirst, Wakes: true})
				h.Provider = m.breakIt(h.Provider, w)
				return h
			})
			for _, name := range m.foundBy {
				if failures[name] == "" {
					t.Errorf("case %q did not find it; these did: %v", name, failures)
				}
			}
		})
	}
}

func TestSuiteFindsNothingInASoundProvider(t *testing.T) {
	failures := providertest.Failures(t, func(*testing.T) providertest.Harness {
		return bareHarness(newWorld(false), sim.Options{AttachFirst: true})
	})
	if len(failures) > 0 {
		t.Fatalf("failures: %v", failures)
	}
}
