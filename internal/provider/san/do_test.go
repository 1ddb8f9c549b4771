package san

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// sanServer has two LUNs on san-1.
func sanServer() fleet.Server {
	s := fleet.Server{Name: "a", Spec: fleet.ServerSpec{Provider: "onprem", Rules: fleet.Rules{Fence: fleet.FenceStorage}}}
	s.Spec.Template.VM = &fleet.VMTemplate{Boot: fleet.BootKernel}
	for i, name := range []string{"boot", "data"} {
		s.Spec.Identity.Volumes = append(s.Spec.Identity.Volumes, fleet.Volume{
			Name: name, Reach: fleet.ReachArray, LUN: &fleet.LUN{Array: "san-1", Name: "a-" + name, Unit: i + 1},
		})
	}
	return s
}

// rig asks the arrays as a provider does.
type rig struct{ *Arrays }

var sites = []fleet.Site{{Name: "dc", Spec: fleet.SiteSpec{Kind: fleet.SiteZone, Arrays: []fleet.Array{{Name: "san-1", Driver: fleet.ArrayTGT, Portal: "192.0.2.1:3260"}}}}}

// newRig has one array; fenced is what the journal says.
func newRig(t *testing.T, s *arraytest.Shelf, fenced *fleet.Epoch) rig {
	t.Helper()
	h := Opened(Options{
		Open:   func(fleet.Array) (array.Array, error) { return s, nil },
		Fenced: func(context.Context, string) (fleet.Epoch, error) { return *fenced, nil },
		Key:    make([]byte, KeySize), Now: time.Now,
	})
	h.SetServers([]fleet.Server{sanServer()})
	h.SetSites(sites)
	return rig{h}
}

func (h rig) Do(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	if err := provider.CheckProof(call); err != nil {
		return provider.Outcome{}, err
	}
	vol, _ := LUNOf(call)
	ctx, cancel := context.WithTimeout(ctx, call.Step.Within.Std())
	defer cancel()
	return h.Arrays.Do(ctx, call, vol)
}

func sanCall(kind fleet.StepKind, epoch fleet.Epoch, evidence ...fleet.Evidence) provider.Call {
	proof, _ := fence.Prove(sanServer(), epoch-1, "", evidence, time.Now())
	step := fleet.Step{Kind: kind, Server: "a", Epoch: epoch, Token: string(kind), Within: fleet.Duration(6 * time.Second)}
	if kind != fleet.StepLaunch {
		step.Object.Volume = "data"
	}
	return provider.Call{Server: sanServer(), Term: 1, Proof: proof, Step: step}
}

func (h rig) do(t *testing.T, c provider.Call) provider.Outcome {
	t.Helper()
	out, err := h.Do(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func classOf(t *testing.T, err error, class provider.Class, may bool, text string) {
	t.Helper()
	var e *provider.Error
	if !errors.As(err, &e) || e.Class != class || e.MayHaveHappened != may || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want %s (may %v) with %q", err, class, may, text)
	}
}

// The whole life of two epochs: let in, shut out with evidence for each LUN, the next
// let in, and the old one never again.
func TestSealOfALUNIsTheArraysFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
		h := newRig(t, s, &fenced)
		h.do(t, sanCall(fleet.StepAttach, 1))
		s.Login(array.Ref{Server: "a", Epoch: 1})

		// Nothing is done before the journal says so.
		_, err := h.Do(t.Context(), sanCall(fleet.StepSeal, 1))
		classOf(t, err, provider.Retry, false, "the journal does not call the epoch fenced")
		if len(s.Made) != 1 || s.Closed[array.Ref{Server: "a", Epoch: 1}] {
			t.Fatal("it was shut out unjournaled")
		}

		fenced = 1
		out := h.do(t, sanCall(fleet.StepSeal, 1))
		if len(out.Evidence) != 2 || len(s.Made) != 0 || len(s.Live) != 0 {
			t.Fatalf("%+v", out)
		}
		for i, e := range out.Evidence {
			if e.Method != fleet.InitiatorRemoved || e.Epoch != 1 || e.By != "array san-1" || e.Volume != []string{"boot", "data"}[i] {
				t.Errorf("%+v", e)
			}
		}
		_, err = h.Do(t.Context(), sanCall(fleet.StepAttach, 1))
		classOf(t, err, provider.Refused, false, "stays fenced")
		h.do(t, sanCall(fleet.StepAttach, 2, out.Evidence...))
		_, err = h.Do(t.Context(), sanCall(fleet.StepAttach, 3))
		classOf(t, err, provider.Refused, false, "proof")
	})
}

// Where the old epoch is dead by other evidence, its map is fenced all the same before
// the next one's is made; until that is confirmed nothing of the next one is there.
func TestAttachFencesWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(1)
		old := array.Ref{Server: "a", Epoch: 1}
		s.Made[old] = array.Map{Ref: old, Initiator: "i1"}
		s.Login(old)
		s.Stuck = true
		h := newRig(t, s, &fenced)
		reaped := fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 1}
		_, err := h.Do(t.Context(), sanCall(fleet.StepAttach, 2, reaped))
		classOf(t, err, provider.Conflict, false, "a epoch 1 is not fenced on array san-1")
		if _, there := s.Made[array.Ref{Server: "a", Epoch: 2}]; there {
			t.Error("epoch 2 has a map beside a session of epoch 1")
		}
		s.Set(func() { s.Stuck = false })
		out := h.do(t, sanCall(fleet.StepAttach, 2, reaped))
		if len(out.Evidence) != 2 || out.Evidence[0].Epoch != 1 || len(s.Made) != 1 {
			t.Errorf("%+v", out)
		}
		if again := h.do(t, sanCall(fleet.StepAttach, 2, reaped)); len(again.Evidence) != 0 || len(s.Made) != 1 {
			t.Errorf("a replay did more: %+v", again)
		}
	})
}

// Whoever has the LUN may take it away again: a recovery waits for that, and says so,
// instead of going through its ladder in a moment.
func TestALUNInOtherHands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
		s.Others = true
		h := newRig(t, s, &fenced)
		_, err := h.Do(t.Context(), sanCall(fleet.StepAttach, 1))
		classOf(t, err, provider.Conflict, false, "another map has the LUN")
	})
}

// An array that cannot be asked is not "none": nothing is done to it, nothing is seen
// as free, and the server may come back.
func TestAnArrayThatCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(1)
		h := newRig(t, s, &fenced)
		old := array.Ref{Server: "a", Epoch: 1}
		s.Made[old] = array.Map{Ref: old, Initiator: "i1"}
		if v := h.volumes(t); len(v) != 2 || v[0].Holder != 1 || v[0].Held != fleet.Yes {
			t.Fatalf("%+v", v)
		}
		s.Set(func() { s.Away = errors.New("connection refused") })
		_, err := h.Do(t.Context(), sanCall(fleet.StepSeal, 1))
		classOf(t, err, provider.Retry, false, "array san-1 cannot be asked: connection refused")
		if !errors.Is(err, provider.ErrAway) {
			t.Errorf("%v is not called away", err)
		}
		time.Sleep(2 * time.Second)
		h.volumes(t) // begins the look whose answer the next sweep has
		if v := h.volumes(t); len(v) != 0 {
			t.Errorf("%+v", v)
		}
		s.Set(func() { s.Away = nil; delete(s.Made, old) })
		time.Sleep(2 * time.Second)
		h.volumes(t)
		if v := h.volumes(t); len(v) != 2 || v[0].Held != fleet.No || v[0].Holder != 0 {
			t.Errorf("%+v", v)
		}
	})
}

// volumes is what a look shows; one without any is incomplete, one with is not.
func (h rig) volumes(t *testing.T) []fleet.VolumeState {
	t.Helper()
	s := sanServer()
	h.Look(t.Context(), []fleet.Server{s}, time.Second)
	o := fleet.Observed{Server: s.Name, Complete: true}
	h.Show(&s, &o)
	if o.Complete && len(o.Volumes) == 0 {
		t.Errorf("nothing is known and the look is complete: %+v", o)
	}
	synctest.Wait()
	return o.Volumes
}

// What was seen before an effect is not the present: a map that was just made must not
// read as forgotten, one that was just closed not as held.
func TestAnEffectOutdatesWhatWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
		h := newRig(t, s, &fenced)
		if v := h.volumes(t); len(v) != 2 || v[0].Held != fleet.No {
			t.Fatalf("%+v", v)
		}
		time.Sleep(time.Millisecond)
		h.do(t, sanCall(fleet.StepAttach, 1))
		time.Sleep(time.Millisecond)
		for _, v := range h.volumes(t) {
			if v.Held != fleet.Yes || v.Holder != 1 {
				t.Errorf("%+v", v)
			}
		}
		looks := s.Looks
		for range 5 {
			h.volumes(t)
		}
		if s.Looks != looks {
			t.Errorf("%d more looks at once", s.Looks-looks)
		}
	})
}

// The instance's host, or its guest, is told where the LUNs are and as whom to log in.
func TestDisks(t *testing.T) {
	s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
	h := newRig(t, s, &fenced)
	disks, err := h.Disks(t.Context(), sanCall(fleet.StepLaunch, 1))
	if err != nil || len(disks) != 2 {
		t.Fatalf("%+v, %v", disks, err)
	}
	d, m := disks[1], s.Made[array.Ref{Server: "a", Epoch: 1}]
	want := Disk{Volume: "data", Portal: "192.0.2.1:3260", Target: "iqn.target.a.e1", Unit: 2, Initiator: m.Initiator, User: "a.e1", Secret: m.Secret}
	if !reflect.DeepEqual(d, want) || m.Units[2] != "a-data" || len(d.Secret) < 12 {
		t.Errorf("%+v, want %+v", d, want)
	}
}

// Arrays that stay as they are keep their driver, which keeps two calls apart.
func TestArraysStayOpen(t *testing.T) {
	s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
	h := newRig(t, s, &fenced)
	before := h.sans["san-1"]
	h.SetSites(sites)
	if h.sans["san-1"] != before {
		t.Error("it was opened anew")
	}
	other := slices.Clone(sites)
	other[0].Spec.Arrays = []fleet.Array{{Name: "san-1", Driver: fleet.ArrayTGT, Portal: "192.0.2.2:3260"}}
	h.SetSites(other)
	if h.sans["san-1"] == before {
		t.Error("it has another portal and was not opened anew")
	}
	_, err := h.Do(t.Context(), func() provider.Call {
		c := sanCall(fleet.StepAttach, 1)
		c.Server.Spec.Identity.Volumes[1].LUN.Array = "san-9"
		return c
	}())
	classOf(t, err, provider.Permanent, false, "no site declares array san-9")
}

// The doctor names the arrays that do not answer.
func TestAsk(t *testing.T) {
	s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
	h := newRig(t, s, &fenced)
	if got := h.Ask(t.Context()); len(got) != 1 || got[0].Name != "san-1" || got[0].Site != "dc" || got[0].Err != nil {
		t.Errorf("%+v", got)
	}
	s.Away = errors.New("connection refused")
	if got := h.Ask(t.Context()); got[0].Err == nil {
		t.Errorf("%+v", got)
	}
}
