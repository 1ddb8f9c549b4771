package bench

import (
	"math"
	"testing"

	"relight/internal/simulate"
)

// The slope must tell a cost that grows with the fleet from one that does not.
func TestLogSlope(t *testing.T) {
	runs := []simulate.FleetReport{{Servers: 1000}, {Servers: 10_000}, {Servers: 100_000}}
	for want, of := range map[float64]func(simulate.FleetReport) float64{
		0:   func(simulate.FleetReport) float64 { return 7 },
		1:   func(r simulate.FleetReport) float64 { return 3 * float64(r.Servers) },
		0.5: func(r simulate.FleetReport) float64 { return math.Sqrt(float64(r.Servers)) },
	} {
		if got := logSlope(runs, of); math.Abs(got-want) > 1e-9 {
			t.Errorf("slope %v, want %v", got, want)
		}
	}
}
