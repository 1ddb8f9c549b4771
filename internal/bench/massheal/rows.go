package massheal

import (
	"context"
	"fmt"
	"slices"
	"time"

	"relight/internal/beat/beatbench"
)

// Row is one result.
type Row = beatbench.Row

// Zone is the mass failure that is measured: 10,000 servers in 200 waves, one call
// in a hundred fails, and two types run out of capacity while everybody relaunches.
func Zone(seed uint64, strict bool) Scenario {
	return Scenario{
		Servers: 10_000, Waves: 200, Seed: seed, Errors: 0.01, Strict: strict,
		Shortages: []Shortage{
			{Type: 1, From: 2 * time.Minute, To: 7 * time.Minute},
			{Type: 4, From: 10 * time.Minute, To: 13 * time.Minute},
		},
	}
}

// seeds is how many runs each median is of.
const seeds = 3

// Rows measures the recovery of a zone, in virtual time: the median of three seeds,
// and the naive workers on the same.
func Rows(ctx context.Context) ([]Row, error) {
	var out []Row
	for _, strict := range []bool{false, true} {
		var ours, naive []Result
		for seed := range uint64(seeds) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			r, err := Run(Zone(seed+1, strict))
			if err != nil {
				return nil, err
			}
			ours = append(ours, r)
			naive = append(naive, RunNaive(Zone(seed+1, strict), strict))
		}
		out = append(out, rowsOf(Zone(1, strict), ours, naive)...)
	}
	growth, err := HalfDown(ctx, grown, 1)
	return append(out, growth...), err
}

// HalfDown measures what half a fleet of n costs that is down at once, at a pace of
// [MeasureGrowth].
func HalfDown(ctx context.Context, n, pace int) ([]Row, error) {
	g, err := MeasureGrowth(ctx, n, pace)
	if err != nil {
		return nil, err
	}
	half := fmt.Sprintf("half of %d ", n)
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	return []Row{
		against(half+"down and held by the budget", "CPU-ms/s", "<= 1.3 x steady", "steady state", ms(g.Held), ms(g.Steady)),
		against(half+fmt.Sprintf("falling, over %s", fallen*time.Duration(pace)), "CPU-ms/s", "", "steady state", ms(g.Fall), ms(g.Steady)),
		against(half+"down and held: passes", "1/s", "<= 1.3 x steady", "steady state", g.HeldPasses, g.SteadyPasses),
	}, nil
}

// grown is the fleet of the growth rows: what they count grows in proportion, and
// a larger one takes minutes.
const grown = 20_000

func rowsOf(s Scenario, ours, naive []Result) []Row {
	name, workers := "mass heal, launched ahead of the waves: ", "256 workers with SDK back-off, no waves kept"
	if s.Strict {
		name, workers = "mass heal, wave by wave: ", "256 workers with SDK back-off, wave by wave"
	}
	floor, top := Floor(s).Seconds(), TopFloor(s).Seconds()
	total := func(r Result) float64 { return r.Total.Seconds() }
	first := func(r Result) float64 { return r.Top.Seconds() }
	refused := func(r Result) float64 { return 100 * r.Throttled }
	rows := []Row{
		against(name+"10,000 servers", "s", "<= 1.05 x floor", "floor of the quotas", median(ours, total), floor),
		against(name+"10,000 servers, worst seed", "s", "<= 1.05 x floor", "floor of the quotas", worst(ours, total), floor),
		against(name+"the 100 most important", "s", "<= 1.05 x floor", "their own floor", median(ours, first), top),
		against(name+"the 100 most important, worst seed", "s", "<= 1.05 x floor", "their own floor", worst(ours, first), top),
		against(name+"refused for want of tokens", "% of calls", "<= 1", workers, median(ours, refused), median(naive, refused)),
		against(name+"10,000 servers, against naive", "s", "", workers, median(ours, total), median(naive, total)),
		against(name+"the 100 most important, against naive", "s", "", workers, median(ours, first), median(naive, first)),
		against(name+"foretold by the plan", "s", "", "as it went", median(ours, func(r Result) float64 { return r.Foretold.Seconds() }), median(ours, total)),
	}
	if s.Strict {
		return rows
	}
	return append(rows,
		Row{Name: "mass heal: planning 10,000 servers in 200 waves", Unit: "CPU-s", Goal: "<= 1", Value: worst(ours, func(r Result) float64 { return r.Compile.Seconds() })},
		Row{Name: "mass heal: giving out all tokens", Unit: "CPU-s", Goal: "<= 1", Value: worst(ours, func(r Result) float64 { return r.Schedule.Seconds() })},
	)
}

func against(name, unit, goal, peer string, value, than float64) Row {
	r := Row{Name: name, Value: value, Unit: unit, Goal: goal, Peer: peer, PeerValue: than}
	if than != 0 {
		r.Ratio = value / than
	}
	return r
}

func sorted(results []Result, of func(Result) float64) []float64 {
	var out []float64
	for _, r := range results {
		out = append(out, of(r))
	}
	slices.Sort(out)
	return out
}

func median(results []Result, of func(Result) float64) float64 {
	all := sorted(results, of)
	return all[len(all)/2]
}

func worst(results []Result, of func(Result) float64) float64 {
	all := sorted(results, of)
	return all[len(all)-1]
}
