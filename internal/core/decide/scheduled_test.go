package decide

import (
	"slices"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// What was announced and is so no more, before its time, was called off; a look that does
// not see the whole, or no instance that runs, cannot tell.
func TestCalledOff(t *testing.T) {
	at := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	retire := fleet.Scheduled{ID: "e-1", What: "instance-retirement", NotBefore: at}
	moved := retire
	moved.NotBefore = at.Add(24 * time.Hour)
	told := []fleet.Scheduled{retire}
	running := []fleet.Instance{{Epoch: 1, State: fleet.InstanceRunning}}
	before, after := at.Add(-time.Hour), at.Add(time.Hour)
	for name, c := range map[string]struct {
		seen fleet.Observed
		now  time.Time
		want []fleet.Scheduled
	}{
		"gone":           {fleet.Observed{Complete: true, Instances: running}, before, told},
		"still there":    {fleet.Observed{Complete: true, Instances: running, Scheduled: told}, before, nil},
		"moved":          {fleet.Observed{Complete: true, Instances: running, Scheduled: []fleet.Scheduled{moved}}, before, nil},
		"its time came":  {fleet.Observed{Complete: true, Instances: running}, after, nil},
		"half a look":    {fleet.Observed{Instances: running}, before, nil},
		"nothing runs":   {fleet.Observed{Complete: true, Instances: []fleet.Instance{{Epoch: 1, State: fleet.InstanceStopped}}}, before, nil},
		"nothing at all": {fleet.Observed{Complete: true}, before, nil},
	} {
		if got := CalledOff(told, c.seen, c.now); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

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
