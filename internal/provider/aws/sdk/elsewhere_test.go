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

// wiki is a server without interfaces, which may be started in zone b; allow is what
// its volume says of that, such as "fromSnapshot: {maxLoss: 24h}".
func (r *rig) wiki(allow, elsewhere string) (string, string) {
	s := r.server()
	id := s.Spec.Identity
	return s.Name, fmt.Sprintf(`apiVersion: relight/v1alpha1
kind: Server
metadata: {name: %s}
spec:
  identity:
    volumes: [{name: data, id: %s%s}]
    addresses: [{ip: %s, allocation: %s}]
    groups: [{id: "%s"}]
  template:
    ec2: {launchTemplate: %s, version: 1, subnet: subnet-a%s}
`, s.Name, id.Volumes[0].ID, allow, id.Addresses[0].IP, id.Addresses[0].Allocation, id.Groups[0].ID, r.lt, elsewhere)
}

const toB = ", elsewhere: {after: 5m, zones: [{zone: " + zoneB + ", subnet: subnet-b}]}"

// living declares the server, waits until it works, has a snapshot of its volume made,
// and lets it go on for some time after that.
func (r *rig) living(allow, elsewhere string, since time.Duration) string {
	r.t.Helper()
	name, text := r.wiki(allow, elsewhere)
	r.declare(text)
	r.until(5*time.Minute, name+" works for the first time", r.healthy(name, 1))
	r.locked(func() {
		if _, err := r.w.TakeSnapshot("vol-01", ""); err != nil {
			r.t.Fatal(err)
		}
	})
	r.during(since, "it goes on", func() bool { return true })
	return name
}

// stating has the world told of each loss that our records state before the copy is
// used: a copy in use whose loss nobody stated is a violation of S2.
func (r *rig) stating(name string, cond func() bool) func() bool {
	return func() bool {
		s := r.status(name)
		if s.Away != nil && s.Recovery != nil && s.Recovery.Lost != "" {
			for _, c := range s.Away.Copies {
				if c.ID != "" && strings.Contains(s.Recovery.Lost, c.Snapshot) {
					r.locked(func() { _ = r.w.StateLoss(c.ID, c.At) })
				}
			}
		}
		return cond()
	}
}

// works is that the server works in another zone.
func (r *rig) works(name string) func() bool {
	return r.stating(name, func() bool {
		s := r.status(name)
		return s.Away != nil && s.Verdict == fleet.Healthy && s.Recovery == nil
	})
}

func (r *rig) loseZoneA() { r.locked(func() { _ = r.w.KillSite(zoneA) }) }

// The zone is lost: the old instance is seen to end, its zone has no room for as long as
// the spec demands, and the server starts in another with a copy, its loss stated.
func TestAH_VOL_AnotherZone(t *testing.T) {
	r := newRig(t, slowly)
	name := r.living(", fromSnapshot: {maxLoss: 1h}", toB, 4*time.Minute)
	r.loseZoneA()
	lost := r.now()
	r.until(30*time.Minute, "it works in zone b", r.works(name))
	s := r.status(name)
	if took := r.now().Sub(lost); took < 5*time.Minute {
		t.Errorf("it left after %s, and its zone must have had no room for 5m", took)
	}
	if s.Away.Zone != zoneB || len(s.Away.Copies) != 1 || s.Away.Copies[0].ID == "" || s.Away.Copies[0].Of != "vol-01" {
		t.Fatalf("away: %+v", s.Away)
	}
	if n := r.count("CreateVolume"); n != 1 {
		t.Errorf("%d volumes were made:\n%s", n, r.calls())
	}
	if v := r.w.Volume("vol-01"); v == nil || v.Holder != "" {
		t.Errorf("the old volume: %+v", v)
	}
	r.states(name, s.Away.Copies[0])
	// It stays there, on its copy, when it fails again.
	r.locked(func() { _ = r.w.Kill(r.machine(name)) })
	epoch := s.Epoch
	r.until(20*time.Minute, "it works again in zone b", r.healthy(name, epoch+1))
	if at := r.w.Volume(s.Away.Copies[0].ID).Holder; at != r.machine(name).ID {
		t.Errorf("its copy is held by %q", at)
	}
	if n := r.count("CreateVolume"); n != 1 {
		t.Errorf("%d volumes were made", n)
	}
}

// states demands that the decision, the event that was emitted and why name the loss.
func (r *rig) states(name string, c fleet.Copy) {
	r.t.Helper()
	why, err := r.solo.Backend.Why(context.Background(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	if a := why.Status.Away; a == nil || !strings.Contains(a.Loss(), c.Snapshot) || !strings.Contains(a.Loss(), " old)") {
		r.t.Errorf("why does not state the loss: %+v", a)
	}
	told := 0
	page, err := r.solo.Backend.Events(context.Background(), client.EventQuery{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range page.Items {
		if strings.Contains(e.Event.Message, c.Snapshot) && strings.Contains(e.Event.Message, "is lost") {
			told++
		}
	}
	if told < 2 {
		r.t.Errorf("%d events state the loss: the intent and the end of the recovery should", told)
	}
}

// No volume leaves its zone that the spec does not allow to, nor one whose snapshot is
// too old: the server waits, and says why.
func TestAH_VOL_StaysInZone(t *testing.T) {
	for _, c := range []struct {
		name, allow, elsewhere, says string
		since                        time.Duration
	}{
		{"not allowed", "", "", "has no fromSnapshot", time.Minute},
		{"too old", ", fromSnapshot: {maxLoss: 2m}", toB, "fromSnapshot.maxLoss allows 2m", 4 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, slowly)
			name := r.living(c.allow, c.elsewhere, c.since)
			r.loseZoneA()
			r.during(20*time.Minute, "nothing is made elsewhere", func() bool {
				return r.count("CreateVolume") == 0 && r.status(name).Away == nil
			})
			if look := r.solo.Look(name); look.Gate == "" || !strings.Contains(look.Reason, c.says) {
				t.Errorf("it holds at %q and says: %s", look.Gate, look.Reason)
			}
		})
	}
}

// A volume without a complete snapshot leaves nothing to start with.
func TestAH_VOL_NoSnapshot(t *testing.T) {
	r := newRig(t, slowly)
	name, text := r.wiki(", fromSnapshot: {maxLoss: 1h}", toB)
	r.declare(text)
	r.until(5*time.Minute, "it works", r.healthy(name, 1))
	r.loseZoneA()
	r.during(15*time.Minute, "nothing is made", func() bool { return r.count("CreateVolume") == 0 })
	if look := r.solo.Look(name); !strings.Contains(look.Reason, "no complete snapshot of volume data is known") {
		t.Errorf("it says: %s", look.Reason)
	}
}

// The old instance's end is never seen: there is no proof, and no zone is left for that
// until a person states that it is dead.
func TestAH_VOL_NoProof(t *testing.T) {
	r := newRig(t, slowly)
	name := r.living(", fromSnapshot: {maxLoss: 10h}", toB, time.Minute)
	r.locked(func() {
		r.w.SetCapacity(zoneA, "m7i.large", 0, false)
		r.w.Crash(r.machine(name)) // it is dead, and nobody can see that
		_ = r.w.CutSite(zoneA, world.Cut{Control: true, In: true, Out: true, Peers: true, Storage: true})
	})
	r.during(30*time.Minute, "nothing is started", func() bool { return r.status(name).Epoch == 1 && r.count("CreateVolume") == 0 })
	if look := r.solo.Look(name); look.Gate != "proof" && !strings.Contains(look.Reason, "it waits until that is seen") {
		t.Errorf("it holds at %q: %s", look.Gate, look.Reason)
	}
	answer, err := r.solo.Backend.ConfirmFence(context.Background(), "eve", name, client.FenceConfirmRequest{Epoch: 1, Reason: "the building burns"})
	if err != nil {
		t.Fatal(err, answer)
	}
	r.until(time.Hour, "it works in zone b", r.works(name))
}

// The controller dies after EC2 has made the volume and before it knows: the next one
// finds that volume, and makes no other.
func TestAH_VOL_OneCopy(t *testing.T) {
	r := newRig(t, slowly)
	name := r.living(", fromSnapshot: {maxLoss: 1h}", toB, time.Minute)
	r.loseZoneA()
	r.locked(func() { r.w.SetCapacity(zoneB, "m7i.large", 0, false) })
	died := 0
	r.dies = func(step fleet.Step) bool {
		if step.Kind != fleet.StepLaunch || step.Rung != fleet.Move || died > 0 {
			return false
		}
		died++
		r.locked(func() { r.w.SetCapacity(zoneB, "m7i.large", 9, false) })
		return true
	}
	r.until(40*time.Minute, "it works in zone b", r.works(name))
	if n := r.count("CreateVolume"); n != 1 || died != 1 {
		t.Errorf("%d volumes were made, the controller died %d times:\n%s", n, died, r.calls())
	}
}

// A person says where the data is from now on: with the copies' ids in the document the
// server stays, with others it goes back to its zone.
func TestAH_VOL_StayOrGoBack(t *testing.T) {
	for _, stay := range []bool{true, false} {
		r := newRig(t, slowly)
		name, text := r.wiki(", fromSnapshot: {maxLoss: 1h}", toB)
		r.declare(text)
		r.until(5*time.Minute, "it works", r.healthy(name, 1))
		r.locked(func() { _, _ = r.w.TakeSnapshot("vol-01", "") })
		r.during(time.Minute, "it goes on", func() bool { return true })
		r.locked(func() { _ = r.w.Kill(r.machine(name)); r.w.SetCapacity(zoneA, "m7i.large", 0, false) })
		r.until(40*time.Minute, "it works in zone b", r.works(name))
		s := r.status(name)
		volume, subnet := s.Away.Copies[0].ID, "subnet-b"
		if !stay {
			volume, subnet = "vol-back", "subnet-a"
			r.fake.AddVolume(fakeaws.VolumeSpec{ID: volume, Server: name, Zone: zoneA})
			r.locked(func() { r.w.SetCapacity(zoneA, "m7i.large", 9, false) })
		}
		text = strings.NewReplacer("id: vol-01", "id: "+volume, "subnet: subnet-a", "subnet: "+subnet, "zone: "+zoneB, "zone: eu-west-1c").Replace(text)
		if err := r.solo.Apply(context.Background(), "eve", "spec.yaml", text); err != nil {
			t.Fatal(err)
		}
		if why, err := r.solo.Backend.Why(context.Background(), name); err != nil || why.Status.Away != nil {
			t.Errorf("stay %v: it is still away: %+v, %v", stay, why.Status.Away, err)
		}
		if _, err := r.solo.Backend.Heal(context.Background(), "eve", name, client.HealRequest{Rung: fleet.Relaunch, Reason: "as declared"}); err != nil {
			t.Fatal(err)
		}
		r.until(30*time.Minute, "it works as declared", r.healthy(name, s.Epoch+1))
		if v := r.w.Volume(volume); v.Holder != r.machine(name).ID {
			t.Errorf("stay %v: volume %s is held by %q", stay, volume, v.Holder)
		}
		if a := r.status(name).Away; a != nil {
			t.Errorf("stay %v: its status says that it is away: %+v", stay, a)
		}
	}
}
