package sdk_test

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/world"
)

// The tests are named after the mechanisms that they show; see docs/design/aws.md.

// The hardware below an instance fails: it is stopped and started on other hardware,
// once, as the next epoch, and keeps everything that it is known by.
func TestDET_SYS(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	id := r.machine(name).ID
	r.locked(func() { _ = r.w.KillHost(r.machine(name).Host) })
	r.until(10*time.Minute, "it works on other hardware", r.healthy(name, 2))
	if got := r.machine(name).ID; got != id {
		t.Errorf("another instance (%s) than %s: a recover keeps it", got, id)
	}
	if n := r.count("StartInstances"); n != 1 {
		t.Errorf("%d starts, want 1", n)
	}
}

// The spec leaves failed hardware to EC2's own recovery: nothing of ours is done
// while that has its time.
func TestDET_SYS_StandsAside(t *testing.T) {
	r := newRig(t, func(c *world.Config) {
		slowly(c)
		c.AutoRecover = world.Span{Min: 4 * time.Minute, Max: 5 * time.Minute}
	})
	name := r.born(", autoRecovery: platform")
	r.locked(func() { _ = r.w.KillHost(r.machine(name).Host) })
	r.until(12*time.Minute, "EC2 has moved it", func() bool { return r.w.Able(r.machine(name)) })
	r.until(10*time.Minute, "it is seen to work", r.healthy(name, 1))
	if n := r.count("StopInstances", "StartInstances", "TerminateInstances", "RebootInstances"); n > 0 {
		t.Errorf("%d calls of ours beside EC2's own recovery:\n%s", n, r.calls())
	}
}

// A recovery of ours takes EC2's own away first, so that the two never overlap.
func TestDET_SYS_NeverBoth(t *testing.T) {
	r := newRig(t, func(c *world.Config) {
		slowly(c)
		c.AutoRecover = world.Span{Min: time.Hour, Max: time.Hour}
	})
	name := r.born(", autoRecovery: platform")
	r.locked(func() { _ = r.w.KillHost(r.machine(name).Host) })
	r.until(30*time.Minute, "ours steps in when EC2's own does nothing", r.healthy(name, 2))
	var order []string
	for _, e := range r.fake.Ledger() {
		if e.Action == "ModifyInstanceMaintenanceOptions" || e.Action == "StopInstances" {
			order = append(order, e.Action)
		}
	}
	if len(order) == 0 || order[0] != "ModifyInstanceMaintenanceOptions" {
		t.Errorf("calls %v: EC2's own recovery must be switched off before the stop", order)
	}
}

// The guest's kernel dies, the hardware is well: a reboot in place is enough, and the
// epoch stays.
func TestDET_INST(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.locked(func() { r.w.Crash(r.machine(name)) })
	r.until(10*time.Minute, "it was rebooted and works", func() bool {
		return r.w.Able(r.machine(name)) && r.healthy(name, 1)() && r.count("RebootInstances") == 1
	})
	if n := r.count("StopInstances", "TerminateInstances"); n > 0 {
		t.Errorf("%d instances ended for a guest that a reboot heals", n)
	}
}

// Both checks fail: that is the hardware's matter, and no reboot is tried on it.
func TestDET_INST_BothFail(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.locked(func() { _ = r.w.KillHost(r.machine(name).Host) })
	r.until(10*time.Minute, "it works on other hardware", r.healthy(name, 2))
	if n := r.count("RebootInstances"); n > 0 {
		t.Errorf("%d reboots on dead hardware", n)
	}
}

// The volumes cannot be reached: another instance would meet the same volumes, so
// that nothing is ended, and people are told.
func TestDET_EBS(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.locked(func() { _ = r.w.CutHost(r.machine(name).Host, world.Cut{Storage: true}) })
	r.during(15*time.Minute, "nothing is ended for volumes that cannot be reached", func() bool {
		return r.count("StopInstances", "TerminateInstances", "RebootInstances") == 0
	})
	if look := r.solo.Look(name); !strings.Contains(look.Finding, "volumes") {
		t.Errorf("the finding does not speak of the volumes: %s", look.Finding)
	}
}

// The application fails on a healthy machine, which no status check shows: the load
// balancer's word climbs the ladder.
func TestDET_APP(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.until(2*time.Minute, "the load balancer finds it healthy", func() bool {
		members, _ := r.w.Members("lic")
		return len(members) == 1 && members[0].State == world.MemberHealthy
	})
	r.locked(func() { r.w.SetApp(r.machine(name), world.AppFails) })
	r.until(10*time.Minute, "its application works again", func() bool { return r.machine(name).App == world.AppOK && r.healthy(name, 1)() })
	if r.count("RebootInstances") != 1 || r.count("TerminateInstances") != 0 {
		t.Errorf("calls:\n%s", r.calls())
	}
}

// A whole zone loses its power: its volumes are there and nowhere else, so that the
// server waits, says why, and comes back with the zone.
func TestDET_HOST(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.locked(func() { _ = r.w.KillSite(zoneA) })
	r.during(10*time.Minute, "it is started nowhere else", func() bool { return len(r.w.Running(name)) == 0 })
	r.locked(func() { _ = r.w.StartSite(zoneA) })
	r.until(time.Hour, "it works again", func() bool { s := r.status(name); return s.Verdict == fleet.Healthy && s.Recovery == nil })
}

// The link to an outpost is cut: the instance runs on and writes, and that nothing is
// heard of it proves nothing.
func TestDET_LINK(t *testing.T) {
	r := newRig(t, slowly)
	r.locked(func() {
		r.w.AddSite(world.Site{Name: "op-1", Kind: fleet.SiteOutpost, Parent: "eu-west-1"})
		r.w.AddHost(world.Host{Name: "op-1-host-0", Parent: "op-1", Units: 10})
		r.w.AddHost(world.Host{Name: "op-1-host-1", Parent: "op-1", Units: 10})
	})
	r.fake.AddSubnet(fakeaws.Subnet{ID: "subnet-o", VPC: "vpc-1", Zone: zoneA, Site: "op-1", CIDR: "10.0.9.0/24", OutpostARN: "arn:aws:outposts:eu-west-1:123456789012:outpost/op-1"})
	r.fake.AddVolume(fakeaws.VolumeSpec{ID: "vol-o", Server: "edge", Zone: "op-1"})
	r.declare(`{apiVersion: relight/v1alpha1, kind: Server, metadata: {name: edge}, spec: {identity: {volumes: [{name: data, id: vol-o}]}, template: {ec2: {launchTemplate: ` + r.lt + `, version: 1, subnet: subnet-o}}}}`)
	r.until(5*time.Minute, "it works", r.healthy("edge", 1))
	r.locked(func() { _ = r.w.CutServiceLink("op-1") })
	r.during(20*time.Minute, "it runs on, and no call of ours ends it", func() bool {
		return r.w.Able(r.machine("edge")) && r.count("StopInstances", "TerminateInstances", "RebootInstances", "RunInstances") == 1
	})
	if v := r.solo.Look("edge").Verdict; v == fleet.Down || v == fleet.Healthy {
		t.Errorf("verdict %s for a server of which nothing is heard", v)
	}
	r.locked(func() { _ = r.w.MendServiceLink("op-1") })
	r.until(5*time.Minute, "it is seen again", r.healthy("edge", 1))
}

// Checks that have no data, or cannot be read, are no "no": nothing is done for as
// long as only that is known.
func TestDET_ALARM_MissingData(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.noBeats = true
	r.fake.Deny("ec2:DescribeInstanceStatus")
	r.during(10*time.Minute, "nothing is done without data", func() bool {
		return r.count("StopInstances", "TerminateInstances", "RebootInstances") == 0
	})
	if v := r.solo.Look(name).Verdict; v == fleet.Down {
		t.Errorf("verdict %s without data", v)
	}
}
