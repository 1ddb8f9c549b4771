package massheal

import (
	"testing"
	"time"

	"relight/internal/core/pace"
)

// small is a zone of 600 that is healed within a second of real time.
func small(strict bool) Scenario {
	return Scenario{
		Servers: 600, Waves: 12, Seed: 2, Errors: 0.01, Strict: strict,
		Shortages: []Shortage{{Type: 1, From: 150 * time.Second, To: 180 * time.Second}},
	}
}

// failures lists the goals that a run misses.
func failures(s Scenario, r Result) []string {
	var out []string
	for what, is := range map[string]bool{
		"unfinished": r.Finished != s.Servers,
		"slow":       r.Total.Seconds() > 1.05*Floor(s).Seconds(),
		"top":        r.Top.Seconds() > 1.05*TopFloor(s).Seconds(),
		"throttled":  r.Throttled > 0.01,
		"early":      r.Early > 0,
		"inversions": r.Inversions > 0,
		"planning":   r.Compile > time.Second,
	} {
		if is {
			out = append(out, what)
		}
	}
	return out
}

func TestSmallZone(t *testing.T) {
	for _, strict := range []bool{false, true} {
		s := small(strict)
		r, err := Run(s)
		if err != nil {
			t.Fatal(err)
		}
		if missed := failures(s, r); len(missed) > 0 {
			t.Errorf("strict %v: %v: %+v; floors %s and %s", strict, missed, r, Floor(s), TopFloor(s))
		}
	}
}

// The goals must be able to fail: each way to make the scheduler worse is seen.
func TestAWorseSchedulerIsSeen(t *testing.T) {
	rates := func(factor float64) func(*pace.Config) {
		return func(c *pace.Config) {
			for i := range c.APIs {
				c.APIs[i].Requests.PerSecond *= factor
			}
		}
	}
	for name, c := range map[string]struct {
		tune tuning
		want string
	}{
		"too slow":             {tuning{config: rates(0.9)}, "slow"},
		"too fast":             {tuning{config: rates(2)}, "throttled"},
		"no order":             {tuning{work: func(w *pace.Work) { w.Priority, w.Rank = 0, 0 }}, "inversions"},
		"no waves":             {tuning{work: func(w *pace.Work) { w.Wave = 0 }}, "early"},
		"the last first":       {tuning{work: func(w *pace.Work) { w.Priority, w.Rank = -w.Priority, -w.Rank }}, "top"},
		"few are begun":        {tuning{config: func(c *pace.Config) { c.InProgress = 40 }}, "slow"},
		"nobody may be begun":  {tuning{config: func(c *pace.Config) { c.InProgress = 1 }}, "slow"},
		"the quotas are wrong": {tuning{config: func(c *pace.Config) { c.APIs = nil }}, "throttled"},
	} {
		if c.tune.config == nil {
			c.tune.config = func(*pace.Config) {}
		}
		if c.tune.work == nil {
			c.tune.work = func(*pace.Work) {}
		}
		s := small(false)
		r, err := run(s, c.tune)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		missed := failures(s, r)
		for _, m := range missed {
			found = found || m == c.want
		}
		if !found {
			t.Errorf("%s: missed %v, want %s among them: %+v", name, missed, c.want, r)
		}
	}
}

// Naive workers reach the end too, but most of their calls are refused.
func TestNaiveWorkers(t *testing.T) {
	for _, waves := range []bool{false, true} {
		s := small(waves)
		r := RunNaive(s, waves)
		if r.Finished != s.Servers || r.Throttled < 0.1 || (r.Early == 0) != waves {
			t.Errorf("waves %v: %+v", waves, r)
		}
	}
}

func TestFloor(t *testing.T) {
	for n, want := range map[int]time.Duration{
		1:      terminateTakes + bootTakes + attachTakes + appTakes,
		10_000: terminateTakes + bootTakes + attachTakes + appTakes + (10_000-5)*time.Second/2,
	} {
		if got := QuotaFloor(n); got != want {
			t.Errorf("%d servers: %s, want %s", n, got, want)
		}
	}
	// In strict order each wave of 50 takes 22.5 s of launches and the way after it.
	s := Scenario{Servers: 100, Waves: 2, Strict: true}
	if got, want := Floor(s), terminateTakes+2*(22500*time.Millisecond+bootTakes+attachTakes+appTakes); got != want {
		t.Errorf("two waves: %s, want %s", got, want)
	}
}
