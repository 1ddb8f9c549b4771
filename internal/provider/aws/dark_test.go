package aws_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/aws"
)

// zonalCloud has instances in zones, of which some cannot be read, and then no call about
// all of them can be answered either.
type zonalCloud struct {
	aws.Cloud
	now      time.Time
	machines []aws.Machine
	dark     []string
	unlisted bool

	mu    sync.Mutex // a sweep reads several zones at once
	calls []string
}

func (c *zonalCloud) Zones(context.Context) (map[string]string, error) {
	if c.unlisted {
		return nil, errors.New("not allowed")
	}
	return map[string]string{"a": "available", "b": "available", "c": "available"}, nil
}

func (c *zonalCloud) Instances(_ context.Context, zone string, servers []string) ([]aws.Machine, error) {
	c.mu.Lock()
	c.calls = append(c.calls, zone)
	c.mu.Unlock()
	if slices.Contains(c.dark, zone) || zone == "" && len(c.dark) > 0 {
		return nil, &aws.APIError{Op: "DescribeInstances", Code: "InternalError", Message: "page 3 broke"}
	}
	var out []aws.Machine
	for _, m := range c.machines {
		if (zone == "" || m.Zone == zone) && (len(servers) == 0 || slices.Contains(servers, m.Tags[aws.TagServer])) {
			out = append(out, m)
		}
	}
	return out, nil
}

func (c *zonalCloud) Checks(_ context.Context, zone string, _ []string) ([]aws.Check, error) {
	var out []aws.Check
	for _, m := range c.machines {
		if m.Zone == zone && m.State == "running" {
			out = append(out, aws.Check{ID: m.ID, System: "ok", Instance: "ok"})
		}
	}
	return out, nil
}

func (c *zonalCloud) has(id, server, epoch, zone, state string) {
	c.machines = append(c.machines, aws.Machine{ID: id, State: state, Zone: zone, Tags: map[string]string{aws.TagServer: server, aws.TagEpoch: epoch}})
}

// seenAs says of each server whether it was left out, or seen in part or as a whole.
func seenAs(sweep provider.Sweep, servers []fleet.Server) string {
	var out []string
	for _, s := range servers {
		n := slices.IndexFunc(sweep.Servers, func(x provider.ServerSight) bool { return x.Observed.Server == s.Name })
		switch {
		case n < 0:
			out = append(out, s.Name+" unseen")
		case !sweep.Servers[n].Observed.Complete:
			out = append(out, s.Name+" partly")
		default:
			out = append(out, s.Name+" seen")
		}
	}
	return strings.Join(out, ", ")
}

// A zone whose instances cannot be read hides those that were seen there and no others,
// whether all are swept or some looked at; and what is not seen of it is not gone.
func TestDET_HOST_ADarkZoneHidesNoOther(t *testing.T) {
	begun := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, many := range []bool{false, true} {
		c := &zonalCloud{now: begun}
		c.has("i-1", "sa", "1", "a", "running")
		c.has("i-2", "sb", "1", "b", "running")
		c.has("i-3", "sc", "1", "c", "terminated")
		c.has("i-4", "se", "1", "a", "running")
		servers := []fleet.Server{{Name: "sa"}, {Name: "sb"}, {Name: "sc"}, {Name: "se"}}
		servers[3].Spec.Template.EC2 = &fleet.EC2Template{Elsewhere: &fleet.EC2Elsewhere{Zones: []fleet.EC2Zone{{Zone: "b"}}}}
		asked := servers
		if many { // more than are asked for by name
			for range 300 {
				asked = append(asked, fleet.Server{Name: "other" + string(rune('a'+len(asked)))})
			}
		}
		p := aws.New(aws.Options{Cloud: c, Region: "eu-west-1", Now: func() time.Time { return c.now }})
		look := func(dark ...string) (provider.Sweep, string) {
			t.Helper()
			c.dark, c.now = dark, c.now.Add(5*time.Second)
			sweep, err := p.Observe(t.Context(), asked)
			if err != nil {
				t.Fatal(err)
			}
			return sweep, seenAs(sweep, servers)
		}
		// Nobody knows yet what is in it.
		sweep, got := look("b")
		if want := "sa seen, sb unseen, sc partly, se partly"; got != want {
			t.Errorf("many %v, dark from the start: %s, want %s", many, got, want)
		}
		if !strings.Contains(sweep.Blind, "the instances in b") || !strings.Contains(sweep.Blind, "page 3 broke") {
			t.Errorf("it says %q", sweep.Blind)
		}
		if sweep, got = look(); got != "sa seen, sb seen, sc seen, se seen" || sweep.Blind != "" {
			t.Errorf("many %v, all is well: %s (%s)", many, got, sweep.Blind)
		}
		since := sweep.Servers[1].Observed.Instances[0].Since
		for range 3 {
			if _, got = look("b"); got != "sa seen, sb unseen, sc partly, se partly" {
				t.Errorf("many %v, dark later: %s", many, got)
			}
		}
		if name, is := p.ServerOf("i-2"); !is || name != "sb" {
			t.Error("whose the unseen instance is was forgotten")
		}
		if sweep, got = look(); got != "sa seen, sb seen, sc seen, se seen" {
			t.Errorf("many %v, light again: %s", many, got)
		}
		if i := sweep.Servers[1].Observed.Instances[0]; !i.Since.Equal(since) {
			t.Errorf("it runs since %s, and was in the dark: now since %s", since, i.Since)
		}
		if _, err := p.Observe(t.Context(), asked); err != nil {
			t.Fatal(err)
		}
		c.dark = []string{"a", "b", "c"}
		if _, err := p.Observe(t.Context(), asked); err == nil {
			t.Error("no zone can be read, and the sweep calls itself one")
		}
	}
}

// Without a list of the zones there is one sweep of all: a zone that nobody has heard of
// would be missed else. And a look at some servers is one call while all is well.
func TestDET_HOST_CallsOfSweeps(t *testing.T) {
	for _, c := range []struct {
		servers  int
		unlisted bool
		want     string
	}{{300, false, "a,b,c"}, {300, true, ""}, {2, false, ""}} {
		cloud := &zonalCloud{now: time.Unix(1e9, 0), unlisted: c.unlisted}
		cloud.has("i-1", "s0", "1", "a", "running")
		var servers []fleet.Server
		for n := range c.servers {
			servers = append(servers, fleet.Server{Name: "s" + string(rune('0'+n))})
		}
		p := aws.New(aws.Options{Cloud: cloud, Region: "eu-west-1", Now: func() time.Time { return cloud.now }})
		if _, err := p.Observe(t.Context(), servers); err != nil {
			t.Fatal(err)
		}
		slices.Sort(cloud.calls)
		want := strings.Split(c.want, ",")
		if n := (c.servers + 199) / 200; c.want == "" && c.servers <= 200 {
			want = slices.Repeat([]string{""}, n)
		}
		if !slices.Equal(cloud.calls, want) {
			t.Errorf("%d servers, unlisted %v: calls %q, want %q", c.servers, c.unlisted, cloud.calls, want)
		}
	}
}
