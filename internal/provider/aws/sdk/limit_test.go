package sdk_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/aws/fakeaws"
)

// The account may run no more vCPUs: the server waits and says why, with pauses that grow.
// It leaves neither its zone nor its data for a limit that is the same everywhere, and is
// started as soon as the limit allows it.
func TestOP_RUN_QuotaOfTheAccount(t *testing.T) {
	r := newRig(t, slowly)
	name := r.opened("", "")
	r.fake.SetQuota("L-1216C47A", 1)
	r.locked(func() { _ = r.w.Kill(r.machine(name)) })
	r.during(40*time.Minute, "nothing is made elsewhere", func() bool {
		return r.count("CreateVolume", "CreateNetworkInterface") == 0 && r.status(name).Away == nil
	})
	look := r.solo.Look(name)
	if !strings.Contains(look.Reason, "VcpuLimitExceeded") || !strings.Contains(look.Reason, "no more of it in any zone") {
		t.Errorf("it says [%s] %s", look.Gate, look.Reason)
	}
	tries := 0
	for _, e := range r.fake.Ledger() {
		if e.Action == "RunInstances" && e.Code == "VcpuLimitExceeded" {
			tries++
		}
	}
	if tries == 0 || tries > 20 {
		t.Errorf("%d launches were refused in 40 minutes", tries)
	}
	r.fake.SetQuota("L-1216C47A", 8)
	r.until(30*time.Minute, "it works in its own zone", func() bool {
		s := r.status(name)
		return s.Epoch > 1 && s.Verdict == fleet.Healthy && s.Recovery == nil && s.Away == nil
	})
}

// A type that is within the limit is launched instead, and one that has no room counts as
// want of room, which another zone may have.
func TestOP_RUN_QuotaAllowsASmallerType(t *testing.T) {
	a := newAccount(t, nil)
	a.fake.AddType(fakeaws.InstanceType{Name: "m7i.small", CPUs: 1, MiB: 2048})
	a.fake.SetQuota("L-1216C47A", 1)
	s := a.server()
	s.Spec.Identity = fleet.Identity{}
	s.Spec.Template.EC2.Types = []string{"m7i.small"}
	x := a.steps(s)
	a.locked(func() { a.w.SetCapacity(zoneA, "m7i.small", 0, false) })
	err := x.at(1)(fleet.StepLaunch, fleet.Object{})
	if class, _ := provider.ClassOf(err); class != provider.Capacity {
		t.Errorf("class %s: %v", class, err)
	}
	a.fake.SetQuota("L-1216C47A", 0)
	err = x.at(1)(fleet.StepLaunch, fleet.Object{})
	if class, may := provider.ClassOf(err); class != provider.Quota || may {
		t.Errorf("class %s, may have happened %v: %v", class, may, err)
	}
	a.fake.SetQuota("L-1216C47A", 1)
	a.locked(func() { a.w.SetCapacity(zoneA, "m7i.small", 1, false) })
	if err := x.at(1)(fleet.StepLaunch, fleet.Object{}); err != nil {
		t.Fatal(err)
	}
	if list, err := a.cloud.Instances(t.Context(), "", []string{s.Name}); err != nil || len(list) != 1 || list[0].Type != "m7i.small" {
		t.Errorf("%+v, %v", list, err)
	}
}

// The machine type takes fewer volumes and interfaces than the server has: that is told
// with what to change, the tries are few, and a larger type heals it.
func TestAH_ATTACH_TypeTakesNoMore(t *testing.T) {
	r := newRig(t, slowly)
	r.fake.AddType(fakeaws.InstanceType{Name: "m7i.large", CPUs: 2, MiB: 8192, AutoRecovery: true, Attachments: 3})
	name, text := r.licence()
	r.declare(text)
	r.during(time.Hour, "it waits", func() bool { return true })
	if n := r.count("RunInstances"); n == 0 || n > 12 {
		t.Errorf("%d launches in an hour", n)
	}
	if !slices.ContainsFunc(r.failed, func(err error) bool {
		class, _ := provider.ClassOf(err)
		return class == provider.Permanent && strings.Contains(err.Error(), "a m7i.large takes no more volumes and interfaces")
	}) {
		t.Errorf("failed: %v", r.failed)
	}
	look := r.solo.Look(name)
	if look.Verdict == fleet.Healthy || !strings.Contains(look.Reason+r.status(name).Message, "takes no more") {
		t.Errorf("it says [%s] %s; %s", look.Gate, look.Reason, r.status(name).Message)
	}
	t.Logf("[%s] %s", look.Gate, look.Reason)
}
