package sdk_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/world"
)

func outpostARN(n int) string {
	return fmt.Sprintf("arn:aws:outposts:eu-west-1:123456789012:outpost/op-%d", n)
}

// outposts adds Outposts servers, of one machine each, whose subnets are subnet-o1 and so
// on, and an image that starts from the machine's own disk.
func (r *rig) outposts(n int) string {
	for k := 1; k <= n; k++ {
		name := fmt.Sprintf("op-%d", k)
		r.locked(func() {
			r.w.AddSite(world.Site{Name: name, Kind: fleet.SiteOutpost, Parent: "eu-west-1"})
			r.w.AddHost(world.Host{Name: name + "-host", Parent: name, Units: 1})
		})
		r.fake.AddSubnet(fakeaws.Subnet{ID: fmt.Sprintf("subnet-o%d", k), VPC: "vpc-1", Zone: zoneA, Site: name, CIDR: fmt.Sprintf("10.0.%d.0/24", 20+k), OutpostARN: outpostARN(k)})
	}
	r.fake.AddImage(fakeaws.Image{ID: "ami-store", RootDevice: "/dev/sda1", RootGiB: 8, InstanceStore: true})
	return r.fake.AddTemplate("till", fakeaws.Template{Image: "ami-store", Type: "m7i.large"})
}

// till declares a server on the first of some Outposts, which may go to the others, and
// waits until it works.
func (r *rig) till(n int) string {
	r.t.Helper()
	lt := r.outposts(n)
	var zones []string
	for k := 2; k <= n; k++ {
		zones = append(zones, fmt.Sprintf("{zone: %s, subnet: subnet-o%d, outpost: %q}", zoneA, k, outpostARN(k)))
	}
	r.declare(fmt.Sprintf(`apiVersion: relight/v1alpha1
kind: Server
metadata: {name: till}
spec:
  identity: {groups: [{id: "%s"}]}
  template:
    ec2: {launchTemplate: %s, version: 1, subnet: subnet-o1, elsewhere: {after: 1m, zones: [%s]}}
`, r.group, lt, strings.Join(zones, ", ")))
	r.until(5*time.Minute, "it works on the first", r.healthy("till", 1))
	return "till"
}

// on is that the server works on the n-th Outpost.
func (r *rig) on(name string, n int) func() bool {
	return func() bool {
		s, m := r.status(name), r.machine(name)
		return s.Verdict == fleet.Healthy && s.Recovery == nil && m != nil && m.Host == fmt.Sprintf("op-%d-host", n)
	}
}

// The machine of an Outposts server dies, and it has no other: the server starts on
// another Outposts server, with nothing lost, and when that dies too on the third. A
// machine that starts from its own disk cannot be stopped, which is asked for once.
func TestOP_NPLUS1_AnotherOutpost(t *testing.T) {
	r := newRig(t, slowly)
	name := r.till(3)
	stops := 0
	for k := 1; k <= 2; k++ {
		r.locked(func() { _ = r.w.KillHost(fmt.Sprintf("op-%d-host", k)) })
		r.until(20*time.Minute, "it works on the next", r.on(name, k+1))
		s := r.status(name)
		if s.Away == nil || s.Away.Outpost != outpostARN(k+1) || s.Away.Loss() != "" {
			t.Errorf("away: %+v", s.Away)
		}
		if !r.told("start epoch", fmt.Sprintf("on op-%d", k+1)) {
			t.Errorf("no event names op-%d", k+1)
		}
		r.during(time.Hour, "the ladder's window ends", func() bool { return true })
	}
	for _, e := range r.fake.Ledger() {
		if e.Action == "StopInstances" && e.Code == "UnsupportedOperation" {
			stops++
		}
	}
	if stops != 2 {
		t.Errorf("it was asked %d times to stop machines that start from their own disk", stops)
	}
	if lines := client.AwayLines(r.status(name)); len(lines) == 0 || !strings.Contains(lines[0], "away in op-3") {
		t.Errorf("%q", lines)
	}
}

// The next Outpost has no room: it is left out, and the one after it taken.
func TestOP_RUN_OutpostIsFull(t *testing.T) {
	r := newRig(t, slowly)
	name := r.till(3)
	r.locked(func() {
		r.w.SetCapacity("op-2", "m7i.large", 0, false)
		_ = r.w.KillHost("op-1-host")
	})
	r.until(20*time.Minute, "it works on the third", r.on(name, 3))
	if !r.refused("RunInstances", "InsufficientInstanceCapacity", "subnet-o2") {
		t.Errorf("the second was never asked:\n%s", r.calls())
	}
}

// refused reports that a call about a subnet was refused with a code.
func (r *rig) refused(action, code, subnet string) bool {
	for _, e := range r.fake.Ledger() {
		if e.Action == action && e.Code == code && e.Form.Get("SubnetId") == subnet {
			return true
		}
	}
	return false
}

// The link to the Outpost is cut: nothing is heard of the server, which runs on, and that
// is no proof. It starts on no other one until a person says that it is dead; and when
// the link comes back what ran on there is ended.
func TestOP_SVCLINK(t *testing.T) {
	r := newRig(t, slowly)
	name := r.till(2)
	r.locked(func() { _ = r.w.CutServiceLink("op-1") })
	r.during(30*time.Minute, "it runs on, and on no other Outpost", func() bool {
		return r.w.Able(r.w.Find(name, 1)) && r.count("RunInstances") == 1 && r.count("TerminateInstances") == 0
	})
	if v := r.solo.Look(name).Verdict; v == fleet.Down {
		t.Error("a cut link is taken for its death")
	}
	ctx := context.Background()
	r.locked(func() { r.w.Crash(r.w.Find(name, 1)) }) // somebody has pulled the plug
	if _, err := r.solo.Backend.ConfirmFence(ctx, "eve", name, client.FenceConfirmRequest{Epoch: 1, Reason: "I have pulled the plug"}); err != nil {
		t.Fatal(err)
	}
	r.until(20*time.Minute, "it works on the second", r.on(name, 2))
	r.locked(func() { _ = r.w.MendServiceLink("op-1") })
	r.until(20*time.Minute, "what is left of it is ended", func() bool { return r.w.Find(name, 1).State == fleet.InstanceTerminated })
	if !r.on(name, 2)() {
		t.Error("it no longer works on the second")
	}
}

// What elsewhere says of an Outpost is held against the subnet: nothing is started in the
// zone, or on another Outpost, by a slip of the pen.
func TestOP_RUN_SubnetOfAnotherOutpost(t *testing.T) {
	r := newRig(t, slowly)
	lt := r.outposts(2)
	r.declare(fmt.Sprintf(`{apiVersion: relight/v1alpha1, kind: Server, metadata: {name: till}, spec: {template: {ec2: {launchTemplate: %s, version: 1, subnet: subnet-o1,
  elsewhere: {after: 1m, zones: [{zone: %s, subnet: subnet-b, outpost: %q}, {zone: %s, subnet: subnet-o2, outpost: %q}]}}}}}`,
		lt, zoneA, outpostARN(9), zoneA, outpostARN(2)))
	r.until(5*time.Minute, "it works on the first", r.healthy("till", 1))
	r.locked(func() { _ = r.w.KillHost("op-1-host") })
	r.until(20*time.Minute, "it works on the second", r.on("till", 2))
	for _, e := range r.fake.Ledger() {
		if e.Action == "RunInstances" && e.Form.Get("SubnetId") == "subnet-b" {
			t.Error("it was started in the zone")
		}
	}
	if !r.told("subnet-b lies on no Outpost") {
		t.Error("no event says why")
	}
}

// On a rack the volume stays on its Outpost, and so does the server: another host of the
// rack takes it, with the same volume.
func TestOP_NPLUS1_AnotherHostOfTheRack(t *testing.T) {
	r := newRig(t, slowly)
	r.locked(func() {
		r.w.AddSite(world.Site{Name: "rack-1", Kind: fleet.SiteOutpost, Parent: "eu-west-1"})
		for n := range 2 {
			r.w.AddHost(world.Host{Name: fmt.Sprintf("rack-1-host-%d", n), Parent: "rack-1", Units: 1})
		}
	})
	r.fake.AddSubnet(fakeaws.Subnet{ID: "subnet-r", VPC: "vpc-1", Zone: zoneA, Site: "rack-1", CIDR: "10.0.9.0/24", OutpostARN: outpostARN(7)})
	r.fake.AddVolume(fakeaws.VolumeSpec{ID: "vol-r", Server: "edge", Zone: "rack-1"})
	r.declare(`{apiVersion: relight/v1alpha1, kind: Server, metadata: {name: edge}, spec: {identity: {volumes: [{name: data, id: vol-r}]}, template: {ec2: {launchTemplate: ` + r.lt + `, version: 1, subnet: subnet-r}}}}`)
	r.until(5*time.Minute, "it works", r.healthy("edge", 1))
	was := r.machine("edge").Host
	r.locked(func() { _ = r.w.KillHost(was) })
	r.until(20*time.Minute, "it works on the other host", func() bool {
		s := r.status("edge")
		return s.Epoch > 1 && s.Verdict == fleet.Healthy && s.Recovery == nil
	})
	if m := r.machine("edge"); m.Host == was || !r.w.Within(m.Host, "rack-1") || r.w.Volume("vol-r").Holder != m.ID {
		t.Errorf("it runs on %s, and its volume is held by %q", m.Host, r.w.Volume("vol-r").Holder)
	}
}
