package world_test

import (
	"testing"
	"time"

	"relight/internal/world"
)

// TestEC2QuotaFloors repeats the floors that follow from EC2's default numbers:
// how many calls of an API go through at once, and after a minute.
func TestEC2QuotaFloors(t *testing.T) {
	for _, c := range []struct {
		api             string
		objects         int
		atOnce, aMinute int
	}{
		{"RunInstances", 1, 5, 120},
		{"RunInstances", 250, 4, 0}, // 1000 objects, then 2/s refill 120 of 250
		{"StartInstances", 1, 5, 120},
		{"TerminateInstances", 100, 10, 12},
		{"AttachVolume", 0, 50, 300},
		{"DescribeInstances", 0, 100, 1200},
		{"DescribeInstances" + world.Unfiltered, 0, 50, 600},
		{"CreateSnapshot", 0, 100, 300},
		{"ModifyInstanceMaintenanceOptions", 0, 50, 300},
		{world.Route53, 0, 5, 300},
	} {
		w := newWorld(t, world.Config{})
		w.SetQuotas(world.EC2Quotas()...)
		granted := func() (n int) {
			for w.TakeFor(c.api, c.objects) {
				n++
			}
			return n
		}
		if n := granted(); n != c.atOnce {
			t.Errorf("%s of %d: %d at once, want %d", c.api, c.objects, n, c.atOnce)
		}
		later := 0
		for range 60 {
			w.Advance(time.Second)
			later += granted()
		}
		if later != c.aMinute {
			t.Errorf("%s of %d: %d in the next minute, want %d", c.api, c.objects, later, c.aMinute)
		}
		if calls := w.Calls(c.api); calls.Granted != uint64(c.atOnce+c.aMinute) || calls.Throttled != 61 {
			t.Errorf("%s: counted %+v", c.api, calls)
		}
	}
}
