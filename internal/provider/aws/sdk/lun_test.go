package sdk_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/provider/guest"
	"relight/internal/provider/san"
	"relight/internal/world"
)

// disks tells a guest where its LUNs are, as a controller does.
func (r *rig) disks(ctx context.Context, server string, epoch fleet.Epoch) ([]guest.Disk, error) {
	disks, err := r.arrays.Logins(ctx, server, epoch)
	var out []guest.Disk
	for _, d := range disks {
		out = append(out, guest.Disk(d))
	}
	return out, err
}

// sanRig is a rig whose servers have LUNs, with their guests.
type sanRig struct {
	*rig
	shelf  *arraytest.Shelf
	guests *enrol.Guests
	// inside are the guests of the server's epochs, and wrote the epochs whose writes
	// reached the LUN, in their order.
	inside map[fleet.Epoch]inside
	wrote  []fleet.Epoch

	mu           sync.Mutex
	stood, since time.Time
}

func newSANRig(t *testing.T) *sanRig {
	t.Helper()
	r := &sanRig{rig: newRig(t, slowly), shelf: arraytest.NewShelf(), inside: map[fleet.Epoch]inside{}}
	r.arrays.Open(san.Options{
		Open:   func(fleet.Array) (array.Array, error) { return arraytest.LocatedShelf{Shelf: r.shelf}, nil },
		Fenced: func(ctx context.Context, s string) (fleet.Epoch, error) { return r.solo.State.Fenced(ctx, s) },
		Key:    make([]byte, san.KeySize), Now: r.running,
	})
	r.guests = r.rig.guests()
	return r
}

// running is the world's time as it would pass within a step: fifty times as fast as
// ours, and from the world's own on. A fence that waits by it in vain ends soon.
func (r *sanRig) running() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); !now.Equal(r.stood) {
		r.stood, r.since = now, time.Now()
	}
	return r.stood.Add(50 * time.Since(r.since))
}

// tillOn is a server on the first of two Outposts, whose data is a LUN of an array that
// both reach; a second server in the zone is heard all the while, so that the controller
// does not doubt its own ears.
func (r *sanRig) tillOn(fence string) string {
	r.t.Helper()
	lt := r.outposts(2)
	_, other := r.licence()
	r.declare(`{apiVersion: relight/v1alpha1, kind: Site, metadata: {name: plant}, spec: {kind: zone, arrays: [{name: san-1, driver: tgt, portal: "127.0.0.1:1", options: {dir: /srv/san}}]}}
`,
		other, fmt.Sprintf(`apiVersion: relight/v1alpha1
kind: Server
metadata: {name: till}
spec:
  fence: %s
  identity: {volumes: [{name: data, lun: {array: san-1, size: 20}, mount: {path: /data, format: true}}]}
  template:
    ec2: {launchTemplate: %s, version: 1, subnet: subnet-o1, elsewhere: {after: 1m, zones: [{zone: %s, subnet: subnet-o2, outpost: %q, arrays: [san-1]}]}}
`, fence, lt, zoneA, outpostARN(2)))
	r.arrays.SetSites(r.solo.State.Sites())
	r.arrays.SetServers(r.solo.State.Servers())
	r.until2(10*time.Minute, "it works on the first", r.on("till", 1))
	return "till"
}

// until2 and during2 are until and during with the guests at work.
func (r *sanRig) until2(most time.Duration, what string, cond func() bool) {
	r.t.Helper()
	r.until(most, what, func() bool { r.guestsWork("till"); return cond() })
}

func (r *sanRig) during2(d time.Duration, what string, cond func() bool) {
	r.t.Helper()
	r.during(d, what, func() bool { r.guestsWork("till"); return cond() })
}

// guestsWork lets a second of the guests of all instances pass: those that reach the
// controller ask where their LUNs are, log in, and report; whoever is logged in writes,
// and logs in again for as long as the array lets it.
func (r *sanRig) guestsWork(server string) {
	r.t.Helper()
	type seat struct {
		epoch   fleet.Epoch
		reaches bool
	}
	var seats []seat
	r.locked(func() {
		for _, i := range r.w.Of(server) {
			if h := r.w.Host(i.Host); r.w.Able(i) {
				seats = append(seats, seat{i.Epoch, h.Beats()})
			}
		}
	})
	for _, s := range seats {
		ref := array.Ref{Server: server, Epoch: s.epoch}
		if s.reaches {
			r.report(ref)
		}
		r.shelf.Set(func() {
			if _, made := r.shelf.Made[ref]; made && !r.shelf.Closed[ref] && r.knows(ref) && r.shelf.Live[ref] == 0 {
				r.shelf.Live[ref]++
			}
			if r.shelf.Live[ref] > 0 {
				r.wrote = append(r.wrote, s.epoch)
			}
		})
	}
	if !slices.IsSorted(r.wrote) {
		r.t.Fatalf("an old epoch wrote after a new one: %v", slices.Compact(slices.Clone(r.wrote)))
	}
}

// knows reports whether the guest was told its secret.
func (r *sanRig) knows(ref array.Ref) bool { return r.inside[ref.Epoch].logins != nil }

// report has a guest ask for its LUNs and tell how far it is.
func (r *sanRig) report(ref array.Ref) {
	in, booted := r.inside[ref.Epoch]
	if !booted {
		p := r.plan(r.userData("RunInstances", "UserData"))
		if p.Epoch != ref.Epoch {
			return // it was told to another one
		}
		in = r.boot(r.guests, p)
		for _, m := range r.shelf.Made {
			if strings.Contains(r.userData("RunInstances", "UserData"), m.Secret) {
				r.t.Errorf("the secret of epoch %d is in user data", m.Epoch)
			}
		}
	}
	if code, disks := in.asks(); code == http.StatusOK {
		in.logins = disks
	}
	works, detail := fleet.No, "volume data is awaited"
	if in.logins != nil {
		works, detail = fleet.Yes, "all volumes are mounted"
	}
	r.inside[ref.Epoch] = in
	in.tells(works, detail)
}

// asks has a guest ask where its LUNs are.
func (i inside) asks() (int, []guest.Disk) {
	i.r.t.Helper()
	req := httptest.NewRequestWithContext(i.r.t.Context(), http.MethodPost, guest.PathDisks, bytes.NewReader(nil))
	req.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{i.cert}}}
	rec := httptest.NewRecorder()
	i.r.doors.Handler().ServeHTTP(rec, req)
	var told guest.Disks
	if rec.Code == http.StatusOK {
		if err := json.Unmarshal(rec.Body.Bytes(), &told); err != nil {
			i.r.t.Fatal(err)
		}
	}
	return rec.Code, told.Disks
}

// next reports whether an instance of a later epoch than the first was ever made.
func (r *sanRig) next() bool {
	return slices.ContainsFunc(r.w.Of("till"), func(i *world.Instance) bool { return i.Epoch > 1 })
}

// fencedFirst reports that the array has neither a session nor a map of epoch 1, or that
// no later epoch was made yet.
func (r *sanRig) fencedFirst() bool {
	old := array.Ref{Server: "till", Epoch: 1}
	return !r.next() || r.shelf.Live[old] == 0 && r.shelf.Made[old].Initiator == ""
}

// The link to an Outpost is cut. EC2 can end nothing there and knows nothing: its word
// proves nothing. The array does: it shuts the old epoch out while that writes, and the
// server starts on another Outpost with the same LUN. When the link is back, what ran on
// behind it is ended.
func TestOP_SVCLINK_TheArrayProves(t *testing.T) {
	r := newSANRig(t)
	name := r.tillOn("storage")
	if len(r.wrote) == 0 || r.shelf.LUNs["till-data"] != 20<<30 {
		t.Fatalf("wrote %v on %v", r.wrote, r.shelf.LUNs)
	}
	r.locked(func() { _ = r.w.CutServiceLink("op-1") })
	zombie := false
	r.until2(20*time.Minute, "it works on the second", func() bool {
		r.locked(func() {
			zombie = zombie || r.w.Able(r.w.Find(name, 1)) && r.shelf.Live[array.Ref{Server: name, Epoch: 1}] == 0
		})
		if !r.fencedFirst() {
			t.Fatal("a later epoch is there beside a session of epoch 1")
		}
		return r.on(name, 2)()
	})
	if last := r.wrote[len(r.wrote)-1]; last < 2 || !zombie {
		t.Errorf("wrote last: epoch %d; ran on shut out: %v", last, zombie)
	}
	s := r.status(name)
	if i := slices.IndexFunc(s.Evidence, func(e fleet.Evidence) bool { return e.Method == fleet.InitiatorRemoved && e.Epoch == 1 }); i < 0 || s.Evidence[i].By != "array san-1" {
		t.Errorf("evidence %+v", s.Evidence)
	}
	if s.Away == nil || s.Away.Outpost != outpostARN(2) || s.Away.Loss() != "" {
		t.Errorf("away %+v", s.Away)
	}
	if code, _ := r.inside[1].asks(); code != http.StatusGone {
		t.Errorf("epoch 1 is told its LUNs: %d", code)
	}
	r.locked(func() { _ = r.w.MendServiceLink("op-1") })
	r.until2(20*time.Minute, "what ran on is ended", func() bool { return r.w.Find(name, 1).State == fleet.InstanceTerminated })
	if !r.on(name, 2)() {
		t.Error("it no longer works on the second")
	}
}

// Without the array's proof nothing starts: a session that outlives its kill may write, and
// an array that is away has said nothing. When the proof comes it goes on by itself.
func TestOP_SVCLINK_NoProof(t *testing.T) {
	for what, set := range map[string]func(s *arraytest.Shelf, broken bool){
		"a session that stays": func(s *arraytest.Shelf, broken bool) { s.Stuck = broken },
		"an array that is away": func(s *arraytest.Shelf, broken bool) {
			s.Away = nil
			if broken {
				s.Away = errors.New("connection refused")
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			r := newSANRig(t)
			name := r.tillOn("storage")
			r.shelf.Set(func() { set(r.shelf, true) })
			r.locked(func() { _ = r.w.CutServiceLink("op-1") })
			r.during2(20*time.Minute, "nothing is started", func() bool { return !r.next() })
			if look := r.solo.Look(name); look.Gate != "proof" || !look.NeedsPerson {
				t.Errorf("it is held by %q: %s", look.Gate, look.Reason)
			}
			r.shelf.Set(func() { set(r.shelf, false) })
			r.until2(40*time.Minute, "it works on the second", r.on(name, 2))
		})
	}
}

// With fence: both the array's word is half of the proof. The other half is the end of the
// instance, which EC2 can tell only once the link is back.
func TestOP_SVCLINK_FenceBoth(t *testing.T) {
	r := newSANRig(t)
	name := r.tillOn("both")
	r.locked(func() { _ = r.w.CutServiceLink("op-1") })
	r.during2(20*time.Minute, "nothing is started", func() bool { return !r.next() })
	if look := r.solo.Look(name); !strings.Contains(look.Reason, "cannot be proved dead") {
		t.Errorf("it is held: %s", look.Reason)
	}
	r.locked(func() { _ = r.w.MendServiceLink("op-1") })
	r.until2(40*time.Minute, "it works again", func() bool {
		s := r.status(name)
		return s.Epoch > 1 && s.Verdict == fleet.Healthy && s.Recovery == nil
	})
	if r.w.Find(name, 1).State != fleet.InstanceTerminated {
		t.Error("it runs on")
	}
}

// A guest is told nothing before its epoch is let in, and an array beside volumes of EBS is
// no proof for those: the instance must be seen to end.
func TestLUNBesideEBS(t *testing.T) {
	r := newSANRig(t)
	r.fake.AddVolume(fakeaws.VolumeSpec{ID: "vol-mix", Server: "till", Zone: zoneA})
	r.declare(`{apiVersion: relight/v1alpha1, kind: Site, metadata: {name: plant}, spec: {kind: zone, arrays: [{name: san-1, driver: tgt, portal: "127.0.0.1:1", options: {dir: /srv/san}}]}}
`,
		`{apiVersion: relight/v1alpha1, kind: Server, metadata: {name: till}, spec: {
  identity: {volumes: [{name: log, id: vol-mix}, {name: data, lun: {array: san-1, size: 20}, mount: {path: /data, format: true}}]},
  template: {ec2: {launchTemplate: `+r.lt+`, version: 1, subnet: subnet-a}}}}`)
	r.arrays.SetSites(r.solo.State.Sites())
	r.shelf.Set(func() { r.shelf.Away = errors.New("connection refused") })
	r.arrays.SetServers(r.solo.State.Servers())
	r.during2(2*time.Minute, "it waits for its LUN", func() bool { return r.status("till").VerifiedAt.IsZero() })
	if code, _ := r.inside[1].asks(); code != http.StatusServiceUnavailable {
		t.Errorf("it is told its LUNs by an array that is away: %d", code)
	}
	r.shelf.Set(func() { r.shelf.Away = nil })
	r.until2(20*time.Minute, "it works", r.healthy("till", 1))
	host := r.machine("till").Host
	r.locked(func() { _ = r.w.KillHost(host) })
	r.until2(30*time.Minute, "it works again", func() bool {
		s := r.status("till")
		return s.Epoch > 1 && s.Verdict == fleet.Healthy && s.Recovery == nil
	})
	s := r.status("till")
	ended := func(e fleet.Evidence) bool {
		return e.Epoch == 1 && (e.Method == fleet.Terminated || e.Method == fleet.Stopped)
	}
	if !slices.ContainsFunc(s.Evidence, ended) && !r.told("stopped") && !r.told("terminated") {
		t.Errorf("its end was never seen: %+v", s.Evidence)
	}
	if now := (array.Ref{Server: "till", Epoch: s.Epoch}); len(r.shelf.Made) != 1 || r.shelf.Made[now].Initiator == "" {
		t.Errorf("the array lists %v", r.shelf.Made)
	}
}
