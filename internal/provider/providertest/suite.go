package providertest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// within is the bound of each call; platforms answer in far less.
const within = fleet.Duration(20e9)

// suite holds one case's server and the calls that it makes.
type suite struct {
	T
	h      Harness
	traits fleet.Traits
	server fleet.Server
	term   fleet.Term
}

func newSuite(t T, h Harness) *suite {
	return &suite{T: t, h: h, traits: h.Provider.Traits(), server: h.Server(), term: 1}
}

// host is the n-th place, or empty where the provider chooses.
func (s *suite) host(n int) string {
	if !s.traits.Places {
		return ""
	}
	return s.h.Hosts[n]
}

// call makes a step with the token that a decider would give it: the same for the
// same step, another for any other.
func (s *suite) call(kind fleet.StepKind, epoch fleet.Epoch, host string, o fleet.Object, proof fence.Proof) provider.Call {
	return provider.Call{
		Step: fleet.Step{
			Kind: kind, Server: s.server.Name, Epoch: epoch, Host: host, Object: o, Rung: fleet.Relaunch, Within: within,
			Token: fmt.Sprintf("t-%s-%d-%s-%s-%s%s", s.server.Name, epoch, kind, host, o.Volume, o.Address), Why: "the suite asks",
			Fresh: kind == fleet.StepAttach && epoch == 1,
		},
		Server: s.server, Term: s.term, Proof: proof,
	}
}

func (s *suite) do(call provider.Call) (provider.Outcome, error) {
	return s.h.Provider.Do(context.Background(), call)
}

// must does a call that has to succeed, replaying it while it asks for that.
func (s *suite) must(call provider.Call) provider.Outcome {
	s.Helper()
	var (
		out provider.Outcome
		err error
	)
	s.eventually("success of "+string(call.Step.Kind)+" "+provider.ObjectOf(call), func() bool {
		out, err = s.do(call)
		if class, _ := provider.ClassOf(err); err != nil && class != provider.Retry {
			s.Fatalf("%s: %v (class %s)", call.Step.Kind, err, class)
		}
		return err == nil
	})
	return out
}

// refuses does a call that must fail with one of the classes.
func (s *suite) refuses(why string, call provider.Call, classes ...provider.Class) {
	s.Helper()
	out, err := s.do(call)
	if err == nil {
		s.Fatalf("%s: %s %s succeeded (%s)", why, call.Step.Kind, provider.ObjectOf(call), out.Detail)
	}
	var e *provider.Error
	if !errors.As(err, &e) {
		s.Fatalf("%s: %v is not a *provider.Error", why, err)
	}
	if !slices.Contains(classes, e.Class) {
		s.Fatalf("%s: class %s of %q, want %v", why, e.Class, err, classes)
	}
	if len(out.Evidence) > 0 {
		s.Fatalf("%s: an error came with evidence %v", why, out.Evidence)
	}
}

func (s *suite) eventually(what string, cond func() bool) {
	s.Helper()
	if !s.h.Eventually(cond) {
		s.Fatalf("never came: %s", what)
	}
}

func (s *suite) observe() provider.ServerSight {
	s.Helper()
	sweep, err := s.h.Provider.Observe(context.Background(), []fleet.Server{s.server})
	if err != nil {
		s.Fatalf("observe: %v", err)
	}
	if len(sweep.Servers) != 1 || sweep.Servers[0].Observed.Server != s.server.Name {
		s.Fatalf("observe answered about %d servers: %+v", len(sweep.Servers), sweep.Servers)
	}
	return sweep.Servers[0]
}

func (s *suite) instance(epoch fleet.Epoch) (fleet.Instance, bool) {
	s.Helper()
	for _, i := range s.observe().Observed.Instances {
		if i.Epoch == epoch {
			return i, true
		}
	}
	return fleet.Instance{}, false
}

// hostOf is where an epoch runs: our choice or the provider's.
func (s *suite) hostOf(epoch fleet.Epoch, chosen string) string {
	if chosen != "" {
		return chosen
	}
	i, _ := s.instance(epoch)
	return i.Host
}

func (s *suite) objects() []fleet.Object {
	var out []fleet.Object
	for _, v := range s.server.Spec.Identity.Volumes {
		out = append(out, fleet.Object{Volume: v.Name})
	}
	for _, a := range s.server.Spec.Identity.Addresses {
		out = append(out, fleet.Object{Address: a.IP})
	}
	return out
}

// calls are all that bring up an epoch, in the provider's order.
func (s *suite) calls(epoch fleet.Epoch, host string, proof fence.Proof) []provider.Call {
	var out []provider.Call
	for _, o := range s.objects() {
		out = append(out, s.call(fleet.StepAttach, epoch, host, o, proof))
	}
	launch := s.call(fleet.StepLaunch, epoch, host, fleet.Object{}, proof)
	if s.traits.AttachFirst {
		return append(out, launch)
	}
	return append([]provider.Call{launch}, out...)
}

// up brings up an epoch and waits until it runs with all that it needs.
func (s *suite) up(epoch fleet.Epoch, host string, proof fence.Proof) []provider.Outcome {
	s.Helper()
	var out []provider.Outcome
	for _, call := range s.calls(epoch, host, proof) {
		out = append(out, s.must(call))
		if call.Step.Kind == fleet.StepLaunch {
			s.runs(epoch)
		}
	}
	s.holds(epoch)
	return out
}

func (s *suite) runs(epoch fleet.Epoch) {
	s.Helper()
	s.eventually(fmt.Sprintf("epoch %d is seen to run", epoch), func() bool {
		i, ok := s.instance(epoch)
		return ok && i.State == fleet.InstanceRunning
	})
	s.wantRunning(epoch)
}

func (s *suite) holds(epoch fleet.Epoch) {
	s.Helper()
	for _, v := range s.server.Spec.Identity.Volumes {
		s.eventually(fmt.Sprintf("volume %s is seen at epoch %d", v.Name, epoch), func() bool {
			return slices.ContainsFunc(s.observe().Observed.Volumes, func(o fleet.VolumeState) bool {
				return o.Volume == v.Name && o.Holder == epoch && o.Held == fleet.Yes && o.Epoch == epoch
			})
		})
		if got := s.h.Holders(s.server, v.Name); !slices.Equal(got, []fleet.Epoch{epoch}) {
			s.Fatalf("volume %s is truly held by %v, want epoch %d alone", v.Name, got, epoch)
		}
	}
	for _, a := range s.server.Spec.Identity.Addresses {
		s.eventually(fmt.Sprintf("address %s is seen at epoch %d", a.IP, epoch), func() bool {
			return slices.ContainsFunc(s.observe().Observed.Addresses, func(o fleet.AddressState) bool {
				return o.IP == a.IP && o.Holder == epoch
			})
		})
	}
}

// wantRunning demands that exactly one instance of exactly the given epochs runs.
func (s *suite) wantRunning(epochs ...fleet.Epoch) {
	s.Helper()
	got := s.h.Running(s.server.Name)
	total := 0
	for _, n := range got {
		total += n
	}
	for _, e := range epochs {
		if got[e] != 1 {
			s.Fatalf("%d instances of epoch %d run, want 1 (all: %v)", got[e], e, got)
		}
	}
	if total != len(epochs) {
		s.Fatalf("running instances by epoch are %v, want epochs %v", got, epochs)
	}
}

// first is the proof that nothing was ever started.
func (s *suite) first() fence.Proof { return s.prove(0, "", nil) }

// prove makes the proof for an epoch; the evidence must be enough.
func (s *suite) prove(epoch fleet.Epoch, host string, evidence []fleet.Evidence) fence.Proof {
	s.Helper()
	p, missing := fence.Prove(s.server, epoch, host, evidence, s.h.Now())
	if len(missing) > 0 {
		s.Fatalf("epoch %d is not proved dead by %v: %v", epoch, evidence, missing)
	}
	return p
}

// attested is a person's word, which may be wrong: what the resources do then is
// the last guard.
func (s *suite) attested(epoch fleet.Epoch) fence.Proof {
	s.Helper()
	return s.prove(epoch, "", []fleet.Evidence{{Method: fleet.Attested, Server: s.server.Name, Epoch: epoch, By: "suite", At: s.h.Now()}})
}

// stop ends an epoch and returns its proof, waiting for the evidence by replays.
func (s *suite) stop(call provider.Call) fence.Proof {
	s.Helper()
	host := s.hostOf(call.Step.Epoch, call.Step.Host)
	var proof fence.Proof
	s.eventually("evidence of the stop of "+provider.ObjectOf(call), func() bool {
		out := s.must(call)
		p, missing := fence.Prove(s.server, call.Step.Epoch, host, out.Evidence, s.h.Now())
		proof = p
		return len(missing) == 0
	})
	return proof
}

func (s *suite) stopCall(epoch fleet.Epoch, host string) provider.Call {
	return s.call(fleet.StepStop, epoch, host, fleet.Object{}, fence.Proof{})
}
