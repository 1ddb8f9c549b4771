package detector

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Plan is one simulated fleet, watched by several detectors at once.
type Plan struct {
	Scenario Scenario
	Members  int
	Seed     uint64
	// Length is how long mistakes are counted; Kills hosts die, one by one, after it.
	Length   time.Duration
	Kills    int
	Settings []Setting
	// BeatEvery is the product's default if zero.
	BeatEvery time.Duration
}

// Tally is what one detector did.
type Tally struct {
	Setting     Setting
	MemberHours float64
	// Mistakes is how often a live server was judged down; Healthy leaves out those on
	// hosts that were starved. Lasted are their lengths.
	Mistakes, Healthy int
	Lasted            []time.Duration
	// Detected are the times from deaths to verdicts; Missed deaths had none.
	Detected []time.Duration
	Missed   int
	// Packets is what a member, with its share of the controller's, sends in a second.
	Packets float64

	open int
	last map[int]time.Duration
}

// settle is how long a fleet runs before anything counts; killPace is the time
// between two deaths and deadFor how long a dead host stays so.
const (
	settle   = 10 * time.Second
	killPace = 150 * time.Second
	deadFor  = 120 * time.Second
)

// Run simulates the fleet and returns the tallies in the order of the settings.
func Run(p Plan) []*Tally {
	total := settle + p.Length + time.Duration(p.Kills)*killPace + settle
	net := NewNetwork(p.Scenario, p.Members, 1, total, p.Seed)
	w := newWorld(p, net)
	w.planKills(settle + p.Length)
	w.count(false)
	w.run(settle)
	w.count(true)
	before := w.packets
	w.run(settle + p.Length)
	sent := w.packets - before
	w.count(false)
	w.run(total)
	var out []*Tally
	for _, o := range w.observers {
		t := o.tally
		t.MemberHours = p.Length.Hours() * float64(p.Members)
		t.Missed = min(p.Kills, p.Members) - len(t.Detected)
		t.Packets = float64(sent) / float64(p.Members) / max(p.Length.Seconds(), 1)
		out = append(out, t)
	}
	return out
}

func (w *world) count(on bool) {
	for _, o := range w.observers {
		o.counts = on
	}
}

// planKills lets hosts that are not starved die at random phases, and come back.
func (w *world) planKills(from time.Duration) {
	rng := rand.New(rand.NewPCG(w.plan.Seed, 77)) //nolint:gosec // a simulation repeats itself by its seed
	n := 0
	for _, i := range rng.Perm(w.plan.Members) {
		if n == w.plan.Kills || w.net.Starved(i) {
			continue
		}
		at := from + time.Duration(n)*killPace + time.Duration(rng.Int64N(int64(10*time.Second)))
		w.dead[i] = []span{{at, at + deadFor}}
		n++
	}
}

// Add joins the tallies of two runs of one setting.
func (t *Tally) Add(o *Tally) {
	t.MemberHours += o.MemberHours
	t.Mistakes += o.Mistakes
	t.Healthy += o.Healthy
	t.Lasted = append(t.Lasted, o.Lasted...)
	t.Detected = append(t.Detected, o.Detected...)
	t.Missed += o.Missed
	t.Packets = max(t.Packets, o.Packets)
}

// UpperBound is the one-sided 95 % upper bound of a Poisson mean of which count
// was seen. Nothing seen is 3, not 0.
func UpperBound(count int) float64 { return bound(count, 0.05) }

// LowerBound is the one-sided 95 % lower bound.
func LowerBound(count int) float64 {
	if count == 0 {
		return 0
	}
	return bound(count-1, 0.95)
}

// bound finds the mean at which at most count is seen with probability p.
func bound(count int, p float64) float64 {
	low, high := 0.0, float64(count)*3+20
	for range 100 {
		mid := (low + high) / 2
		sum := 0.0
		for k := 0; k <= count; k++ {
			lg, _ := math.Lgamma(float64(k + 1))
			sum += math.Exp(float64(k)*math.Log(mid) - mid - lg)
		}
		if sum > p {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// Quantile returns the smallest of the values that at least the share q of them
// does not exceed; 0 for none.
func Quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
