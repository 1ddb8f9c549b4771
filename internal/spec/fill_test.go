package spec

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relight/internal/core/fleet"
)

func policy(name, spec string) string {
	return fmt.Sprintf("---\napiVersion: relight/v1alpha1\nkind: Policy\nmetadata: {name: %s}\nspec: %s\n", name, spec)
}

func parse(t *testing.T, text string) []Doc {
	t.Helper()
	docs, err := Parse(File{"a.yaml", []byte(text)})
	if err != nil {
		t.Fatalf("\n%v", err)
	}
	return docs
}

func effective(t *testing.T, server string, policies ...string) fleet.Server {
	t.Helper()
	p, err := NewPolicies(parse(t, policy("unrelated", "{}")+strings.Join(policies, "")))
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Effective(parse(t, "apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: web-1}\nspec: "+server)[0])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServerWinsOverPolicyOverDefaultOverDefaults(t *testing.T) {
	s := effective(t, "{template: {sim: {}}, policy: named, approvals: 4}",
		policy("default", "{approvals: 2, fence: power, isolatedFor: 1m, mode: ask}"),
		policy("named", "{approvals: 3, fence: storage, isolatedFor: 0s}"))
	got := []any{s.Spec.Approvals, s.Spec.Fence, s.Spec.IsolatedFor, s.Spec.Mode, s.Spec.OneSource}
	want := []any{4, fleet.FenceStorage, fleet.Duration(0), fleet.Ask, fleet.OneSourceHold}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultsNeedNoPolicy(t *testing.T) {
	s := effective(t, "{template: {process: {command: [/bin/true]}}, identity: {volumes: [{name: a, path: /a}]}}")
	if s.Spec.Provider != "onprem" || s.Spec.Placement.Units != 1 || s.Spec.Mode != fleet.Observe ||
		s.Spec.Identity.Volumes[0].Reach != fleet.ReachHost || s.Spec.Template.Process.StopGrace.Std() != 10*time.Second {
		t.Errorf("%+v", s)
	}
	s = effective(t, "{template: {sim: {}}, identity: {volumes: [{name: a, id: v}]}}")
	if s.Spec.Provider != "sim" || s.Spec.Identity.Volumes[0].Reach != fleet.ReachZone {
		t.Errorf("%+v", s)
	}
}

func TestOwnCheckReplacesThePolicys(t *testing.T) {
	base := policy("default", `{health: {check: {http: "http://a/", interval: 2s}}}`)
	for server, want := range map[string]fleet.Check{
		"{}":                                       {HTTP: "http://a/"},
		`{health: {check: {tcp: "b:80"}}}`:         {TCP: "b:80"},
		`{health: {check: {exec: [/bin/x]}}}`:      {Exec: []string{"/bin/x"}},
		`{health: {check: {beat: true}}}`:          {Beat: true},
		`{health: {check: {beat: false}}}`:         {},
		`{health: {check: {timeout: 4s}}}`:         {HTTP: "http://a/"},
		`{health: {check: {http: "http://b/"}}}`:   {HTTP: "http://b/"},
		`{health: {suspectAfter: 9s, check: {} }}`: {HTTP: "http://a/"},
	} {
		s := effective(t, strings.Replace(server, "{", "{template: {sim: {}}, ", 1), base)
		got := s.Spec.Health.Check
		if got.Interval.Std() != 2*time.Second {
			t.Errorf("%s: interval %s", server, got.Interval)
		}
		got.Interval, got.Timeout = 0, 0
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", server, diff)
		}
	}
}

// TestServersShareNoMemory fails if a server's lists are decoded into those of
// its policy: then one server's ladder would become everybody's.
func TestServersShareNoMemory(t *testing.T) {
	docs := parse(t, strings.Join([]string{
		policy("default", "{ladder: {rungs: [{rung: restartApp, tries: 1}, {rung: relaunch, tries: 2}]}, health: {check: {exec: [/bin/a, b, c]}}}"),
		policy("named", "{ladder: {rungs: [{rung: reboot, tries: 5}]}}"),
		"---\napiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: a}\nspec: {template: {sim: {}}, ladder: {rungs: [{rung: move, tries: 9}]}, health: {check: {exec: [/bin/z]}}}\n",
		"---\napiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: b}\nspec: {template: {sim: {}}}\n",
	}, ""))
	p, err := NewPolicies(docs)
	if err != nil {
		t.Fatal(err)
	}
	want := p.Fleet()
	if _, err := p.Effective(docs[2]); err != nil {
		t.Fatal(err)
	}
	s, err := p.Effective(docs[3])
	if err != nil {
		t.Fatal(err)
	}
	s.Spec.Ladder.Rungs[0].Tries = 77
	s.Spec.Health.Check.Exec[0] = "changed"
	if diff := cmp.Diff(want, p.Fleet()); diff != "" {
		t.Error(diff)
	}
	again, err := NewPolicies(nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(again.Fleet().Spec.Ladder.Rungs); n != 5 {
		t.Errorf("the defaults have %d rungs now", n)
	}
}

func TestEffectiveNamesWhatItCannotUse(t *testing.T) {
	p, err := NewPolicies(nil)
	if err != nil {
		t.Fatal(err)
	}
	docs := parse(t, "apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: a}\nspec: {template: {sim: {}}, policy: gone}\n"+policy("x", "{}"))
	if _, err := p.Effective(docs[0]); !errors.Is(err, ErrUnknownPolicy) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Effective(docs[1]); !errors.Is(err, ErrNotDoc) {
		t.Errorf("got %v", err)
	}
	if _, err := Site(docs[0]); !errors.Is(err, ErrNotDoc) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyTheDefaultPolicyCarriesGuards(t *testing.T) {
	set, err := Resolve(parse(t, policy("default", "{budget: {steps: 0, keepAlive: 3}}")+policy("named", "{mode: ask}")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b := set.Fleet.Spec.Budget; b.Steps != 0 || b.KeepAlive != 3 || b.Window != defaultWindow || set.Fleet.Spec.Storm.Hosts != 2 {
		t.Errorf("%+v", set.Fleet.Spec)
	}
	if diff := cmp.Diff(set.Fleet, set.Policies[0]); diff != "" {
		t.Error(diff)
	}
	if named := set.Policies[1].Spec; named.Budget != (fleet.Budget{}) || named.Storm != (fleet.Storm{}) || named.Mode != fleet.Ask || named.Approvals != 1 {
		t.Errorf("%+v", named)
	}
}

func TestResolveSeesWhatExists(t *testing.T) {
	existing := parse(t, policy("careful", "{health: {check: {tcp: \"a:1\"}}}")+
		"---\napiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: dc-1}\nspec: {kind: zone}\n"+
		"---\napiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: old}\nspec: {template: {sim: {}}, policy: careful, identity: {addresses: [{ip: 10.0.0.1}]}}\n")
	for i, d := range existing { // as a store would give them back
		loaded, err := Load(d.Raw)
		if err != nil {
			t.Fatal(err)
		}
		existing[i] = loaded
	}
	fresh := parse(t, "apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: new}\nspec: {template: {sim: {}}, policy: careful, placement: {sites: [dc-1]}}\n")
	set, err := Resolve(fresh, existing)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Servers) != 1 || len(set.Sites)+len(set.Policies) != 0 || set.Servers[0].Spec.Health.Check.TCP != "a:1" {
		t.Errorf("%+v", set)
	}
	if _, err := Resolve(existing, existing); err != nil {
		t.Errorf("the same again is refused:\n%v", err)
	}
	breaking := parse(t, policy("careful", "{health: {suspectAfter: 1s, check: {tcp: \"a:1\"}}}"))
	_, err = Resolve(breaking, existing)
	if err == nil || !strings.Contains(err.Error(), "Server old: suspectAfter 1s is shorter") {
		t.Errorf("a policy that breaks an existing server: %v", err)
	}
	taken := parse(t, "apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: thief}\nspec: {template: {sim: {}}, identity: {addresses: [{ip: 10.0.0.1}]}}\n")
	if _, err := Resolve(taken, existing); err == nil || !strings.Contains(err.Error(), "belongs to Server old already") {
		t.Errorf("an address in use: %v", err)
	}
}

func BenchmarkEffective(b *testing.B) {
	p, err := NewPolicies(nil)
	if err != nil {
		b.Fatal(err)
	}
	docs, err := Parse(examples(b)...)
	if err != nil {
		b.Fatal(err)
	}
	for _, d := range docs {
		if d.Kind == KindServer && d.Name == "web-1" {
			for b.Loop() {
				if _, err := p.Effective(d); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}

// TestEC2TellsNoSooner keeps times that no reading of EC2 could meet from a server there.
func TestEC2TellsNoSooner(t *testing.T) {
	docs, err := Parse(File{"ec2.yaml", []byte(`{apiVersion: relight/v1alpha1, kind: Server, metadata: {name: a}, spec: {health: {suspectAfter: 1s, downAfter: 2m}, template: {ec2: {launchTemplate: lt-1, version: 1}}}}`)})
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPolicies(docs)
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Effective(docs[0])
	if err != nil {
		t.Fatal(err)
	}
	h := s.Spec.Health
	if h.SuspectAfter.Std() != 20*time.Second || h.DownAfter.Std() != 2*time.Minute || s.Spec.Ladder.VerifyWithin.Std() < 5*time.Minute {
		t.Errorf("health %+v, verifyWithin %s", h, s.Spec.Ladder.VerifyWithin)
	}
}
