package peers

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"relight/internal/bench/detector"
)

var (
	full    = flag.Float64("full", 0.15, "how much to simulate: 1 takes half an hour of processor time, 0.15 some minutes, 0.02 shows that it runs")
	members = flag.Int("members", 100, "members of each cluster")
	rowsTo  = flag.String("rows", "../detector.json", "file for the rows that relight bench adds to its own; empty for none")
	plotTo  = flag.String("plot", "../../docs/bench/detector.svg", "file for the plot; empty for none")
)

// trials of an observer's faults are made from enoughTrials of full on.
const (
	trials       = 10_000
	enoughTrials = 0.15
)

// suffering is a scenario and how much of it is simulated.
type suffering struct {
	detector.Scenario
	minutes float64 // of each memberlist cluster
	lan     float64 // minutes of memberlist LAN, if not the same
	hours   float64 // of our fleet, with the settings that are seldom wrong
}

func scenarios() []suffering {
	return []suffering{
		{detector.Scenario{Name: "no loss"}, 15, 0, 1},
		{detector.Scenario{Name: "loss 10 %", Loss: 0.1}, 10, 0, 1},
		{detector.Scenario{Name: "loss 20 %", Loss: 0.2}, 6, 0, 1},
		{detector.Scenario{Name: "loss 30 %", Loss: 0.3}, 6, 60, 80},
		{detector.Scenario{Name: "bursts", Burst: time.Second, BurstShare: 0.1}, 6, 0, 1},
		{detector.Scenario{Name: "starved", Starved: 0.2}, 6, 0, 2},
	}
}

// minutesOf is how long a cluster is watched: most members of memberlist LAN are so
// seldom wrong at once that it takes a hundred member-hours to bound it from below.
func minutesOf(s suffering, name string) float64 {
	if name == lan && s.lan > 0 {
		return s.lan
	}
	return s.minutes
}

func peer(name string) func(*memberlist.Config) {
	return func(c *memberlist.Config) {
		if name == plainSWIM {
			c.AwarenessMaxMultiplier, c.SuspicionMaxTimeoutMult = 1, 1
		}
	}
}

const (
	lan       = "memberlist LAN"
	plainSWIM = "near-plain SWIM"
)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// hasty settings are wrong so often that minutes tell; the others need hours.
func hasty() []detector.Setting {
	return []detector.Setting{
		{Name: "0.5 s / 0.3 s", Suspect: ms(500), Down: ms(300)},
		{Name: "1 s / 0.6 s", Suspect: ms(1000), Down: ms(600)},
		{Name: "1.5 s / 1.5 s", Suspect: ms(1500), Down: ms(1500)},
	}
}

func calm() []detector.Setting {
	return []detector.Setting{
		{Name: "2 s / 3 s", Suspect: ms(2000), Down: ms(3000)},
		{Name: defaults, Suspect: ms(3000), Down: ms(5000)},
		{Name: "6 s / 10 s", Suspect: ms(6000), Down: ms(10000)},
		{Name: "10 s / 15 s", Suspect: ms(10000), Down: ms(15000)},
		{Name: withStorage, Suspect: ms(3000), Down: ms(5000), Storage: true},
	}
}

const (
	defaults    = "3 s / 5 s"
	withStorage = "3 s / 5 s, storage heartbeat"
)

// TestDetector measures everything, prints the table and writes rows and plot.
func TestDetector(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	var all collected
	t.Run("measure", func(t *testing.T) {
		for _, s := range scenarios() {
			for _, name := range []string{lan, plainSWIM} {
				t.Run(name+" "+s.Name, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						got, err := run(plan{
							scenario: s.Scenario, members: *members, seed: 1, tune: peer(name), settle: 30 * time.Second,
							length: time.Duration(*full * minutesOf(s, name) * float64(time.Minute)), kills: min(10, max(1, int(10**full))),
						})
						if err != nil {
							t.Fatal(err)
						}
						all.add(ofPeer(s.Name, name, got)...)
					})
				})
			}
			t.Run("Relight "+s.Name, func(t *testing.T) {
				t.Parallel()
				all.add(ours(s)...)
			})
		}
		t.Run("faults of the observer", func(t *testing.T) {
			t.Parallel()
			all.faults = observerFaults()
		})
	})
	if t.Failed() {
		return
	}
	fmt.Println(all.table())
	fmt.Println(all.faultTable())
	write(t, *plotTo, []byte(all.plot()))
	raw, err := json.MarshalIndent(all.rows(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	write(t, *rowsTo, append(raw, '\n'))
	for _, f := range all.faults {
		if f.recoveries > 0 {
			// A measurement, not a check: the row says whether the goal is met.
			t.Logf("an observer's own fault started %d recoveries: %s", f.recoveries, f.first)
		}
	}
}

func write(t *testing.T, to string, content []byte) {
	t.Helper()
	if to == "" {
		return
	}
	if err := os.WriteFile(to, content, 0o644); err != nil { //nolint:gosec // for everyone
		t.Fatal(err)
	}
}

// ours runs our fleet, an hour and a seed at a time.
func ours(s suffering) []result {
	var out []result
	for _, part := range []struct {
		settings []detector.Setting
		hours    float64
	}{{hasty(), 0.2}, {calm(), s.hours}} {
		var sum []*detector.Tally
		for left, seed := part.hours**full, uint64(1); left > 1e-9; left, seed = left-1, seed+1 {
			got := detector.Run(detector.Plan{
				Scenario: s.Scenario, Members: *members, Seed: seed, Settings: part.settings,
				Length: time.Duration(min(left, 1) * float64(time.Hour)), Kills: killsOf(seed),
			})
			if sum == nil {
				sum = got
				continue
			}
			for i := range sum {
				sum[i].Add(got[i])
			}
		}
		for _, t := range sum {
			out = append(out, ofOurs(s.Name, t))
		}
	}
	return out
}

// killsOf lets members die in the first run only.
func killsOf(seed uint64) int {
	if seed == 1 {
		return max(1, int(40**full))
	}
	return 0
}

// fault is what became of the trials of one kind.
type fault struct {
	name       detector.Fault
	setting    string
	trials     int
	recoveries int
	first      string
}

// observerFaults runs the trials on all the time that is left.
func observerFaults() []fault {
	settings := calm()[1:2]
	settings = append(settings, calm()[4])
	var out []fault
	at := map[string]int{}
	for seed := range uint64(trials * min(1, *full/enoughTrials)) {
		trial := detector.RunTrial(seed, settings)
		for k, n := range trial.Recoveries {
			key := string(trial.Fault) + settings[k].Name
			i, ok := at[key]
			if !ok {
				i = len(out)
				at[key] = i
				out = append(out, fault{name: trial.Fault, setting: settings[k].Name})
			}
			out[i].trials++
			out[i].recoveries += n
			if n > 0 && out[i].first == "" {
				out[i].first = trial.First
			}
		}
	}
	return out
}

// collected are all results, safe to add to from parallel tests.
type collected struct {
	mu      sync.Mutex
	results []result
	faults  []fault
}

func (c *collected) add(r ...result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.results = append(c.results, r...)
}

// TestTheNetworkIsSeen shows in a few seconds that a cluster in the bubble finds a
// death, and that the network's faults reach it.
func TestTheNetworkIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := run(plan{members: 10, seed: 1, length: time.Minute, kills: 1, tune: peer(lan)})
		if err != nil {
			t.Fatal(err)
		}
		if got.any != 0 || len(got.all) != 1 || got.missed != 0 {
			t.Errorf("without loss: %+v", *got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		deaf := detector.Scenario{Burst: time.Minute, BurstShare: 0.3}
		got, err := run(plan{scenario: deaf, members: 10, seed: 1, length: 5 * time.Minute, tune: peer(lan)})
		if err != nil {
			t.Fatal(err)
		}
		if got.any == 0 {
			t.Errorf("outages of a minute were not noticed: %+v", *got)
		}
	})
}

func TestTheTableIsWhole(t *testing.T) {
	var c collected
	c.add(
		ofPeer("loss 30 %", lan, &tally{memberHours: 10, any: 18, most: 1, first: []time.Duration{ms(9000)}, median: []time.Duration{ms(10000)}, all: []time.Duration{ms(11000)}, packets: 25})...,
	)
	c.add(ofOurs("loss 30 %", &detector.Tally{Setting: calm()[1], MemberHours: 1000, Detected: []time.Duration{ms(2900)}, Packets: 33}))
	for _, want := range []string{"1,800,000", "0 seen, < 2,996", "10.0", "2.9"} {
		if !strings.Contains(c.table(), want) {
			t.Errorf("the table lacks %q:\n%s", want, c.table())
		}
	}
	if svg := c.plot(); !strings.Contains(svg, "</svg>") || strings.Contains(svg, "NaN") {
		t.Errorf("the plot is broken:\n%s", svg)
	}
}
