package simulate

import (
	"testing"
	"time"
)

const twoServers = `
apiVersion: relight/v1alpha1
kind: Policy
metadata: {name: default}
spec:
  mode: auto
  isolatedFor: 30s
  health: {check: {http: "http://127.0.9.1:80/health", interval: 1s, timeout: 1s}, suspectAfter: 4s, downAfter: 4s, impairedAfter: 5s, startupGrace: 20s}
  ladder: {verifyWithin: 30s, backOff: 5s, maxBackOff: 1m, window: 1h}
---
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: db}
spec:
  provider: sim
  identity:
    volumes: [{name: data, path: /v/db, reach: machine}]
    addresses: [{ip: 127.0.9.1}]
  template: {sim: {}}
---
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: web}
spec:
  provider: sim
  identity:
    volumes: [{name: data, path: /v/web, reach: machine}]
    addresses: [{ip: 127.0.9.2}]
  template: {sim: {}}
`

func small(t *testing.T, world, faults string) Scenario {
	t.Helper()
	sc, err := ParseWorld("world", "site rack-1 rack\nhost host-1 in rack-1 power\nhost host-2 in rack-1 power\nhost host-3 in rack-1 power\n"+world)
	if err != nil {
		t.Fatal(err)
	}
	sc.Spec = twoServers
	for _, h := range sc.Hosts {
		sc.Spec += "---\napiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: " + h.Name + "}\nspec: {kind: host, parent: rack-1, power: {command: [/bin/false], plug: " + h.Name + "}}\n"
	}
	sc.Spec += "---\napiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: rack-1}\nspec: {kind: rack}\n"
	if sc.Faults, err = ParseFaults("faults", faults); err != nil {
		t.Fatal(err)
	}
	return sc
}

func TestRunHealsALostHost(t *testing.T) {
	sc := small(t, "for 3m\nsettle 5m\n", "at 30s host host-1 dies\n")
	begin := time.Now()
	r, err := Run(sc)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events in %s\n%s", r.Events, time.Since(begin), r.Print())
	if len(r.Violations) > 0 {
		t.Fatal(r.Violations)
	}
	again, err := Run(sc)
	if err != nil || again.Trace != r.Trace || again.Print() != r.Print() {
		t.Fatalf("a second run of the same seed went another way: %x and %x, %v", r.Trace, again.Trace, err)
	}
}

// A spec that the product refuses is the scenario's mistake, which ends it: tried for
// ever, it would pass for a run in which nothing went wrong.
func TestRefusedSpecEndsTheScenario(t *testing.T) {
	for name, spec := range map[string]string{
		"no such field":    "apiVersion: relight/v1alpha1\nkind: Policy\nmetadata: {name: default}\nspec: {mood: auto}\n",
		"no such provider": "apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: db}\nspec: {provider: onprem, template: {process: {command: [/bin/true]}}}\n",
	} {
		if _, err := Run(Scenario{Seed: 1, Style: Hosts, For: time.Minute, Spec: spec}); err == nil {
			t.Errorf("%s: the scenario was played", name)
		}
	}
}
