package sdk_test

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// detaches are the detach calls that were carried out, in their order: forced ones are
// told apart.
func (a *account) detaches() (out []string) {
	for _, e := range a.fake.Ledger() {
		if e.Action != "DetachVolume" || e.Code != "" {
			continue
		}
		how := "ordinary"
		if e.Form.Get("Force") == "true" {
			how = "forced"
		}
		out = append(out, how)
	}
	return out
}

// forcing declares a server whose volume the guest agent mounts and that may be taken by
// force, and waits until it works.
func (r *rig) forcing(allow string) (name string, boot func() inside) {
	guests := r.guests()
	name, spec := r.licence()
	r.declare(strings.Replace(spec, "{name: data, ", "{name: data, mount: {path: /data, format: true}, "+allow, 1))
	boot = func() inside { return r.boot(guests, r.plan(r.userData("RunInstances", "UserData"))) }
	r.until(2*time.Minute, "it is launched", func() bool { return r.count("RunInstances") == 1 })
	first := boot()
	r.until(5*time.Minute, "it is healthy", func() bool { first.tells(fleet.Yes, ""); return r.healthy(name, 1)() })
	return name, boot
}

// The volume hangs at an instance that has ended: it is told to detach the ordinary way
// first, then it is waited for, and only after that it is taken by force, once. The plan
// of the new instance has its file system checked before the mount.
func TestAH_ATTACH_ForceDetach(t *testing.T) {
	r := newRig(t, slowly)
	name, boot := r.forcing("forceDetach: {after: 5m}, ")
	r.locked(func() { r.w.StickVolume("vol-01"); _ = r.w.Kill(r.machine(name)) })
	r.until(5*time.Minute, "it is told to detach", func() bool { return len(r.detaches()) == 1 })
	told := r.now()
	r.until(10*time.Minute, "it is taken by force", func() bool { return len(r.detaches()) > 1 })
	if waited := r.now().Sub(told); waited < 5*time.Minute {
		t.Errorf("the ordinary detach had %s", waited)
	}
	second := boot()
	r.until(10*time.Minute, "it works again", func() bool { second.tells(fleet.Yes, ""); return r.healthy(name, 2)() })
	if got := strings.Join(r.detaches(), " "); got != "ordinary forced" {
		t.Errorf("detached: %s", got)
	}
	if n := r.count("RunInstances"); n != 2 {
		t.Errorf("%d instances were launched for a volume that any of them would have missed", n)
	}
	p := r.plan(r.userData("RunInstances", "UserData"))
	if p.Epoch != 2 || !p.Volumes[0].Mount.Fsck {
		t.Errorf("the plan of epoch %d mounts a volume that was taken by force unchecked: %+v", p.Epoch, p.Volumes[0].Mount)
	}
}

// Without the policy nothing is forced, however long it hangs: a person is asked, with
// what to type, and the recovery goes on by itself once the volume is free.
func TestAH_ATTACH_NeverForcedByDefault(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.locked(func() { r.w.StickVolume("vol-01"); _ = r.w.Kill(r.machine(name)) })
	r.until(10*time.Minute, "a person is asked", func() bool {
		return strings.Contains(r.solo.Look(name).Reason, "aws ec2 detach-volume --force --volume-id vol-01")
	})
	r.during(30*time.Minute, "nothing is forced, and nothing else is tried", func() bool {
		return strings.Join(r.detaches(), " ") == "ordinary" && r.count("RunInstances") == 2
	})
	r.locked(func() { _ = r.w.DetachVolume("vol-01", r.w.Find(name, 1), true) })
	r.until(5*time.Minute, "it works again", r.healthy(name, 2))
}

// A detach that only takes its time is waited for, and nothing is lost by force.
func TestAH_ATTACH_SlowDetach(t *testing.T) {
	r := newRig(t, slowly)
	name, boot := r.forcing("forceDetach: {after: 5m}, ")
	r.locked(func() { r.w.StickVolume("vol-01"); _ = r.w.Kill(r.machine(name)) })
	r.until(5*time.Minute, "it is told to detach", func() bool { return len(r.detaches()) == 1 })
	r.during(3*time.Minute, "it is waited for", func() bool { return len(r.detaches()) == 1 })
	r.locked(func() { _ = r.w.DetachVolume("vol-01", r.w.Find(name, 1), true) }) // EC2's own doing
	second := boot()
	r.until(10*time.Minute, "it works again", func() bool { second.tells(fleet.Yes, ""); return r.healthy(name, 2)() })
	if got := strings.Join(r.detaches(), " "); got != "ordinary" {
		t.Errorf("detached: %s", got)
	}
}

// A forced detach that is refused is told, and not sent again and again.
func TestAH_ATTACH_ForceRefused(t *testing.T) {
	r := newRig(t, slowly)
	name, _ := r.forcing("forceDetach: {after: 5m}, ")
	r.fake.Deny("ec2:DetachVolume")
	r.locked(func() { r.w.StickVolume("vol-01"); _ = r.w.Kill(r.machine(name)) })
	r.until(10*time.Minute, "a person is asked", func() bool {
		return strings.Contains(r.solo.Look(name).Reason, "never told to detach")
	})
	asked := func() (n int) {
		for _, e := range r.fake.Ledger() {
			if e.Action == "DetachVolume" {
				n++
			}
		}
		return n
	}
	r.during(time.Hour, "it is asked for with longer and longer pauses, and no instance is launched for it", func() bool {
		return asked() < 20 && r.count("RunInstances") == 2
	})
	if asked() < 2 {
		t.Errorf("it was asked for %d times", asked())
	}
}

// The provider is the last guard: whatever asks for it, nothing is torn from an instance
// that runs, whose epoch nobody proved dead, or that was never asked the ordinary way.
func TestAH_ATTACH_ForceGuarded(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	x := a.steps(s)
	a.up(s, 1, x.at(1))
	first := x.proof
	force := func(proof fence.Proof, allowed bool) error {
		x.proof, x.s = proof, s
		x.s.Spec.Identity.Volumes = []fleet.Volume{s.Spec.Identity.Volumes[0]}
		if allowed {
			x.s.Spec.Identity.Volumes[0].ForceDetach = &fleet.ForceDetach{After: fleet.Duration(time.Minute)}
		}
		call := x.call(fleet.StepDetach, 1, fleet.Object{Volume: "data"})
		call.Step.Force = true
		_, err := a.p.Do(t.Context(), call)
		return err
	}
	wants := func(what string, err error, class provider.Class) {
		t.Helper()
		if got, _ := provider.ClassOf(err); err == nil || got != class {
			t.Errorf("%s: class %s of %v, want %s", what, got, err, class)
		}
	}
	attested, missing := fence.Prove(s, 1, "", []fleet.Evidence{{Method: fleet.Attested, Server: s.Name, Epoch: 1, By: "eve", At: a.now()}}, a.now())
	if len(missing) > 0 {
		t.Fatal(missing)
	}
	wants("it runs, and a person says that it is dead", force(attested, true), provider.Refused)
	a.locked(func() { a.w.StickVolume("vol-01") })
	x.proof, x.s = first, s
	ended := x.end(1)
	wants("no proof", force(fence.Proof{}, true), provider.Refused)
	wants("the proof of an earlier epoch", force(first, true), provider.Refused)
	wants("the spec says nothing of it", force(ended, false), provider.Refused)
	if len(a.detaches()) > 0 {
		t.Fatalf("detached: %v", a.detaches())
	}
	if err := force(ended, true); err != nil { // its end left the attachment detaching
		t.Error(err)
	}
	a.locked(func() {
		a.w.Advance(time.Second)
		if h := a.w.Volume("vol-01").Holder; h != "" {
			t.Errorf("it is still held by %s", h)
		}
	})
	if err := force(ended, true); err != nil {
		t.Errorf("a replay of what was done: %v", err)
	}
	if got := a.detaches(); len(got) != 1 {
		t.Errorf("detached: %v", got)
	}
}
