package sdk_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/controller"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/provider/guest"
	"relight/internal/provider/san"
	"relight/internal/store/mem"
	"relight/internal/world"
)

// rig is a whole controller on the fake endpoint: real decisions, the real SDK, a
// real wire; virtual time, one thread.
type rig struct {
	*account
	solo  *controller.Solo
	clock rigClock
	heard map[string]time.Time
	// noBeats: no guest agent runs anywhere.
	noBeats bool
	// dies tells of a step whether the controller ends before it learns how that went;
	// nil if it never does.
	dies func(fleet.Step) bool
	// failed are the errors of all steps so far.
	failed []error
	// doors is where guest agents report; it is closed until a test opens it.
	doors *guest.Door
	// arrays are where servers' LUNs are; a test that has some opens them.
	arrays *san.Arrays
}

type rigClock struct{ a *account }

func (c rigClock) Now() time.Time { return c.a.now() }

// slowly gives each change about the time that it takes on EC2, and status checks
// their minute.
func slowly(c *world.Config) {
	s := func(lo, hi int) world.Span {
		return world.Span{Min: time.Duration(lo) * time.Second, Max: time.Duration(hi) * time.Second}
	}
	c.Delays = world.Delays{Start: s(5, 15), App: s(5, 10), Stop: s(10, 30), Hard: s(2, 5), Terminate: s(10, 30), Attach: s(1, 3), Detach: s(1, 3), DNS: s(5, 30), Snapshot: s(30, 60), Copy: s(5, 10)}
	c.Checks = world.Checks{Every: time.Minute, Delay: 10 * time.Second}
	c.Lag = 2 * time.Second
	c.WriteEvery, c.WriteLatency = time.Second, 20*time.Millisecond
}

func newRig(t *testing.T, change func(*world.Config)) *rig {
	t.Helper()
	a := newAccount(t, change)
	r := &rig{account: a, clock: rigClock{a}, heard: map[string]time.Time{}, doors: guest.New(), arrays: san.New()}
	r.p = awsprovider.New(awsprovider.Options{Cloud: a.cloud, Region: "eu-west-1", Now: a.now, Heard: r.beat, Guests: r.doors, Arrays: r.arrays})
	st := mem.New(mem.Options{Now: a.now})
	t.Cleanup(func() { _ = st.Close() })
	solo, err := controller.NewSolo(context.Background(), controller.SoloOptions{
		Store: st, Clock: r.clock, Providers: map[string]provider.Provider{awsprovider.Name: r.p},
		Owner: "one", Lease: 6 * time.Second, Contact: 3 * time.Second, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.solo = solo
	return r
}

// beat is what the receiver heard of a guest's agent last.
func (r *rig) beat(server string) (time.Time, fleet.Epoch, bool) {
	if r.noBeats {
		return time.Time{}, 0, false
	}
	var (
		epoch fleet.Epoch
		found bool
	)
	r.locked(func() {
		for _, i := range r.w.Of(server) {
			key := fmt.Sprintf("%s.%d", server, i.Epoch)
			if h := r.w.Host(i.Host); i.Executes && h.Runs() && h.Beats() {
				r.heard[key] = r.w.Now()
			}
			if _, ever := r.heard[key]; ever && i.Epoch >= epoch {
				epoch, found = i.Epoch, true
			}
		}
	})
	return r.heard[fmt.Sprintf("%s.%d", server, epoch)], epoch, found
}

// declare applies specs in mode auto.
func (r *rig) declare(text ...string) {
	r.t.Helper()
	if err := r.solo.Begin(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	all := `{apiVersion: relight/v1alpha1, kind: Policy, metadata: {name: default}, spec: {mode: auto, oneSource: fence, budget: {steps: 10000, window: 10m}, storm: {hosts: 1000}}}
`
	for _, s := range text {
		all += "---\n" + s
	}
	if err := r.solo.Apply(context.Background(), "eve", "spec.yaml", all); err != nil {
		r.t.Fatal(err)
	}
}

// licence is the spec of a server as people write it, with its resources made.
func (r *rig) licence(extra ...string) (string, string) {
	s := r.server()
	id := s.Spec.Identity
	return s.Name, fmt.Sprintf(`apiVersion: relight/v1alpha1
kind: Server
metadata: {name: %s}
spec:
  identity:
    volumes: [{name: data, id: %s}]
    interfaces: [{id: %s, index: 1}]
    addresses: [{ip: %s, allocation: %s}]
    groups: [{id: "%s"}]
    names: [{name: %s, zone: Z1}]
  template:
    ec2: {launchTemplate: %s, version: 1, subnet: subnet-a, types: [m6i.large]%s}
`, s.Name, id.Volumes[0].ID, id.Interfaces[0].ID, id.Addresses[0].IP, id.Addresses[0].Allocation, id.Groups[0].ID, id.Names[0].Name, r.lt, strings.Join(extra, ""))
}

// second lets a second pass: the world, a sweep, all that is due.
func (r *rig) second(n int) {
	ctx := context.Background()
	r.locked(func() { r.w.Advance(time.Second) })
	if n%2 == 0 {
		if err := r.solo.Reign.Renew(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
	if n%5 == 0 {
		_ = r.solo.Sweep(ctx) // a sweep that fails has seen nothing, which tests ask for
	}
	r.solo.AskStore(ctx)
	for _, name := range sortedKeys(r.solo.Healer.Turns) {
		for _, server := range r.solo.Healer.Turns[name].Due() {
			r.solo.Deadlines.Wake(server, r.now())
		}
	}
	for _, name := range r.solo.Due() {
		w, _, err := r.solo.Advance(ctx, name)
		if err != nil {
			r.t.Fatal(err)
		}
		if w == nil {
			continue
		}
		out, stepErr := r.solo.Healer.Perform(ctx, w)
		if stepErr != nil {
			r.failed = append(r.failed, stepErr)
		}
		if testing.Verbose() {
			r.t.Logf("%s %s: %s -> %s %v", r.now().Format("15:04:05"), w.Call.Step.Kind, w.Call.Step.Why, out.Detail, stepErr)
			r.t.Logf("  because %s", r.solo.Look(w.Name).Finding)
		}
		if r.dies != nil && r.dies(w.Call.Step) {
			continue
		}
		if err := r.solo.Finish(ctx, w, out, stepErr); err != nil {
			r.t.Fatal(err)
		}
	}
}

// until lets time pass until cond holds.
func (r *rig) until(most time.Duration, what string, cond func() bool) {
	r.t.Helper()
	for n := range int(most / time.Second) {
		if cond() {
			return
		}
		r.second(n)
	}
	for _, s := range r.solo.State.Servers() {
		look := r.solo.Look(s.Name)
		st := r.solo.State.Status(s.Name)
		r.t.Logf("%s: epoch %d, %s (%s); %s [%s]", s.Name, st.Epoch, look.Verdict, look.Finding, look.Reason, look.Gate)
	}
	r.t.Fatalf("after %s: never came: %s\n%s", most, what, r.calls())
}

// during lets time pass and demands that cond holds all the while.
func (r *rig) during(d time.Duration, what string, cond func() bool) {
	r.t.Helper()
	for n := range int(d / time.Second) {
		r.second(n)
		if !cond() {
			r.t.Fatalf("after %ds no more: %s\n%s", n, what, r.calls())
		}
	}
}

func (r *rig) status(name string) fleet.Status { return r.solo.State.Status(name) }

func (r *rig) healthy(name string, epoch fleet.Epoch) func() bool {
	return func() bool {
		s := r.status(name)
		return s.Epoch == epoch && s.Verdict == fleet.Healthy && s.Recovery == nil
	}
}

func (r *rig) machine(name string) *world.Instance {
	return r.w.Find(name, r.status(name).Epoch)
}

// calls are the last changing calls of the ledger, for people.
func (r *rig) calls() string {
	var out []string
	for _, e := range r.fake.Ledger() {
		if !strings.HasPrefix(e.Action, "Describe") && !strings.HasPrefix(e.Action, "GET") {
			out = append(out, fmt.Sprintf("%s %s %s", e.At.Format("15:04:05"), e.Action, e.Code))
		}
	}
	return strings.Join(out[max(0, len(out)-40):], "\n")
}

// count counts the calls of an action that were carried out.
func (r *rig) count(actions ...string) (n int) {
	for _, e := range r.fake.Ledger() {
		if slices.Contains(actions, e.Action) && e.Code == "" {
			n++
		}
	}
	return n
}

// born declares one server and waits until it works.
func (r *rig) born(extra ...string) string {
	r.t.Helper()
	name, text := r.licence(extra...)
	r.declare(text)
	r.until(5*time.Minute, name+" works for the first time", r.healthy(name, 1))
	return name
}

func TestFirstLife(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	if got := r.w.Running(name); got[1] != 1 || len(got) != 1 {
		t.Errorf("running %v", got)
	}
	r.until(time.Minute, "its name leads to it", func() bool { v, _, _ := r.w.Resolve(name + ".example.com"); return v != "" })
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
