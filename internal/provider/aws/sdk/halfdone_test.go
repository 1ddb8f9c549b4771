package sdk_test

import (
	"context"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
)

// The sample tools attach the volume, fail at the elastic address, and when they are
// called again are told VolumeInUse for ever. Here what is half done is done again and
// ends whole, on the same instance, whatever fails in the middle.
func TestAH_ATTACH_HalfDone(t *testing.T) {
	dies := func(r *rig, at func(fleet.Object) bool) {
		died := false
		r.dies = func(s fleet.Step) bool {
			now := !died && s.Kind == fleet.StepAttach && s.Epoch == 2 && at(s.Object)
			died = died || now
			return now
		}
	}
	for name, c := range map[string]struct {
		fault func(*rig)
		code  string // what EC2 answers the call that fails
	}{
		"the address is refused for a while": {func(r *rig) { r.w.SetQuota("AssociateAddress", 1./20, 1); r.w.Take("AssociateAddress") }, "RequestLimitExceeded"},
		"the answer about it is lost":        {func(r *rig) { r.w.LoseReplies("AssociateAddress", 1) }, "(no reply)"},
		"that about the volume is lost":      {func(r *rig) { r.w.LoseReplies("AttachVolume", 1) }, "(no reply)"},
		"the controller dies at the volume":  {func(r *rig) { dies(r, func(o fleet.Object) bool { return o.Volume != "" }) }, ""},
		"it dies at the address":             {func(r *rig) { dies(r, func(o fleet.Object) bool { return o.Address != "" }) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, slowly)
			name := r.born()
			r.locked(func() { _ = r.w.Kill(r.machine(name)); c.fault(r) })
			r.until(20*time.Minute, "it works again", r.healthy(name, 2))
			r.locked(func() {
				if now, at := r.machine(name).ID, r.w.Volume("vol-01").Holder; at != now {
					t.Errorf("the volume is at %q, not at %s", at, now)
				}
				if at, err := r.w.SeeAddress("198.51.100.1"); err != nil || at.Holder != r.machine(name).ID {
					t.Errorf("the address leads to %+v: %v", at, err)
				}
			})
			if n := r.count("RunInstances"); n != 2 {
				t.Errorf("%d instances were launched", n)
			}
			codes := r.codes("AttachVolume", "AssociateAddress")
			if codes["VolumeInUse"] > 0 || c.code != "" && codes[c.code] == 0 {
				t.Errorf("EC2 answered %v", codes)
			}
		})
	}
}

// codes counts what EC2 answered the calls of some actions.
func (a *account) codes(actions ...string) map[string]int {
	out := map[string]int{}
	for _, e := range a.fake.Ledger() {
		for _, action := range actions {
			if e.Action == action {
				out[e.Code]++
			}
		}
	}
	return out
}

// late is EC2 that tells so many times more of volumes that nobody has them.
type late struct {
	awsprovider.Cloud
	looks int
}

func (l *late) Volumes(ctx context.Context, ids []string) ([]awsprovider.Volume, error) {
	list, err := l.Cloud.Volumes(ctx, ids)
	for n := range list {
		if l.looks > 0 {
			list[n].Holder, list[n].Attachment = "", ""
		}
	}
	l.looks--
	return list, err
}

// An attach is done again before EC2 tells of it: VolumeInUse is its answer, and is over
// as soon as it does tell.
func TestAH_ATTACH_DoneAgainUnseen(t *testing.T) {
	for looks, tries := range map[int]int{0: 1, 1: 1, 2: 2, 5: 3} {
		a := newAccount(t, nil)
		s := a.server()
		a.up(s, 1, a.steps(s).at(1))
		a.p = awsprovider.New(awsprovider.Options{Cloud: &late{a.cloud, looks}, Region: "eu-west-1", Now: a.now})
		attach := a.steps(s).at(1)
		for try := 1; ; try++ {
			err := attach(fleet.StepAttach, fleet.Object{Volume: "data"})
			if (err == nil) != (try >= tries) {
				t.Errorf("%d looks that lag: try %d: %v", looks, try, err)
			}
			if err == nil || try > tries {
				break
			}
			if class, may := provider.ClassOf(err); class != provider.Conflict || may {
				t.Errorf("class %s, may have happened %v: %v", class, may, err)
			}
		}
		if n := a.done("AttachVolume"); n != 1 {
			t.Errorf("%d attaches had an effect", n)
		}
	}
}
