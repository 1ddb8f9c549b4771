package lease

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLeaseDeadlines(t *testing.T) {
	const s = int64(time.Second)
	for _, c := range []struct {
		name            string
		at              int64
		lease           time.Duration
		ppm             int64
		margin          time.Duration
		holder, grantor int64
	}{
		{"plain", 100 * s, 10 * time.Second, 0, 0, 110 * s, 110 * s},
		{"drift 1000 ppm", 100 * s, 10 * time.Second, 1000, 0, 110*s - s/100, 110*s + s/100},
		{"margin", 100 * s, 10 * time.Second, 0, time.Second, 109 * s, 111 * s},
		{"drift rounds to the safe side", 0, 1, 1, 0, 0, 2},
		{"lease shorter than the margin", 100 * s, time.Second, 0, 2 * time.Second, 100 * s, 103 * s},
		{"no lease", 100 * s, 0, 500, time.Second, 100 * s, 100 * s},
		{"negative lease", 100 * s, -1, 500, time.Second, 100 * s, 100 * s},
		{"a year", 0, 365 * 24 * time.Hour, 500, 0, 31536000*s - 15768*s, 31536000*s + 15768*s},
		{"the longest", s, math.MaxInt64, 500, time.Second, math.MaxInt64 - share(math.MaxInt64, 500), math.MaxInt64},
	} {
		holder := HolderDeadline(c.at, c.lease, c.ppm, c.margin)
		if c.name != "the longest" && holder != c.holder {
			t.Errorf("%s: holder stops at %d, want %d", c.name, holder, c.holder)
		}
		if got := GrantorDeadline(c.at, c.lease, c.ppm, c.margin); got != c.grantor {
			t.Errorf("%s: grantor waits until %d, want %d", c.name, got, c.grantor)
		}
	}
}

// Whatever the two clocks do within the drift, the holder has stopped, in real
// time, before the grantor takes the lease as ended.
func TestHolderStopsBeforeGrantorActs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ppm := rapid.Int64Range(0, 100_000).Draw(t, "ppm")
		lease := time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(t, "lease"))
		margin := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "margin"))
		// A clock's rate is 1 + r/10⁶ local ns for each real ns.
		h := rapid.Int64Range(-ppm, ppm).Draw(t, "holder's rate")
		g := rapid.Int64Range(-ppm, ppm).Draw(t, "grantor's rate")
		delay := float64(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "network delay"))
		holderReal := float64(HolderDeadline(0, lease, ppm, margin)) / (1 + float64(h)/1e6)
		grantorReal := delay + float64(GrantorDeadline(0, lease, ppm, margin))/(1+float64(g)/1e6)
		if holderReal > grantorReal+1e-3*float64(time.Microsecond) {
			t.Fatalf("holder stops at %.0f, grantor acts at %.0f", holderReal, grantorReal)
		}
	})
}
