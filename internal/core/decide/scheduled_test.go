package decide

import (
	"slices"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// What a platform announces is told once, and again when it is moved.
func TestUnheard(t *testing.T) {
	at := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	retire := fleet.Scheduled{ID: "e-1", What: "instance-retirement", NotBefore: at}
	reboot := fleet.Scheduled{ID: "e-2", What: "system-reboot", NotBefore: at}
	moved := retire
	moved.NotBefore = at.Add(24 * time.Hour)
	elsewhere := retire
	elsewhere.NotBefore = at.In(time.FixedZone("CET", 3600))
	for name, c := range map[string]struct{ told, seen, want []fleet.Scheduled }{
		"nothing":              {},
		"the first":            {nil, []fleet.Scheduled{retire}, []fleet.Scheduled{retire}},
		"told before":          {[]fleet.Scheduled{retire}, []fleet.Scheduled{retire}, nil},
		"one more":             {[]fleet.Scheduled{retire}, []fleet.Scheduled{reboot, retire}, []fleet.Scheduled{reboot}},
		"moved":                {[]fleet.Scheduled{retire}, []fleet.Scheduled{moved}, []fleet.Scheduled{moved}},
		"over":                 {[]fleet.Scheduled{retire}, nil, nil},
		"of another time zone": {[]fleet.Scheduled{retire}, []fleet.Scheduled{elsewhere}, nil},
	} {
		if got := Unheard(c.told, c.seen); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
