package aws_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws"
)

// farCloud has an instance in each of its zones, and takes a second for each read.
type farCloud struct {
	aws.Cloud
	zones int

	mu         sync.Mutex
	busy, most int
}

func (c *farCloud) Instances(context.Context, string, []string) ([]aws.Machine, error) {
	var out []aws.Machine
	for n := range c.zones {
		out = append(out, aws.Machine{ID: fmt.Sprintf("i-%d", n), State: "running", Zone: fmt.Sprintf("z%d", n), Tags: map[string]string{aws.TagServer: fmt.Sprintf("s%d", n), aws.TagEpoch: "1"}})
	}
	return out, nil
}

func (c *farCloud) second() {
	c.mu.Lock()
	c.busy++
	c.most = max(c.most, c.busy)
	c.mu.Unlock()
	<-time.After(time.Second)
	c.mu.Lock()
	c.busy--
	c.mu.Unlock()
}

func (c *farCloud) Checks(_ context.Context, zone string, _ []string) ([]aws.Check, error) {
	c.second()
	if zone == "z3" {
		return nil, errors.New("its API is down")
	}
	return []aws.Check{{ID: "i-" + zone[1:], System: "ok", Instance: "ok"}}, nil
}

func (c *farCloud) Zones(context.Context) (map[string]string, error) { return nil, nil }

func (c *farCloud) Targets(_ context.Context, group string) ([]aws.Target, error) {
	c.second()
	return []aws.Target{{ID: "i-" + group[1:], Health: "healthy"}}, nil
}

// A sweep reads several zones and target groups at once, within a bound, and one that
// fails hides no other.
func TestSweepReadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &farCloud{zones: 8}
		p := aws.New(aws.Options{Cloud: c, Region: "eu-west-1", Now: time.Now})
		var servers []fleet.Server
		for n := range c.zones {
			s := fleet.Server{Name: fmt.Sprintf("s%d", n)}
			s.Spec.Identity.Groups = []fleet.Group{{ID: fmt.Sprintf("g%d", n)}}
			servers = append(servers, s)
		}
		begun := time.Now()
		sweep, err := p.Observe(t.Context(), servers)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 4*time.Second || c.most != 4 {
			t.Errorf("16 reads of a second took %s, %d at once; want 4s, 4 at once", took, c.most)
		}
		for n, sight := range sweep.Servers {
			if sight.Observed.Complete != (n != 3) {
				t.Errorf("%s: complete %v", sight.Observed.Server, sight.Observed.Complete)
			}
			if o := sight.Observed.Others; len(o) != 1 || o[0].Holder != 1 {
				t.Errorf("%s: %+v", sight.Observed.Server, o)
			}
		}
	})
}
