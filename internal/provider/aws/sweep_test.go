package aws_test

import (
	"context"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws"
)

// slowCloud takes its time for each read.
type slowCloud struct {
	aws.Cloud
	now  time.Time
	each time.Duration
}

func (c *slowCloud) Zones(context.Context) (map[string]string, error) { return nil, nil }

func (c *slowCloud) Instances(context.Context, string, []string) ([]aws.Machine, error) {
	c.now = c.now.Add(c.each)
	return []aws.Machine{{ID: "i-1", State: "running", Zone: "a", Tags: map[string]string{aws.TagServer: "lic", aws.TagEpoch: "1"}}}, nil
}

func (c *slowCloud) Checks(context.Context, string, []string) ([]aws.Check, error) {
	c.now = c.now.Add(c.each)
	return []aws.Check{{ID: "i-1", System: "ok", Instance: "ok"}}, nil
}

// A sweep is as old as its beginning, and tells its own length where that is long.
func TestSweepsTellTheirAge(t *testing.T) {
	begun := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	for each, lag := range map[time.Duration]time.Duration{100 * time.Millisecond: 0, 6 * time.Second: 12 * time.Second} {
		c := &slowCloud{now: begun, each: each}
		p := aws.New(aws.Options{Cloud: c, Region: "eu-west-1", Now: func() time.Time { return c.now }})
		sweep, err := p.Observe(t.Context(), []fleet.Server{{Name: "lic"}})
		if err != nil {
			t.Fatal(err)
		}
		o := sweep.Servers[0].Observed
		if !o.At.Equal(begun) || !o.Instances[0].At.Equal(begun) || o.Lag.Std() != lag {
			t.Errorf("reads of %s: at %s, lag %s, want %s", each, o.At, o.Lag.Std(), lag)
		}
	}
}
