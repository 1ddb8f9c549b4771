package sdk_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/world"
)

// shop is a server with a volume, a second interface, an elastic address, a place in a
// target group and a name, which may go to zone b; there is what zone b has for it.
func (r *rig) shop(address, there string) (name, text string) {
	s := r.server()
	id := s.Spec.Identity
	addresses := fmt.Sprintf("addresses: [{ip: %s, allocation: %s}]", id.Addresses[0].IP, id.Addresses[0].Allocation)
	if address == "private" {
		addresses = "addresses: []"
	}
	return s.Name, fmt.Sprintf(`apiVersion: relight/v1alpha1
kind: Server
metadata: {name: %s}
spec:
  identity:
    volumes: [{name: data, id: %s, fromSnapshot: {maxLoss: 10h}}]
    interfaces: [{id: %s, index: 1, newAddress: true}]
    %s
    groups: [{id: "%s"}]
    names: [{name: %s, zone: Z1}]
  template:
    ec2:
      launchTemplate: %s
      version: 1
      subnet: subnet-a
      elsewhere: {after: 5m, zones: [{zone: %s, subnet: subnet-b%s}]}
`, s.Name, id.Volumes[0].ID, id.Interfaces[0].ID, addresses, id.Groups[0].ID, id.Names[0].Name, r.lt, zoneB, there)
}

// opened declares a shop, waits until it works, and has a snapshot made.
func (r *rig) opened(address, there string) string {
	r.t.Helper()
	name, text := r.shop(address, there)
	r.declare(text)
	r.until(5*time.Minute, name+" works for the first time", r.healthy(name, 1))
	r.locked(func() { _, _ = r.w.TakeSnapshot("vol-01", "") })
	r.during(2*time.Minute, "it goes on", func() bool { return true })
	return name
}

// told reports whether an event says all of the words.
func (r *rig) told(words ...string) bool {
	r.t.Helper()
	page, err := r.solo.Backend.Events(context.Background(), client.EventQuery{})
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.ContainsFunc(page.Items, func(e client.EventRecord) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(e.Event.Message, w) })
	})
}

// The zone is lost: an interface is made in the other one, with another private address,
// which the decision and the journal state; the elastic address, the target group and
// the name lead there; the old interface is left as it is.
func TestOP_NETID_AnotherZone(t *testing.T) {
	r := newRig(t, slowly)
	name := r.opened("", "")
	r.loseZoneA()
	r.until(30*time.Minute, "it works in zone b", r.works(name))
	s := r.status(name)
	if len(s.Away.Interfaces) != 1 {
		t.Fatalf("away: %+v", s.Away)
	}
	n := s.Away.Interfaces[0]
	seen := r.w.Interface(n.ID)
	if seen == nil || seen.Holder != r.machine(name).ID || !slices.Equal(seen.IPs, n.Now) || !slices.Equal(n.Was, []string{"10.0.1.201"}) || seen.Place != zoneB {
		t.Errorf("interface %+v: %+v", n, seen)
	}
	if old := r.w.Interface("eni-01"); old == nil || old.Holder != "" {
		t.Errorf("the old interface: %+v", old)
	}
	if n := r.count("CreateNetworkInterface"); n != 1 {
		t.Errorf("%d interfaces were made:\n%s", n, r.calls())
	}
	if !r.told("a new interface in place of eni-01 (10.0.1.201)", "on "+zoneB) || !r.told("interface "+n.ID+" ("+n.Now[0]+") in place of eni-01 (10.0.1.201)") {
		t.Error("the events do not state the change of address")
	}
	lines := strings.Join(client.AwayLines(s), "\n")
	if !strings.Contains(lines, n.Now[0]) || !strings.Contains(lines, "10.0.1.201") {
		t.Errorf("why does not state the change of address:\n%s", lines)
	}
	r.leads(name, r.w.Address("198.51.100.1").IP)
	// It stays there with that interface when it fails again.
	r.locked(func() { _ = r.w.Kill(r.machine(name)) })
	r.until(20*time.Minute, "it works again in zone b", r.healthy(name, s.Epoch+1))
	if at := r.w.Interface(n.ID).Holder; at != r.machine(name).ID {
		t.Errorf("its interface is held by %q", at)
	}
	if made := r.count("CreateNetworkInterface"); made != 1 {
		t.Errorf("%d interfaces were made", made)
	}
}

// leads demands that the name leads to the address, and the address and the target group
// to the instance that runs.
func (r *rig) leads(name, ip string) {
	r.t.Helper()
	if at, _, _ := r.w.Resolve(name + ".example.com"); at != ip {
		r.t.Errorf("the name leads to %q", at)
	}
	if a := r.w.Address(ip); a != nil && a.Interface != "" && r.w.Interface(a.Interface).Holder != r.machine(name).ID {
		r.t.Errorf("%s leads to %s", ip, a.Interface)
	}
	members, err := r.w.Members("lic")
	if err != nil || !slices.ContainsFunc(members, func(m *world.Member) bool { return m.Instance == r.machine(name).ID }) {
		r.t.Errorf("members %+v, %v", members, err)
	}
}

// A name without an elastic address follows to the private address of the interface that
// took the old one's place, here one that waits in the other zone.
func TestOP_NETID_DeclaredInterface(t *testing.T) {
	r := newRig(t, slowly)
	r.fake.AddInterface("eni-b1", "lic-01", "subnet-b", "0a:ff:00:00:01:01", "10.0.2.77")
	name := r.opened("private", ", interfaces: [{instead: eni-01, id: eni-b1}]")
	r.until(time.Minute, "the name leads to the private address", func() bool {
		at, _, _ := r.w.Resolve(name + ".example.com")
		return at == "10.0.1.201"
	})
	r.loseZoneA()
	r.until(30*time.Minute, "it works in zone b", r.works(name))
	if r.w.Interface("eni-b1").Holder != r.machine(name).ID || r.count("CreateNetworkInterface") != 0 {
		t.Errorf("eni-b1 is held by %q:\n%s", r.w.Interface("eni-b1").Holder, r.calls())
	}
	r.until(time.Minute, "the name follows", func() bool { at, _, _ := r.w.Resolve(name + ".example.com"); return at == "10.0.2.77" })
	if !r.told("interface eni-b1 (10.0.2.77) in place of eni-01 (10.0.1.201)") {
		t.Error("no event states the change of address")
	}
}

// The controller dies after EC2 has made the interface and before it knows: the next one
// finds that interface.
func TestOP_NETID_OneInterface(t *testing.T) {
	r := newRig(t, slowly)
	name := r.opened("", "")
	r.loseZoneA()
	died := 0
	r.dies = func(step fleet.Step) bool {
		if step.Kind != fleet.StepLaunch || step.Rung != fleet.Move || died > 0 {
			return false
		}
		died++
		return true
	}
	r.until(40*time.Minute, "it works in zone b", r.works(name))
	if n := r.count("CreateNetworkInterface"); n != 1 || died != 1 {
		t.Errorf("%d interfaces were made, the controller died %d times:\n%s", n, died, r.calls())
	}
}

// EC2 says that the zone is lost, and what runs there hangs: nobody can end it, so that
// no second copy is started. It says so, and what a person may confirm; then it starts
// elsewhere at once, without asking the lost zone for room.
func TestAH_VOL_LostZoneHolds(t *testing.T) {
	r := newRig(t, slowly)
	name := r.opened("", "")
	r.fake.SetZoneState(zoneA, "unavailable")
	r.locked(func() { // the hardware goes on for itself, and the platform no longer reaches it
		_ = r.w.CutSite(zoneA, world.Cut{Control: true, In: true, Out: true, Peers: true, Storage: true})
		r.w.Crash(r.machine(name))
	})
	r.during(20*time.Minute, "nothing is started", func() bool {
		return r.status(name).Epoch == 1 && r.count("CreateVolume", "CreateNetworkInterface") == 0 && r.count("RunInstances") == 1
	})
	look := r.solo.Look(name)
	for _, words := range []string{
		"zone " + zoneA + " is lost since", "EC2 says unavailable", "epoch 1 may still run, and no second copy is started beside it",
		"relight fence confirm " + name + " --epoch 1", "then it is started in " + zoneB, "snap-", "in place of eni-01",
	} {
		if !strings.Contains(look.Reason, words) {
			t.Errorf("it does not say %q: [%s] %s", words, look.Gate, look.Reason)
		}
	}
	if _, err := r.solo.Backend.ConfirmFence(context.Background(), "eve", name, client.FenceConfirmRequest{Epoch: 1, Reason: "the building burns"}); err != nil {
		t.Fatal(err)
	}
	confirmed := r.now()
	r.until(10*time.Minute, "it works in zone b", r.works(name))
	t.Logf("it works %s after the confirmation", r.now().Sub(confirmed))
	if n := r.count("RunInstances"); n != 2 || r.refused("RunInstances", "InsufficientInstanceCapacity", "subnet-a") {
		t.Errorf("%d launches: the lost zone was asked for room:\n%s", n, r.calls())
	}
}

// The zone is lost, and the instance is seen to have ended: the server leaves after the
// time that its spec says, though nobody refused it for want of room.
func TestAH_VOL_LostZone(t *testing.T) {
	r := newRig(t, slowly)
	name := r.opened("", "")
	r.fake.SetZoneState(zoneA, "unavailable")
	r.locked(func() { _ = r.w.KillSite(zoneA); r.w.BreakAPI(zoneA) })
	r.during(3*time.Minute, "not yet", func() bool { return r.count("CreateVolume") == 0 })
	r.locked(func() { r.w.MendAPI(zoneA) }) // what EC2 says of its instances is heard again
	lost := r.now()
	r.until(15*time.Minute, "it works in zone b", r.works(name))
	if took := r.now().Sub(lost); took > 12*time.Minute {
		t.Errorf("it took %s", took)
	}
}

// A zone that has come back is not left: what it has is newer than any snapshot.
func TestAH_VOL_ZoneComesBack(t *testing.T) {
	r := newRig(t, slowly)
	name := r.opened("", "")
	r.fake.SetZoneState(zoneA, "unavailable")
	r.loseZoneA()
	r.during(4*time.Minute, "nothing is made elsewhere", func() bool { return r.count("CreateVolume") == 0 })
	r.fake.SetZoneState(zoneA, "available")
	r.locked(func() { _ = r.w.StartSite(zoneA) })
	r.until(20*time.Minute, "it works at home", func() bool {
		s := r.status(name)
		return s.Verdict == fleet.Healthy && s.Recovery == nil && s.Epoch > 1
	})
	if s := r.status(name); s.Away != nil || r.count("CreateVolume", "CreateNetworkInterface") != 0 {
		t.Errorf("away: %+v\n%s", s.Away, r.calls())
	}
}

// The primary interface goes as well, and the elastic address that stays with it when its
// instance ends: it is taken from there, and only because the server left it behind.
func TestOP_NETID_PrimaryInterface(t *testing.T) {
	r := newRig(t, slowly)
	name, text := r.shop("", "")
	text = strings.Replace(text, "index: 1", "index: 0", 1)
	r.declare(text)
	r.until(5*time.Minute, name+" works", r.healthy(name, 1))
	r.locked(func() { _, _ = r.w.TakeSnapshot("vol-01", "") })
	r.during(2*time.Minute, "it goes on", func() bool { return true })
	if at := r.w.Address("198.51.100.1").Interface; at != "eni-01" {
		t.Fatalf("the address leads to %q", at)
	}
	r.loseZoneA()
	r.until(30*time.Minute, "it works in zone b", r.works(name))
	n := r.status(name).Away.Interfaces[0]
	if at := r.w.Address("198.51.100.1").Interface; at != n.ID || r.w.Interface(n.ID).Holder != r.machine(name).ID {
		t.Errorf("the address leads to %q, and the interface is %+v", at, n)
	}
}

// Three instances of a zone all fail their check, and none passes: the zone counts as
// lost though EC2 says nothing. Checks without data are no such loss (S4), and neither
// are two.
func TestDET_HOST_ZoneByItsInstances(t *testing.T) {
	for _, c := range []struct {
		servers int
		hurt    func(*rig)
		lost    bool
	}{
		{3, func(r *rig) { _ = r.w.KillSite(zoneA) }, true},
		{2, func(r *rig) { _ = r.w.KillSite(zoneA) }, false},
		{3, func(r *rig) { _ = r.w.KillHost(zoneA + "-host-0") }, false},
	} {
		r := newRig(t, slowly)
		var servers []fleet.Server
		for n := range c.servers {
			s := r.server()
			servers = append(servers, s)
			if _, err := r.cloud.Launch(t.Context(), awsprovider.Launch{
				Token: fmt.Sprint("t-", n), Template: r.lt, Version: 1, Subnet: "subnet-a", NoAutoRecovery: true,
				Tags: map[string]string{awsprovider.TagServer: s.Name, awsprovider.TagEpoch: "1", awsprovider.TagToken: "t"},
			}); err != nil {
				t.Fatal(err)
			}
			r.locked(func() { // one on each host
				r.w.Advance(time.Minute)
				_ = r.w.CloseHost(r.w.Find(s.Name, 1).Host, "one is enough")
			})
		}
		r.locked(func() { r.w.Advance(5 * time.Minute) })
		look := func() *fleet.ZoneState {
			sweep, err := r.p.Observe(t.Context(), servers)
			if err != nil {
				t.Fatal(err)
			}
			return sweep.Servers[0].Observed.Zone
		}
		if z := look(); z != nil {
			t.Errorf("%d servers: %+v before anything happened", c.servers, z)
		}
		r.locked(func() { c.hurt(r); r.w.Advance(3 * time.Minute) })
		if z := look(); (z != nil && z.Lost == fleet.Yes) != c.lost {
			t.Errorf("%d servers: zone %+v, want lost %v", c.servers, z, c.lost)
		}
		r.fake.SetZoneState(zoneA, "impaired")
		r.locked(func() { r.w.Advance(time.Minute) })
		if z := look(); z == nil || !strings.Contains(z.Detail, "EC2 says impaired") {
			t.Errorf("%d servers: EC2's own word: %+v", c.servers, z)
		}
	}
}

// An elastic address stays with the interface that the server left behind. It is taken
// from there, also where reads do not lag, and from nobody else's interface.
func TestOP_NETID_AddressOfALeftInterface(t *testing.T) {
	for _, stranger := range []bool{false, true} {
		a := newAccount(t, nil)
		s := a.server()
		s.Spec.Identity.Volumes, s.Spec.Identity.Interfaces = nil, []fleet.Interface{{ID: "eni-01", NewAddress: true}}
		address := fleet.Object{Address: s.Spec.Identity.Addresses[0].IP}
		x := a.steps(s)
		settle := func() { a.locked(func() { a.w.Advance(time.Minute) }) }
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			settle()
		}
		must(x.at(1)(fleet.StepLaunch, fleet.Object{}))
		must(x.at(1)(fleet.StepAttach, address))
		x.proof = x.end(1)
		settle()
		if stranger {
			a.fake.AddInterface("eni-x", "other", "subnet-a", "0a:ff:00:00:09:09", "10.0.1.99")
			a.locked(func() { _ = a.w.Associate(address.Address, world.Destination{Interface: "eni-x"}, true) })
		}
		x.s.Away = &fleet.Away{Zone: zoneB, Subnet: "subnet-b", Declared: "subnet-a", Epoch: 2, Interfaces: []fleet.Swap{{Declared: "eni-01", Of: "eni-01", Token: "t-swap"}}}
		must(x.at(2)(fleet.StepLaunch, fleet.Object{}))
		if err := x.at(2)(fleet.StepAttach, address); (err != nil) != stranger {
			t.Errorf("stranger %v: %v", stranger, err)
		}
	}
}
