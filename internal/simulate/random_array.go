package simulate

import (
	"fmt"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// arrayed gives some seeds one or two arrays, above all racks: servers on LUNs may run
// wherever their spec lets them.
func (g *generator) arrayed() {
	if g.sc.Style != Hosts || !g.one(3) {
		return
	}
	for n := range 1 + g.r.IntN(2) {
		g.arrays = append(g.arrays, fmt.Sprintf("san-%d", n+1))
	}
	for n := range g.sc.Sites {
		g.sc.Sites[n].Parent = arraySite
	}
	g.sc.Sites = append(g.sc.Sites, Site{Name: arraySite, Kind: fleet.SiteRegion})
}

// arraySite is the site that declares the arrays.
const arraySite = "hall"

// above is the part of a site's document that says where it lies and which arrays serve it.
func (g *generator) above(s Site) string {
	switch {
	case s.Parent != "":
		return ", parent: " + s.Parent
	case s.Name != arraySite:
		return ""
	}
	var arrays []string
	offline := ""
	g.aside(streamOffline, func() {
		if g.one(3) {
			offline = ", lunOffline: lastResort"
		}
	})
	for n, name := range g.arrays {
		arrays = append(arrays, fmt.Sprintf("{name: %s, driver: tgt, portal: \"10.0.9.%d:3260\", options: {dir: /srv/%s}%s}", name, n+1, name, offline))
	}
	return fmt.Sprintf(", arrays: [%s]", strings.Join(arrays, ", "))
}

// unit is where the volume of a server on LUNs lies: all on one array, or on any.
func (g *generator) unit() string {
	array := pick(g, g.arrays...)
	g.inUse = append(g.inUse, array)
	return fmt.Sprintf("lun: {array: %s}", array)
}

// sans draws what happens to arrays.
func (g *generator) sans() []func() Fault {
	if len(g.onArrays) == 0 {
		return nil
	}
	array := func() string { return pick(g, g.inUse...) }
	with := func(verb string, args ...func() string) func() Fault {
		return func() Fault {
			f := Fault{For: g.long(), Class: "array", Object: array(), Verb: verb}
			for _, a := range args {
				f.Args = append(f.Args, a())
			}
			return f
		}
	}
	server := func() string { return pick(g, g.onArrays...) }
	return []func() Fault{
		g.outage("array", array, "dies"), g.outage("array", array, "mute"), g.outage("array", array, "keeps-sessions"), g.outage("array", array, "full"),
		g.moment("array", array, "restarts"), g.moment("array", array, "restarts"),
		with("errs", g.share), with("slow", func() string { return pick(g, "500ms", "3s", "15s", "1m") }), with("loses-path", g.host), with("lets-stranger-in", server),
		func() Fault {
			return Fault{Class: "array", Object: array(), Verb: "lets-in", Args: []string{server(), pick(g, "1", "1", "2", "3")}}
		},
	}
}

// zombie: a host that is cut off from us goes on to write to its LUNs, while the array
// that has to shut it out is not well.
func zombie(g *generator) []Fault {
	server := pick(g, g.onArrays...)
	lasts := pick(g, 45*time.Second, time.Minute, 3*time.Minute)
	trouble := pick(g, g.sans()...)()
	trouble.At = g.between(0, 20*time.Second)
	out := []Fault{
		{For: lasts, Class: "host", Object: "of/" + server, Verb: "cut", Args: []string{pick(g, "control,peers", "control,peers", "control", "control,peers,storage")}},
		trouble,
	}
	if g.one(2) {
		out = append(out, after(g.soon(), Fault{Class: "array", Object: trouble.Object, Verb: "restarts"}))
	}
	if g.one(3) {
		out = append(out, after(g.soon(), Fault{Class: "controller", Object: "active", Verb: pick(g, "dies", "stalls")}))
		if last := &out[len(out)-1]; last.Verb == "stalls" {
			last.For = pick(g, 12*time.Second, 30*time.Second)
		}
	}
	return out
}
