package simulate

import (
	"fmt"
	"time"
)

// membered gives the store of some seeds several members. A minority of them may lose
// what they have on their disks: with a majority of them nothing could be promised.
func (g *generator) membered() {
	if !g.one(3) {
		return
	}
	g.sc.Members = pick(g, 3, 3, 5)
}

// members draws what happens to the members of the store.
func (g *generator) members() []func() Fault {
	n := g.sc.Members
	if n < 2 {
		return nil
	}
	any := func() string {
		if g.one(3) {
			return "leader"
		}
		return fmt.Sprintf("m%d", 1+g.r.IntN(n))
	}
	frail := func() string { return fmt.Sprintf("m%d", 1+g.r.IntN((n-1)/2)) }
	return []func() Fault{
		g.outage("member", any, "dies"), g.outage("member", any, "dies"), g.outage("member", any, "cut"),
		g.outage("member", frail, "emptied"),
		func() Fault {
			return Fault{For: g.long(), Class: "member", Object: frail(), Verb: "torn", Args: []string{pick(g, "1", "3", "20")}}
		},
		func() Fault {
			return Fault{For: g.long(), Class: "member", Object: "leader", Verb: "dies-halfway", Args: []string{fmt.Sprint(g.r.IntN(n - 1))}}
		},
	}
}

// restored: the store is lost and set back to a backup, once at most in a seed: while a
// recovery is due, or a while after it.
func (g *generator) restored(first, last span) {
	if g.quiet || !g.one(8) {
		return
	}
	g.play([]Fault{
		g.harm(g.srv()),
		after(g.between(time.Second, 90*time.Second), Fault{Class: "store", Object: "main", Verb: "restored", Args: []string{pick(g, "5s", "20s", "1m", "3m")}}),
		after(g.between(0, 2*time.Minute), g.harm(g.srv())),
	}, first, last)
}

// unled: the store loses its leader in the middle of a write, while a recovery is due;
// and a member comes back with less than it had.
func unled(g *generator) []Fault {
	n := g.sc.Members
	out := []Fault{
		{For: g.long(), Class: "member", Object: "leader", Verb: pick(g, "dies-halfway", "dies-halfway", "cut", "dies")},
		after(g.between(0, 3*time.Second), g.harm(g.srv())),
		after(g.between(0, 20*time.Second), Fault{For: g.long(), Class: "member", Object: "m1", Verb: pick(g, "emptied", "dies")}),
	}
	if out[0].Verb == "dies-halfway" {
		out[0].Args = []string{fmt.Sprint(g.r.IntN(n - 1))}
	}
	return out
}
