package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/cli"
	"relight/internal/simulate"
)

// site is a world of three hosts and two servers in which a lot goes wrong.
const site = `A server dies just before all has to be at rest again.
-- world --
for 5m0s
settle %s
delay start 1m40s..1m40s
loss 1%%
host host-1
host host-2
host host-3
-- spec.yaml --
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: db}
spec: {mode: auto, template: {sim: {}}}
---
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: web}
spec: {mode: auto, template: {sim: {}}}
-- faults --
at 2m20s for 10s api any throttle 30%%
at 2m25s for 5s host host-3 cut peers
at 2m30s for 5s host host-2 cut in
at 3m10s for 5s store NAME down
at 4m59s server db killed
`

// tooShort is the seed that leaves its servers one second to come back: it breaks L1,
// whatever the product does.
const tooShort = 2

func siteOf(seed uint64) simulate.Scenario {
	settle := "5m0s"
	if seed == tooShort {
		settle = "1s"
	}
	story, err := simulate.ParseStory("site", fmt.Appendf(nil, site, settle))
	if err != nil {
		panic(err)
	}
	story.Seed = seed
	return story.Scenario
}

// sim runs a command of the simulator on the sites of siteOf.
func sim(ctx context.Context, args ...string) (client.Exit, string, string) {
	var out, errs bytes.Buffer
	code := cli.Run(ctx, cli.Deps{In: strings.NewReader(""), Out: &out, Err: &errs, Env: func(string) string { return "" }, Extra: []*cobra.Command{simCommandOf(siteOf)}}, append([]string{"sim"}, args...))
	return code, out.String(), errs.String()
}

// keysOf are the keys of the one JSON object that a command printed.
func keysOf(t *testing.T, out string) (map[string]any, []string) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return got, slices.Sorted(maps.Keys(got))
}

// Scripts read these five keys, and nothing else is on standard output.
func TestSimRunPrintsOneObject(t *testing.T) {
	code, out, errs := sim(t.Context(), "run", "--seeds", "2", "--json")
	got, keys := keysOf(t, out)
	if want := []string{"fault_step_coverage", "seeds", "simulated_hours", "violations", "wall_seconds"}; code != client.ExitOK || !slices.Equal(keys, want) {
		t.Errorf("exit %d, the keys are %v, want %v\n%s", code, keys, want, errs)
	}
	if got["seeds"] != 2.0 || got["violations"] != 0.0 || got["simulated_hours"].(float64) < 2*300.0/3600 || got["fault_step_coverage"].(float64) <= 0 || got["wall_seconds"].(float64) <= 0 {
		t.Errorf("it says %s", out)
	}
	code, out, errs = sim(t.Context(), "run", "--seeds", "2")
	if code != client.ExitOK || !regexp.MustCompile(`^2 seeds, 0\.\d simulated hours in \d+\.\d s, 0 broken\n\d+% of the pairs of a fault and a step have met\n$`).MatchString(out) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// A large fleet tells of itself in one object, too.
func TestSimRunOfALargeFleet(t *testing.T) {
	code, out, errs := sim(t.Context(), "run", "--servers", "100", "--fault", "rack", "--seed", "3", "--json")
	got, keys := keysOf(t, out)
	want := strings.Fields("begun build bytes fault firstBegun held hosts lastHealed load peak phases scan seed servers stuck sweep throttled trace verdicts violations")
	if code != client.ExitOK || !slices.Equal(keys, want) {
		t.Errorf("exit %d, the keys are %v, want %v\n%s", code, keys, want, errs)
	}
	if got["servers"] != 100.0 || got["fault"] != "rack" || got["seed"] != 3.0 || got["stuck"] != 0.0 || got["violations"] != nil {
		t.Errorf("it says %s", out)
	}
}

// One seed alone shows its whole timeline, and the trace that it has on any machine.
func TestSimRunShowsOneSeed(t *testing.T) {
	code, out, errs := sim(t.Context(), "run", "--seed", "7")
	if code != client.ExitOK || !strings.Contains(out, "299.000s fault     server db killed\n") || !strings.Contains(out, "end       web: running healthy") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	trace := regexp.MustCompile(`\ntrace     ([0-9a-f]{16})\n$`).FindStringSubmatch(out)
	if trace == nil {
		t.Fatalf("it prints no trace: %s", out)
	}
	code, out, _ = sim(t.Context(), "run", "--seed", "7", "--json")
	if got, _ := keysOf(t, out); code != client.ExitOK || len(got) != 6 || got["seeds"] != 1.0 || got["wall_seconds"].(float64) <= 0 || got["trace"] != trace[1] {
		t.Errorf("exit %d, the trace is %v: %s", code, trace, out)
	}
	if _, other, _ := sim(t.Context(), "run", "--seed", "8"); strings.Contains(other, trace[0]) {
		t.Error("another seed has the same trace")
	}
}

// A broken promise ends with its replay line, with a story that is smaller than what was
// drawn and breaks again, and with an exit code that a script sees.
func TestSimRunShrinksWhatBreaks(t *testing.T) {
	for _, how := range [][]string{{"--seeds", "4"}, {"--seed", fmt.Sprint(tooShort)}} {
		dir := t.TempDir()
		code, out, errs := sim(t.Context(), append([]string{"run", "--json", "--stories", dir}, how...)...)
		if got, _ := keysOf(t, out); code != client.ExitFailed || got["violations"] != 1.0 {
			t.Errorf("%v: exit %d: %s", how, code, out)
		}
		file := filepath.Join(dir, "broken-l1-seed-2.txtar")
		for _, want := range []string{"broken: L1: ", "\n  relight sim run --seed 2\n", "  shrunk to 1 faults: relight sim play " + file + "\n", "\nnext: relight sim play " + file + "\n"} {
			if !strings.Contains(errs, want) {
				t.Errorf("%v: it does not say %q:\n%s", how, want, errs)
			}
		}
		code, out, errs = sim(t.Context(), "play", file)
		if code != client.ExitFailed || !strings.Contains(out, "\nviolation L1: ") || !strings.Contains(errs, "a promise was broken") {
			t.Errorf("%v: played again: exit %d: %s%s", how, code, out, errs)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		story, err := simulate.ParseStory(file, text)
		if err != nil {
			t.Fatal(err)
		}
		if len(story.Faults) != 1 || len(story.Hosts) == 3 || strings.Contains(story.Spec, "db") == strings.Contains(story.Spec, "web") || story.Loss != 0 || !strings.Contains(story.Comment, "relight sim run --seed 2") {
			t.Errorf("%v: it is not small:\n%s", how, text)
		}
	}
}

// A hunt by the clock runs what fits: here each scenario takes seven seconds to draw.
func TestSimRunForMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, errs bytes.Buffer
		slow := func(seed uint64) simulate.Scenario {
			<-time.After(7 * time.Second)
			return siteOf(tooShort + 1 + seed)
		}
		code := cli.Run(t.Context(), cli.Deps{Out: &out, Err: &errs, Env: func(string) string { return "" }, Extra: []*cobra.Command{simCommandOf(slow)}},
			[]string{"sim", "run", "--minutes", "1", "--workers", "1", "--json"})
		if got, _ := keysOf(t, out.String()); code != client.ExitOK || got["seeds"] != 9.0 || got["wall_seconds"] != 63.0 {
			t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
		}
		// A log gets a line each half minute.
		if !regexp.MustCompile(`^1 seeds, .* broken\n6 seeds, .* broken\n\n$`).MatchString(errs.String()) {
			t.Errorf("it tells its progress as %q", errs.String())
		}
	})
}

// Who is interrupted has fewer seeds than were asked for, and says so by the exit code.
func TestSimRunIsInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if code, out, errs := sim(ctx, "run", "--seeds", "100000", "--json", "--stories", t.TempDir()); code != client.ExitInterrupted {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// What cannot be played is said in one line, and is no broken promise.
func TestSimPlayRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wrong.txtar")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(fmt.Sprintf(site, "5m0s"), "killed", "exploded")), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := sim(t.Context(), "play", file)
	if code != client.ExitFailed || out != "" || !strings.Contains(errs, `wrong.txtar/faults:5: "at 4m59s server db exploded": a server does not "exploded"`) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, _, _ := sim(t.Context(), "play"); code != client.ExitUsage {
		t.Errorf("without a story: exit %d", code)
	}
}
