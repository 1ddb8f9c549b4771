package world_test

import (
	"errors"
	"testing"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// twoZones is a region of two zones with two hosts each, and another region.
func twoZones(t *testing.T, cfg world.Config) *world.World {
	t.Helper()
	w := newWorld(t, cfg)
	w.AddSite(world.Site{Name: "region", Kind: fleet.SiteRegion})
	for _, z := range []string{"a", "b"} {
		w.AddSite(world.Site{Name: "z" + z, Kind: fleet.SiteZone, Parent: "region"})
		for _, n := range []string{"1", "2"} {
			w.AddHost(world.Host{Name: z + n, Parent: "z" + z, Units: 100})
		}
	}
	return w
}

func TestSites(t *testing.T) {
	w := twoZones(t, world.Config{})
	ok(t, w.KillSite("za"))
	for host, dead := range map[string]bool{"a1": true, "a2": true, "b1": false, "host-1": false} {
		if w.Host(host).Dead != dead {
			t.Errorf("host %s: dead %v", host, !dead)
		}
	}
	ok(t, w.StartSite("za"))
	ok(t, w.CutSite("region", world.Cut{Peers: true}))
	if w.Host("a1").HasPeers() || w.Host("b2").HasPeers() || !w.Host("host-1").HasPeers() {
		t.Error("the cut of a region is not the cut of its hosts")
	}
	for _, nowhere := range []string{"", "elsewhere"} {
		if err := w.KillSite(nowhere); !errors.Is(err, world.ErrNotFound) {
			t.Errorf("site %q: %v", nowhere, err)
		}
	}
	w.Sever("za", "b1")
	for pair, linked := range map[[2]string]bool{{"a1", "b1"}: false, {"b1", "a2"}: false, {"a1", "b2"}: true, {"a1", "a2"}: true} {
		if w.Linked(pair[0], pair[1]) != linked {
			t.Errorf("%v linked: %v", pair, !linked)
		}
	}
	w.Mend("b1", "za")
	if !w.Linked("a1", "b1") {
		t.Error("still severed")
	}
}

func TestServiceLinkLeavesOtherCuts(t *testing.T) {
	w := twoZones(t, world.Config{})
	ok(t, w.CutHost("a1", world.Cut{Storage: true}))
	ok(t, w.CutServiceLink("za"))
	ok(t, w.MendServiceLink("za"))
	if c := w.Host("a1").Cut; c != (world.Cut{Storage: true}) {
		t.Fatalf("cut: %+v", c)
	}
}

func TestZoneAPI(t *testing.T) {
	for _, c := range []struct {
		broken string
		asked  []string
		err    error
	}{
		{"za", []string{"za"}, world.ErrUnavailable},
		{"za", []string{"zb"}, nil},
		{"za", []string{"zb", "za"}, world.ErrUnavailable},
		{"za", nil, world.ErrUnavailable}, // an unfiltered describe asks the broken one too
		{"za", []string{"region"}, nil},   // an API of the region outlives a zone
		{"region", []string{"region"}, world.ErrUnavailable},
		{"region", []string{"zb"}, world.ErrUnavailable},
		{"za", []string{"zone-a"}, nil},
	} {
		w := twoZones(t, world.Config{})
		w.BreakAPI(c.broken)
		done := 0
		do := func() error { done++; return nil }
		if r := w.Call(world.Call{API: "DescribeInstances", Sites: c.asked}, do); !errors.Is(r.Err, c.err) || (done > 0) != (c.err == nil) {
			t.Errorf("%+v: %v, done %d", c, r.Err, done)
		}
		w.MendAPI(c.broken)
		if r := w.Call(world.Call{API: "DescribeInstances", Sites: c.asked}, do); r.Err != nil {
			t.Errorf("%+v mended: %v", c, r.Err)
		}
	}
}
