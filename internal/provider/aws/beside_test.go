package aws

import (
	"context"
	"errors"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// placedCloud tells where its one subnet lies, unless it fails, and counts who asks.
type placedCloud struct {
	Cloud
	lies  Subnet
	fail  error
	asked int
}

func (c *placedCloud) Subnet(context.Context, string) (Subnet, error) {
	c.asked++
	return c.lies, c.fail
}

// Where a subnet lies is asked for once, whoever wants to know; that it could not be read
// is told each time, and kept by nobody.
func TestOP_RUN_SubnetIsAskedForOnce(t *testing.T) {
	c := &placedCloud{lies: Subnet{Zone: "a", Outpost: "arn:op-1"}, fail: errors.New("denied")}
	p := New(Options{Cloud: c, Now: time.Now})
	call := provider.Call{}
	call.Server.Away = &fleet.Away{Subnet: "subnet-1", Outpost: "arn:op-1"}
	call.Server.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", ID: "vol-1"}}
	for range 2 {
		if err := p.onOutpost(t.Context(), call); !errors.Is(err, c.fail) {
			t.Fatalf("a subnet that cannot be read: %v", err)
		}
	}
	c.fail = nil
	for range 2 {
		if err := errors.Join(p.onOutpost(t.Context(), call), p.besideVolumes(t.Context(), call, "subnet-1")); err != nil {
			t.Fatal(err)
		}
	}
	if c.asked != 3 {
		t.Errorf("it was asked %d times, of which 2 failed", c.asked)
	}
	call.Server.Away.Outpost = "arn:op-2"
	if class, _ := provider.ClassOf(p.onOutpost(t.Context(), call)); class != provider.Capacity {
		t.Errorf("what is kept is not held against another Outpost: class %s", class)
	}
}
