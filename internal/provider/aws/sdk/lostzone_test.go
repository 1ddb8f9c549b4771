package sdk_test

import (
	"context"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/world"
)

// runs launches an instance as epoch 1 of a new server in a subnet.
func (a *account) runs(subnet string) fleet.Server {
	a.t.Helper()
	s := a.server()
	s.Spec.Identity = fleet.Identity{}
	if _, err := a.cloud.Launch(a.t.Context(), awsprovider.Launch{
		Token: "t-" + s.Name, Template: a.lt, Version: 1, Subnet: subnet, NoAutoRecovery: true,
		Tags: map[string]string{awsprovider.TagServer: s.Name, awsprovider.TagEpoch: "1", awsprovider.TagToken: "t"},
	}); err != nil {
		a.t.Fatal(err)
	}
	return s
}

// Since when a zone is lost is not forgotten by a look at servers of another zone, all of
// which work, nor by one call that fails; it is once EC2 says otherwise.
func TestDET_HOST_ZoneStaysLost(t *testing.T) {
	a := newAccount(t, nil)
	home, other := a.runs("subnet-a"), a.runs("subnet-b")
	a.locked(func() { a.w.Advance(5 * time.Minute) })
	look := func(servers ...fleet.Server) *fleet.ZoneState {
		t.Helper()
		a.locked(func() { a.w.Advance(30 * time.Second) })
		sweep, err := a.p.Observe(t.Context(), servers)
		if err != nil {
			t.Fatal(err)
		}
		return sweep.Servers[0].Observed.Zone
	}
	a.fake.SetZoneState(zoneA, "unavailable")
	a.locked(func() { _ = a.w.KillSite(zoneA); a.w.Advance(3 * time.Minute) })
	lost := look(home)
	if lost == nil || lost.Lost != fleet.Yes {
		t.Fatalf("zone %+v", lost)
	}
	if z := look(other); z != nil {
		t.Errorf("the other zone: %+v", z)
	}
	if z := look(home); z == nil || !z.Since.Equal(lost.Since) {
		t.Errorf("lost since %v, and after a look at another zone: %+v", lost.Since, z)
	}
	a.fake.Deny("ec2:DescribeAvailabilityZones")
	if z := look(home); z != nil && z.Lost == fleet.Yes {
		t.Errorf("nobody says so, and it is lost: %+v", z)
	}
	a.fake.Allow("ec2:DescribeAvailabilityZones")
	if z := look(home); z == nil || !z.Since.Equal(lost.Since) {
		t.Errorf("lost since %v, and after one call that failed: %+v", lost.Since, z)
	}
	a.fake.SetZoneState(zoneA, "available")
	look(home)
	a.fake.SetZoneState(zoneA, "unavailable")
	if z := look(home); z == nil || !z.Since.After(lost.Since) {
		t.Errorf("it was back in between, and counts as lost since %v: %+v", lost.Since, z)
	}
}

// That the API fails for a zone is want of room only for the zone that is lost. For the one
// that the server is started in instead it is no refusal, which would pass that one over.
func TestDET_HOST_OtherZoneIsAskedAgain(t *testing.T) {
	for _, c := range []struct {
		away bool
		want provider.Class
	}{{false, provider.Capacity}, {true, provider.Retry}} {
		a := newAccount(t, nil)
		s := a.server()
		s.Spec.Identity = fleet.Identity{}
		x := a.steps(s)
		cloud := &breaking{Cloud: a.cloud}
		a.p = awsprovider.New(awsprovider.Options{Cloud: cloud, Region: "eu-west-1", Now: a.now})
		if err := x.at(1)(fleet.StepLaunch, fleet.Object{}); err != nil {
			t.Fatal(err)
		}
		a.locked(func() { a.w.Advance(5 * time.Minute) })
		x.proof = x.end(1)
		a.fake.SetZoneState(zoneA, "unavailable")
		if _, err := a.p.Observe(t.Context(), []fleet.Server{s}); err != nil {
			t.Fatal(err)
		}
		if c.away {
			x.s.Away = &fleet.Away{Zone: zoneB, Subnet: "subnet-b", Declared: "subnet-a", Epoch: 2}
		}
		cloud.code, cloud.before = "Unavailable", true
		err := x.at(2)(fleet.StepLaunch, fleet.Object{})
		if class, _ := provider.ClassOf(err); err == nil || class != c.want {
			t.Errorf("away %v: class %s of %v, want %s", c.away, class, err, c.want)
		}
	}
}

// breaking answers launches with an error of the server's, before or after they were
// carried out; an empty code lets them pass.
type breaking struct {
	awsprovider.Cloud
	code   string
	before bool
}

// Launch implements awsprovider.Cloud.
func (b *breaking) Launch(ctx context.Context, l awsprovider.Launch) (string, error) {
	broken := &awsprovider.APIError{Op: "RunInstances", Code: b.code, Message: "the request has failed"}
	if b.code != "" && b.before {
		return "", broken
	}
	id, err := b.Cloud.Launch(ctx, l)
	if err == nil && b.code != "" {
		return "", broken
	}
	return id, err
}

// A failure of the server may have come after the launch: whoever took it for a refusal
// would take the epoch for one that never was, and start the next beside it (S2).
func TestAFailedServerIsNoRefusal(t *testing.T) {
	for _, code := range []string{"InternalError", "InternalFailure", "ServiceUnavailable", "RequestTimeout"} {
		a := newAccount(t, nil)
		s := a.server()
		s.Spec.Identity = fleet.Identity{}
		x := a.steps(s)
		a.p = awsprovider.New(awsprovider.Options{Cloud: &breaking{Cloud: a.cloud, code: code}, Region: "eu-west-1", Now: a.now})
		err := x.at(1)(fleet.StepLaunch, fleet.Object{})
		if class, may := provider.ClassOf(err); class != provider.Retry || !may {
			t.Errorf("%s: class %s, may have happened %v: %v", code, class, may, err)
		}
	}
}

// A person says that the instance in a lost zone is dead, and the zone comes back with it
// before the server was started anywhere: it is ended first, and at no time do two run.
func TestAH_VOL_AWordThatWasWrong(t *testing.T) {
	r := newRig(t, slowly)
	name := r.opened("", "")
	r.fake.SetZoneState(zoneA, "unavailable")
	r.locked(func() { // it goes on for itself, where nobody reaches it
		r.w.SetCapacity(zoneA, "m7i.large", 0, false)
		_ = r.w.CutSite(zoneA, world.Cut{Control: true, In: true, Out: true, Peers: true})
	})
	r.during(2*time.Minute, "it holds", func() bool { return r.status(name).Epoch == 1 })
	if _, err := r.solo.Backend.ConfirmFence(t.Context(), "eve", name, client.FenceConfirmRequest{Epoch: 1, Reason: "the building burns"}); err != nil {
		t.Fatal(err)
	}
	alone := func() bool { return len(r.w.Running(name)) <= 1 }
	r.during(time.Minute, "nothing is started beside it", alone)
	r.fake.SetZoneState(zoneA, "available")
	r.locked(func() {
		r.w.SetCapacity(zoneA, "m7i.large", 9, false)
		_ = r.w.CutSite(zoneA, world.Cut{})
	})
	r.until(20*time.Minute, "it works", func() bool {
		if !alone() {
			t.Fatalf("two run: %v\n%s", r.w.Running(name), r.calls())
		}
		s := r.status(name)
		return s.Epoch > 1 && s.Verdict == fleet.Healthy && s.Recovery == nil
	})
	if s := r.status(name); s.Away != nil {
		t.Errorf("its zone is back, and it is away: %+v", s.Away)
	}
}

// The API of one zone fails, and with it each call about all zones: what runs in the other
// is seen as a whole, what runs in that one is left to its older facts.
func TestDET_HOST_OneZonesAPIFails(t *testing.T) {
	a := newAccount(t, nil)
	home, other := a.runs("subnet-a"), a.runs("subnet-b")
	a.locked(func() { a.w.Advance(5 * time.Minute) })
	look := func() provider.Sweep {
		t.Helper()
		a.locked(func() { a.w.Advance(30 * time.Second) })
		sweep, err := a.p.Observe(t.Context(), []fleet.Server{home, other})
		if err != nil {
			t.Fatal(err)
		}
		return sweep
	}
	look()
	a.locked(func() { a.w.BreakAPI(zoneA) })
	for range 3 {
		sweep := look()
		if n := len(sweep.Servers); n != 1 || sweep.Servers[0].Observed.Server != other.Name {
			t.Fatalf("%d servers were seen: %+v", n, sweep.Servers)
		}
		s := sweep.Servers[0]
		if !s.Observed.Complete || len(s.Observed.Instances) != 1 || len(s.Signals) == 0 || s.Signals[0].Answer != fleet.Yes {
			t.Errorf("what runs in the other zone: %+v, %+v", s.Observed, s.Signals)
		}
	}
	a.locked(func() { a.w.MendAPI(zoneA) })
	if n := len(look().Servers); n != 2 {
		t.Errorf("%d servers are seen after that", n)
	}
}
