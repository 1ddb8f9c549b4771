package onprem

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/array"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

// shelf is an array in memory with faults.
type shelf struct {
	mu       sync.Mutex
	maps     map[array.Ref]array.Map
	closed   map[array.Ref]bool // Unmap was called
	sessions map[array.Ref]int
	away     error // every call fails
	stuck    bool  // sessions outlive their kill
	looks    int
	kept     []string // snapshots taken, each once
	restored []string // those that were put back
	asked    int      // how often it was asked what it keeps
	full     bool
	others   bool             // somebody else's map has the LUNs
	luns     map[string]int64 // those that are there, of the sizes that were asked for
}

func newShelf() *shelf {
	return &shelf{luns: map[string]int64{}, maps: map[array.Ref]array.Map{}, closed: map[array.Ref]bool{}, sessions: map[array.Ref]int{}}
}

// take begins a call.
func (s *shelf) take() (func(), error) {
	s.mu.Lock()
	return s.mu.Unlock, s.away
}

func (s *shelf) Name() string      { return "san-1" }
func (s *shelf) login(r array.Ref) { defer s.lock()(); s.sessions[r]++ }
func (s *shelf) set(change func()) { defer s.lock()(); change() }
func (s *shelf) lock() func()      { s.mu.Lock(); return s.mu.Unlock }

func (s *shelf) Create(_ context.Context, l array.LUN) error {
	give, err := s.take()
	defer give()
	switch {
	case err != nil:
		return err
	case s.full:
		return array.ErrFull
	}
	s.luns[l.Name] = l.Bytes
	return nil
}

func (s *shelf) LUN(_ context.Context, name string) (array.LUN, error) {
	give, err := s.take()
	defer give()
	if bytes, there := s.luns[name]; there || err != nil {
		return array.LUN{Name: name, Bytes: bytes}, err
	}
	return array.LUN{}, array.ErrNotFound
}

func (s *shelf) listed(server string) []array.Mapped {
	var out []array.Mapped
	for r, m := range s.maps {
		if r.Server != server {
			continue
		}
		seen := array.Mapped{Ref: r}
		if !s.closed[r] {
			seen.Initiators = []string{m.Initiator}
		}
		out = append(out, seen)
	}
	return out
}

func (s *shelf) Map(_ context.Context, m array.Map, proof fence.Proof) (array.Target, error) {
	give, err := s.take()
	defer give()
	if err != nil {
		return array.Target{}, err
	}
	if err := array.Check(m, proof, s.listed(m.Server)); err != nil {
		return array.Target{}, err
	}
	if s.others {
		return array.Target{}, array.ErrShared
	}
	s.maps[m.Ref] = m
	return array.Target{Portal: "192.0.2.1:3260", IQN: "iqn.target." + m.User}, nil
}

func (s *shelf) Unmap(_ context.Context, r array.Ref) error {
	give, err := s.take()
	defer give()
	s.closed[r] = err == nil
	return err
}

func (s *shelf) Sessions(_ context.Context, r array.Ref) ([]array.Session, error) {
	give, err := s.take()
	defer give()
	var out []array.Session
	for range s.sessions[r] {
		out = append(out, array.Session{Ref: r, ID: "1"})
	}
	return out, err
}

func (s *shelf) Kill(_ context.Context, x array.Session) error {
	give, err := s.take()
	defer give()
	if !s.stuck {
		delete(s.sessions, x.Ref)
	}
	return err
}

func (s *shelf) Close(_ context.Context, r array.Ref) error {
	give, err := s.take()
	defer give()
	switch {
	case err != nil:
		return err
	case s.sessions[r] > 0:
		return array.ErrBusy
	}
	delete(s.maps, r)
	return nil
}

func (s *shelf) Maps(_ context.Context, server string) ([]array.Mapped, error) {
	give, err := s.take()
	defer give()
	s.looks++
	return s.listed(server), err
}

func (s *shelf) Snapshot(_ context.Context, lun, name string) (array.Snapshot, error) {
	give, err := s.take()
	defer give()
	kept := array.Snapshot{LUN: lun, Name: name}
	switch {
	case err != nil || slices.Contains(s.kept, lun+" "+name):
		return kept, err
	case len(s.maps) > 0:
		return array.Snapshot{}, array.ErrMapped
	case s.full:
		return array.Snapshot{}, array.ErrFull
	}
	s.kept = append(s.kept, lun+" "+name)
	return kept, nil
}

func (s *shelf) Snapshots(_ context.Context, lun string) ([]array.Snapshot, error) {
	give, err := s.take()
	defer give()
	s.asked++
	var out []array.Snapshot
	for _, k := range s.kept {
		if of, name, _ := strings.Cut(k, " "); of == lun {
			out = append(out, array.Snapshot{LUN: lun, Name: name})
		}
	}
	return out, err
}

func (s *shelf) RestoreSnapshot(_ context.Context, lun, name string) error {
	give, err := s.take()
	defer give()
	switch {
	case err != nil:
		return err
	case !slices.Contains(s.kept, lun+" "+name):
		return array.ErrNotFound
	case len(s.maps) > 0:
		return array.ErrMapped
	}
	s.restored = append(s.restored, lun+" "+name)
	return nil
}

func (s *shelf) DeleteSnapshot(_ context.Context, lun, name string) error {
	give, err := s.take()
	defer give()
	s.kept = slices.DeleteFunc(s.kept, func(k string) bool { return k == lun+" "+name })
	return err
}

// sanServer has two LUNs on san-1.
func sanServer() fleet.Server {
	s := fleet.Server{Name: "a", Spec: fleet.ServerSpec{Provider: Name, Rules: fleet.Rules{Fence: fleet.FenceStorage}}}
	s.Spec.Template.VM = &fleet.VMTemplate{Boot: fleet.BootKernel}
	for i, name := range []string{"boot", "data"} {
		s.Spec.Identity.Volumes = append(s.Spec.Identity.Volumes, fleet.Volume{
			Name: name, Reach: fleet.ReachArray, LUN: &fleet.LUN{Array: "san-1", Name: "a-" + name, Unit: i + 1},
		})
	}
	return s
}

// sanHub has one host and the array; fenced is what the journal says.
func sanHub(t *testing.T, s *shelf, fenced *fleet.Epoch) *Hub {
	t.Helper()
	h := open(t, t.TempDir(), record("host-1", 1))
	h.opt.OpenArray = func(fleet.Array) (array.Array, error) { return s, nil }
	h.opt.Fenced = func(context.Context, string) (fleet.Epoch, error) { return *fenced, nil }
	h.SetServers([]fleet.Server{sanServer()})
	h.SetSites([]fleet.Site{{Name: "dc", Spec: fleet.SiteSpec{Kind: fleet.SiteZone, Arrays: []fleet.Array{{Name: "san-1", Driver: fleet.ArrayTGT, Portal: "192.0.2.1:3260"}}}}})
	return h
}

func sanCall(kind fleet.StepKind, epoch fleet.Epoch, evidence ...fleet.Evidence) provider.Call {
	proof, _ := fence.Prove(sanServer(), epoch-1, "", evidence, time.Now())
	step := fleet.Step{Kind: kind, Server: "a", Epoch: epoch, Token: string(kind), Within: fleet.Duration(6 * time.Second)}
	if kind != fleet.StepLaunch {
		step.Object.Volume = "data"
	}
	return provider.Call{Server: sanServer(), Term: 1, Proof: proof, Step: step}
}

func (h *Hub) do(t *testing.T, c provider.Call) provider.Outcome {
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
		s, fenced := newShelf(), fleet.Epoch(0)
		h := sanHub(t, s, &fenced)
		h.do(t, sanCall(fleet.StepAttach, 1))
		s.login(array.Ref{Server: "a", Epoch: 1})

		// Nothing is done before the journal says so.
		_, err := h.Do(t.Context(), sanCall(fleet.StepSeal, 1))
		classOf(t, err, provider.Retry, false, "the journal does not call the epoch fenced")
		if len(s.maps) != 1 || s.closed[array.Ref{Server: "a", Epoch: 1}] {
			t.Fatal("it was shut out unjournaled")
		}

		fenced = 1
		out := h.do(t, sanCall(fleet.StepSeal, 1))
		if len(out.Evidence) != 2 || len(s.maps) != 0 || len(s.sessions) != 0 {
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
		s, fenced := newShelf(), fleet.Epoch(1)
		old := array.Ref{Server: "a", Epoch: 1}
		s.maps[old] = array.Map{Ref: old, Initiator: "i1"}
		s.login(old)
		s.stuck = true
		h := sanHub(t, s, &fenced)
		reaped := fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 1}
		_, err := h.Do(t.Context(), sanCall(fleet.StepAttach, 2, reaped))
		classOf(t, err, provider.Conflict, false, "a epoch 1 is not fenced on array san-1")
		if _, there := s.maps[array.Ref{Server: "a", Epoch: 2}]; there {
			t.Error("epoch 2 has a map beside a session of epoch 1")
		}
		s.set(func() { s.stuck = false })
		out := h.do(t, sanCall(fleet.StepAttach, 2, reaped))
		if len(out.Evidence) != 2 || out.Evidence[0].Epoch != 1 || len(s.maps) != 1 {
			t.Errorf("%+v", out)
		}
		if again := h.do(t, sanCall(fleet.StepAttach, 2, reaped)); len(again.Evidence) != 0 || len(s.maps) != 1 {
			t.Errorf("a replay did more: %+v", again)
		}
	})
}

// Whoever has the LUN may take it away again: a recovery waits for that, and says so,
// instead of going through its ladder in a moment.
func TestALUNInOtherHands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := newShelf(), fleet.Epoch(0)
		s.others = true
		h := sanHub(t, s, &fenced)
		_, err := h.Do(t.Context(), sanCall(fleet.StepAttach, 1))
		classOf(t, err, provider.Conflict, false, "another map has the LUN")
	})
}

// An array that cannot be asked is not "none": nothing is done to it, nothing is seen
// as free, and the server may come back.
func TestAnArrayThatCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := newShelf(), fleet.Epoch(1)
		h := sanHub(t, s, &fenced)
		old := array.Ref{Server: "a", Epoch: 1}
		s.maps[old] = array.Map{Ref: old, Initiator: "i1"}
		if v := h.volumes(t); len(v) != 2 || v[0].Holder != 1 || v[0].Held != fleet.Yes {
			t.Fatalf("%+v", v)
		}
		s.set(func() { s.away = errors.New("connection refused") })
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
		s.set(func() { s.away = nil; delete(s.maps, old) })
		time.Sleep(2 * time.Second)
		h.volumes(t)
		if v := h.volumes(t); len(v) != 2 || v[0].Held != fleet.No || v[0].Holder != 0 {
			t.Errorf("%+v", v)
		}
	})
}

// volumes is what a sweep shows; a sweep without any is incomplete, one with is not.
func (h *Hub) volumes(t *testing.T) []fleet.VolumeState {
	t.Helper()
	sweep, err := h.Observe(t.Context(), []fleet.Server{sanServer()})
	if err != nil {
		t.Fatal(err)
	}
	o := sweep.Servers[0].Observed
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
		s, fenced := newShelf(), fleet.Epoch(0)
		h := sanHub(t, s, &fenced)
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
		looks := s.looks
		for range 5 {
			h.volumes(t)
		}
		if s.looks != looks {
			t.Errorf("%d more looks at once", s.looks-looks)
		}
	})
}

// The host is told where its LUNs are and as whom to log in; and to look at the portal.
func TestLaunchCarriesItsDisks(t *testing.T) {
	s, fenced := newShelf(), fleet.Epoch(0)
	h := sanHub(t, s, &fenced)
	disks, err := h.disks(t.Context(), sanCall(fleet.StepLaunch, 1))
	if err != nil || len(disks) != 2 {
		t.Fatalf("%+v, %v", disks, err)
	}
	d, m := disks[1], s.maps[array.Ref{Server: "a", Epoch: 1}]
	want := link.Disk{Volume: "data", Portal: "192.0.2.1:3260", Target: "iqn.target.a.e1", Unit: 2, Initiator: m.Initiator, User: "a.e1", Secret: m.Secret}
	if !reflect.DeepEqual(d, want) || m.Units[2] != "a-data" || len(d.Secret) < 12 {
		t.Errorf("%+v, want %+v", d, want)
	}
	cmd, err := command(sanCall(fleet.StepLaunch, 1))
	if err != nil || cmd.VM == nil || cmd.Process != nil {
		t.Errorf("%+v, %v", cmd, err)
	}
	h.mu.Lock()
	w := h.watchOf(h.hosts["host-1"])
	h.mu.Unlock()
	if len(w.Portals) != 1 || w.Portals[0] != (link.Portal{Array: "san-1", Addr: "192.0.2.1:3260"}) {
		t.Errorf("%+v", w.Portals)
	}
}

// Arrays that stay as they are keep their driver, which keeps two calls apart.
func TestArraysStayOpen(t *testing.T) {
	s, fenced := newShelf(), fleet.Epoch(0)
	h := sanHub(t, s, &fenced)
	before := h.sans["san-1"]
	sites := []fleet.Site{h.sites["dc"]}
	h.SetSites(sites)
	if h.sans["san-1"] != before {
		t.Error("it was opened anew")
	}
	sites[0].Spec.Arrays = []fleet.Array{{Name: "san-1", Driver: fleet.ArrayTGT, Portal: "192.0.2.2:3260"}}
	h.SetSites(sites)
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
func TestAskArrays(t *testing.T) {
	s, fenced := newShelf(), fleet.Epoch(0)
	h := sanHub(t, s, &fenced)
	if got := h.AskArrays(t.Context()); len(got) != 1 || got[0].Name != "san-1" || got[0].Site != "dc" || got[0].Err != nil {
		t.Errorf("%+v", got)
	}
	s.away = errors.New("connection refused")
	if got := h.AskArrays(t.Context()); got[0].Err == nil {
		t.Errorf("%+v", got)
	}
}
