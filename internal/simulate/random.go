package simulate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// Random makes a scenario from a seed. It swarms: each seed uses only some of the
// kinds of faults and some of the features of specs, because a run with all of
// them at once never gets far into any.
func Random(seed uint64) Scenario {
	g := &generator{r: rand.New(rand.NewPCG(seed, 0x7377617261))} //nolint:gosec // a seed that repeats
	g.sc = Scenario{Seed: seed, Style: Hosts, Controllers: 1, Delays: DefaultDelays(), Settle: 20 * time.Minute}
	g.sc.For = g.between(4*time.Minute, 15*time.Minute)
	if g.one(4) {
		g.sc.Style = Cloud
	}
	if g.one(3) {
		g.sc.Controllers = 2
	}
	if g.one(3) {
		g.sc.Drift = int64(g.r.IntN(2000))
	}
	if g.one(3) {
		g.sc.Loss = float64(g.r.IntN(30)) / 100
	}
	if g.quiet = g.one(4); g.quiet {
		g.sc.Loss = float64(g.r.IntN(5)) / 100
	}
	if g.one(3) {
		g.sc.Delays.Call = Span{time.Millisecond, time.Duration(1+g.r.IntN(3000)) * time.Millisecond}
	}
	g.world()
	g.arrayed()
	g.membered()
	g.spec()
	g.faults()
	first, last := 20*time.Second, g.sc.For-30*time.Second
	g.aside(streamAfter+1, func() { g.ordered(first, last) })
	g.aside(streamMoves, func() { g.moves(first, last) })
	g.aside(streamChanges, func() { g.changes(first, last) })
	g.aside(streamRestored, func() { g.restored(first, last) })
	return g.sc
}

type generator struct {
	r       *rand.Rand
	sc      Scenario
	servers []string
	// shared are the volumes on a network file system: only those lose a lock whose
	// holder lives.
	shared []string
	zones  []string
	// quiet is true if nothing is wrong but the servers, and nothing may hold their
	// recovery: what must happen in time has no excuse then.
	quiet bool
	// ask is true if something waits for a person.
	ask bool
	// after is true if some servers need others.
	after bool
	// storm is how many hosts may be lost at once, 0 for any number.
	storm int
	// arrays are the names of SAN arrays, inUse those with a LUN, and onArrays the
	// servers that have one.
	arrays, inUse, onArrays []string
}

// one is true once in n times.
func (g *generator) one(n int) bool { return g.r.IntN(n) == 0 }

func (g *generator) between(low, high time.Duration) time.Duration {
	return (low + time.Duration(g.r.Int64N(int64(high-low)+1))).Round(100 * time.Millisecond)
}

func pick[T any](g *generator, of ...T) T { return of[g.r.IntN(len(of))] }

// world draws the sites and hosts.
func (g *generator) world() {
	kind, word := fleet.SiteRack, "rack"
	if g.sc.Style == Cloud {
		kind, word = fleet.SiteZone, "zone"
	}
	sites := 1 + g.r.IntN(2)
	power := !g.one(3)
	for s := range sites {
		name := fmt.Sprintf("%s-%d", word, s+1)
		g.sc.Sites = append(g.sc.Sites, Site{Name: name, Kind: kind})
		g.zones = append(g.zones, name)
		for range 1 + g.r.IntN(4) {
			g.sc.Hosts = append(g.sc.Hosts, Host{
				Name: fmt.Sprintf("host-%d", len(g.sc.Hosts)+1), Parent: name, Units: 2 + g.r.IntN(7), Power: power && !g.one(5),
			})
		}
	}
}

// spec draws the documents. A feature that the seed does not have is left out of
// all of them.
func (g *generator) spec() {
	var docs []string
	add := func(format string, args ...any) {
		docs = append(docs, "apiVersion: relight/v1alpha1\n"+strings.TrimSpace(fmt.Sprintf(format, args...))+"\n")
	}
	add("kind: Policy\nmetadata: {name: default}\nspec:\n%s", g.policy())
	for _, s := range g.sc.Sites {
		add("kind: Site\nmetadata: {name: %s}\nspec: {kind: %s%s%s}", s.Name, s.Kind, g.above(s), g.siteRules())
	}
	if g.sc.Style == Hosts {
		for _, h := range g.sc.Hosts {
			power := ""
			if h.Power {
				power = fmt.Sprintf(", power: {command: [/bin/false], plug: %s}", h.Name)
			}
			add("kind: Site\nmetadata: {name: %s}\nspec: {kind: host, parent: %s%s}", h.Name, h.Parent, power)
		}
	}
	// A platform that chooses the hosts itself keeps nothing apart.
	apart := g.one(3) && g.sc.Style == Hosts
	priorities, choosy, heavy := g.one(3), g.one(4), g.one(3)
	for n := range 1 + g.r.IntN(7) {
		name := fmt.Sprintf("s%d", n+1)
		g.servers = append(g.servers, name)
		add("%s", g.server(name, n+1, apart, priorities, choosy, heavy))
	}
	g.aside(streamAfter, func() { g.needs(docs[len(docs)-len(g.servers):]) })
	g.sc.Spec = strings.Join(docs, docBreak)
}

// docBreak stands between two documents.
const docBreak = "---\n"

func (g *generator) policy() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	mode := "auto"
	switch n := g.r.IntN(10); {
	case g.quiet:
	case n < 2:
		mode = "ask"
	case n < 3:
		mode = "observe"
	}
	line("mode: %s", mode)
	g.ask = g.ask || mode == "ask"
	if mode == "ask" && g.one(2) {
		line("approvals: 2")
	}
	isolatedFor, maxBackOff := pick(g, "10s", "30s", "2m"), pick(g, "30s", "2m")
	if g.quiet {
		isolatedFor, maxBackOff = "10s", "30s"
	}
	line("isolatedFor: %s", isolatedFor)
	line("oneSource: %s", pick(g, "hold", "fence"))
	silent := pick(g, "4s", "4s", "6s", "15s")
	line("health: {suspectAfter: %s, downAfter: %s, impairedAfter: %s, startupGrace: %s}", silent, pick(g, "2s", "2s", "5s", "20s"), pick(g, "3s", "10s"), pick(g, "10s", "40s"))
	line("ladder: {verifyWithin: %s, backOff: %s, maxBackOff: %s, window: %s}", pick(g, "20s", "1m"), pick(g, "2s", "10s"), maxBackOff, pick(g, "10m", "1h"))
	switch {
	case g.quiet:
		return strings.TrimRight(b.String(), "\n")
	case g.one(3):
		line("budget: {steps: %d, window: %s}", 1+g.r.IntN(4), pick(g, "1m", "5m"))
	case g.one(4):
		line("budget: {keepAlive: %d}", 1+g.r.IntN(4))
	}
	if g.one(3) {
		g.storm = pick(g, 1, 1, 2, 3)
		line("storm: {hosts: %d, window: %s}", g.storm, pick(g, "30s", "2m"))
	}
	return strings.TrimRight(b.String(), "\n")
}

func (g *generator) siteRules() string {
	switch n := g.r.IntN(8); {
	case g.quiet:
		return ""
	case n == 0:
		return fmt.Sprintf(", budget: {steps: %d, window: 2m}", 1+g.r.IntN(3))
	case n == 1:
		g.ask = true
		return ", mode: ask"
	default:
		return ""
	}
}

func (g *generator) server(name string, n int, apart, priorities, choosy, heavy bool) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("kind: Server")
	labels := ""
	if apart {
		labels = fmt.Sprintf(", labels: {pair: p%d}", n%2)
	}
	line("metadata: {name: %s%s}", name, labels)
	line("spec:")
	line("  provider: sim")
	reach := "zone"
	var volumes []string
	if g.sc.Style == Hosts {
		reach = pick(g, "machine", "machine", "machine", "shared", "host")
	}
	if len(g.arrays) > 0 && !g.one(3) {
		reach = "array"
		g.onArrays = append(g.onArrays, name)
	}
	for v := range 1 + g.r.IntN(2) {
		place := fmt.Sprintf("path: /v/%s-%d", name, v)
		if reach == "zone" {
			place = fmt.Sprintf("id: vol-%s-%d", name, v)
		}
		if reach == "array" {
			place = g.unit()
		}
		volumes = append(volumes, fmt.Sprintf("{name: v%d, %s, reach: %s}", v, place, reach))
		if reach == "shared" {
			g.shared = append(g.shared, fmt.Sprintf("%s/v%d", name, v))
		}
	}
	line("  identity:")
	line("    volumes: [%s]", strings.Join(volumes, ", "))
	line("    addresses: [{ip: 10.0.0.%d}]", n)
	line("  template: {sim: {}}")
	if !g.one(6) {
		line("  health: {check: {http: \"http://10.0.0.%d/health\", interval: 1s, timeout: 1s}}", n)
	}
	if reach == "shared" && !g.one(3) || g.one(4) {
		line("  fence: %s", pick(g, "power", "powerFirst", "both"))
	}
	if g.sc.Style == Hosts && g.one(4) {
		line("  onIsolation: stop")
	}
	if priorities {
		line("  priority: %d", g.r.IntN(3)*10)
	}
	var placement []string
	if apart {
		placement = append(placement, "apart: [pair]")
	}
	if choosy && reach != "host" {
		placement = append(placement, fmt.Sprintf("sites: [%s]", pick(g, g.zones...)))
	}
	if heavy {
		placement = append(placement, fmt.Sprintf("units: %d", 1+g.r.IntN(2)))
	}
	if len(placement) > 0 {
		line("  placement: {%s}", strings.Join(placement, ", "))
	}
	return b.String()
}

// faults draws a few kinds of faults, and then faults of those. Half of them hit the
// ground: what happens to controllers and calls tells little while nothing is healed.
func (g *generator) faults() {
	ground, others := g.swarm(append(g.ground(), g.sans()...), 3), []func() Fault(nil)
	if !g.quiet {
		others = g.swarm(slices.Concat(g.platform(), g.members(), g.people()), 5)
	}
	if g.sc.Controllers > 1 && !g.quiet {
		// Two controllers matter only where one succeeds the other.
		others = append(others, g.moment("controller", is("c2"), "starts"), g.moment("controller", is("c1"), "starts"), g.lasting("controller", is("active"), "freezes"))
	}
	first, last := 20*time.Second, g.sc.For-30*time.Second
	before, few := first, 3+g.r.IntN(14)
	if !g.quiet && g.one(2) {
		few = g.r.IntN(few)
		g.scenes(first, last)
	}
	for range few {
		of := ground
		if len(others) > 0 && g.one(2) {
			of = others
		}
		f := pick(g, of...)()
		f.At = g.between(first, last)
		if g.one(3) {
			// Soon after another one: what meets a recovery under way tells the most.
			f.At = min(before+g.between(0, 20*time.Second), last)
		}
		before = f.At
		if f.For != 0 {
			f.For = min(f.For, g.sc.For-f.At)
		}
		g.sc.Faults = append(g.sc.Faults, f)
	}
	if g.ask {
		g.answers()
	}
}

// swarm picks one kind in n, and at least one.
func (g *generator) swarm(all []func() Fault, n int) []func() Fault {
	out := []func() Fault{pick(g, all...)}
	for _, d := range all {
		if g.one(n) {
			out = append(out, d)
		}
	}
	return out
}

// last draws how long a fault lasts: around the times that matter to somebody.
func (g *generator) last() time.Duration {
	return pick(g, time.Second, 2500*time.Millisecond, 5*time.Second, 9*time.Second, 11*time.Second, 20*time.Second, 45*time.Second, 2*time.Minute, time.Hour)
}

func (g *generator) host() string { return pick(g, g.sc.Hosts...).Name }
func (g *generator) srv() string  { return pick(g, g.servers...) }

func (g *generator) share() string { return pick(g, "5%", "20%", "50%", "100%") }

func (g *generator) lasting(class string, object func() string, verb string, args ...string) func() Fault {
	return func() Fault { return Fault{For: g.last(), Class: class, Object: object(), Verb: verb, Args: args} }
}

// long draws how long something is out that must be noticed to matter.
func (g *generator) long() time.Duration {
	return pick(g, 5*time.Second, 11*time.Second, 20*time.Second, 45*time.Second, time.Minute, 2*time.Minute, time.Hour)
}

func (g *generator) outage(class string, object func() string, verb string, args ...string) func() Fault {
	return func() Fault { return Fault{For: g.long(), Class: class, Object: object(), Verb: verb, Args: args} }
}

func (g *generator) moment(class string, object func() string, verb string) func() Fault {
	return func() Fault { return Fault{Class: class, Object: object(), Verb: verb} }
}

func is(word string) func() string { return func() string { return word } }

// ground draws what happens to hosts and servers. Each line is one kind of the swarm.
func (g *generator) ground() []func() Fault {
	zone := func() string { return pick(g, g.zones...) }
	out := []func() Fault{
		g.outage("host", g.host, "dies"), g.outage("host", g.host, "dies"), g.outage("host", g.host, "freezes"), g.outage("host", g.host, "agent-dies"),
		func() Fault {
			links := pick(g, "control", "control", "control,peers", "control,peers,storage", "peers", "storage", "in", "out", "control,storage")
			return Fault{For: g.long(), Class: "host", Object: g.host(), Verb: "cut", Args: []string{links}}
		},
		func() Fault {
			return Fault{For: g.long(), Class: "host", Object: g.host(), Verb: "loses", Args: []string{pick(g, "30%", "60%", "95%")}}
		},
		g.outage("host", g.host, "closes"),
		g.outage("site", zone, "dies"), g.outage("site", zone, "cut", "control"),
		g.moment("server", g.srv, "app-mute"), g.moment("server", g.srv, "app-fails"), g.moment("server", g.srv, "app-dies"),
		g.moment("server", g.srv, "crashes"), g.moment("server", g.srv, "killed"),
	}
	if len(g.shared) > 0 {
		out = append(out, g.moment("volume", func() string { return pick(g, g.shared...) }, "loses-lock"))
	}
	return out
}

// platform draws what happens to the controllers, their store and their calls.
func (g *generator) platform() []func() Fault {
	controller := func() string { return pick(g, "active", "c1") }
	out := []func() Fault{
		g.moment("controller", controller, "dies"),
		func() Fault {
			return Fault{Class: "controller", Object: controller(), Verb: "dies-at", Args: []string{pick(g, "before-commit", "after-commit", "before-call", "after-call")}}
		},
		g.lasting("controller", controller, "freezes"), g.lasting("controller", controller, "cut", "hosts"), g.lasting("controller", controller, "cut", "store"),
		g.lasting("store", is("main"), "down"), g.lasting("store", is("main"), "full"),
		g.lasting("store", is("main"), "loses", "30%"), g.lasting("store", is("main"), "forgets", "30%"),
	}
	if g.sc.Controllers > 1 {
		out = append(out, g.moment("controller", is("c2"), "starts"), g.moment("controller", is("c1"), "starts"))
	}
	call := func() string {
		return pick(g, "any", "stop", "seal", "attach", "launch", "powerOff", "recover", "restartApp")
	}
	for _, verb := range []string{"throttle", "serverError", "timeoutBefore", "timeoutAfter", "lostReply", "capacity", "refused", "wrongState", "notFound", "late", "doubled"} {
		out = append(out, func() Fault {
			f := Fault{For: g.last(), Class: "api", Object: call(), Verb: verb, Args: []string{g.share()}}
			if verb == "late" || verb == "doubled" {
				f.Args = append(f.Args, pick(g, "1s", "5s", "30s", "2m"))
			}
			return f
		})
	}
	for _, verb := range []string{"throttle", "serverError", "timeoutBefore", "staleRead", "partial", "notFound"} {
		out = append(out, g.lasting("api", is("observe"), verb, g.share()))
	}
	return out
}
