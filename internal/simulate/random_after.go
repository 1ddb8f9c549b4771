package simulate

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Streams of their own, so that what is drawn in one place leaves all else as it is.
const (
	streamAfter    = 0x6166746572
	streamMoves    = 0x6d6f766573
	streamChanges  = 0x6368616e6765
	streamRestored = 0x726573746f7265
	streamOffline  = 0x6f66666c696e65
)

// aside draws from a stream of its own.
func (g *generator) aside(stream uint64, draw func()) {
	r := g.r
	g.r = rand.New(rand.NewPCG(g.sc.Seed, stream)) //nolint:gosec // a seed that repeats
	draw()
	g.r = r
}

// needs draws which servers are started after which, in one seed of three, and writes it
// into the documents: chains, fans and trees, in the order of the names or against it. It
// is a feature of the seed, so a server has none or up to two.
func (g *generator) needs(docs []string) {
	if !g.one(3) || len(g.servers) < 2 {
		return
	}
	order := g.r.Perm(len(g.servers))
	for at, n := range order[1:] {
		var after []string
		switch before := order[:at+1]; {
		case g.one(4):
		case g.one(3):
			after = []string{g.servers[before[len(before)-1]]} // a chain
		default:
			for _, k := range g.r.Perm(len(before))[:min(1+g.r.IntN(2), len(before))] {
				after = append(after, g.servers[before[k]])
			}
		}
		if len(after) > 0 {
			g.after = true
			docs[n] += fmt.Sprintf("  after: [%s]\n", strings.Join(after, ", "))
		}
	}
}

// felled is what has several servers fail at once, of which some need others: whole
// hosts or sites, or one server and soon those that need it.
func (g *generator) felled() []Fault {
	switch g.r.IntN(3) {
	case 0:
		return []Fault{{For: g.long(), Class: "host", Object: g.host(), Verb: "dies"}}
	case 1:
		return []Fault{{For: g.long(), Class: "site", Object: pick(g, g.zones...), Verb: "dies"}}
	default:
		var out []Fault
		for _, n := range g.r.Perm(len(g.servers))[:min(2+g.r.IntN(3), len(g.servers))] {
			out = append(out, after(g.soon(), g.harm(g.servers[n])))
		}
		return out
	}
}

// ordered has servers fail together where some need others.
func (g *generator) ordered(from, last span) {
	if !g.after {
		return
	}
	for range g.r.IntN(3) {
		g.play(g.felled(), from, last)
	}
}
