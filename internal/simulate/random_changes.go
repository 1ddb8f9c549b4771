package simulate

import (
	"fmt"
	"strings"
	"time"
)

// changes draws what people do to the documents and the guards in the middle of a run,
// in one seed of four.
func (g *generator) changes(first, last span) {
	if g.storm > 0 && g.one(2) {
		for range 1 + g.r.IntN(3) {
			g.play([]Fault{{Class: "person", Object: g.who(), Verb: "goes-on"}}, first, last)
		}
	}
	if g.quiet || !g.one(4) {
		return
	}
	all := []scene{reordered, reranked, remoded, deleted, shortened, refenced, rebudgeted}
	some := []scene{pick(g, all...)}
	for _, s := range all {
		if g.one(3) {
			some = append(some, s)
		}
	}
	for range 1 + g.r.IntN(4) {
		g.play(pick(g, some...)(g), first, last)
	}
}

func (g *generator) changed(what ...string) Fault {
	return Fault{Class: "person", Object: g.who(), Verb: "changes", Args: what}
}

// reranked: another server becomes the important one, as they fail or wait.
func reranked(g *generator) []Fault {
	return []Fault{
		g.changed(g.srv(), "priority", pick(g, "0", "10", "20", "30")),
		after(g.between(0, 5*time.Second), g.harm(g.srv())),
	}
}

// reordered: a server needs others than before, or none, or would close a circle, which
// is refused.
func reordered(g *generator) []Fault {
	server := g.srv()
	others := g.r.Perm(len(g.servers))[:g.r.IntN(min(3, len(g.servers)))]
	var names []string
	for _, n := range others {
		names = append(names, g.servers[n])
	}
	list := strings.Join(names, ",")
	if list == "" {
		list = "none"
	}
	g.after = g.after || list != "none"
	return []Fault{after(g.between(0, 3*time.Second), g.changed(server, "after", list)), after(g.between(0, 5*time.Second), g.harm(g.srv()))}
}

// refenced: another proof is demanded of a server while the old epoch is being fenced, or
// the next one is made on what was proof enough.
func refenced(g *generator) []Fault {
	server := g.srv()
	return []Fault{
		after(g.between(0, 5*time.Second), g.harm(server)),
		after(g.between(0, 15*time.Second), g.changed(server, "fence", pick(g, "both", "power", "powerFirst", "storage"))),
		after(g.between(20*time.Second, 2*time.Minute), g.changed(server, "fence", pick(g, "storage", "powerFirst", "power", "both"))),
	}
}

// rebudgeted: fewer recoveries may begin than before, or more, while some have begun.
func rebudgeted(g *generator) []Fault {
	budget := func() string { return pick(g, "1/1m", "1/5m", "2/1m", "3/5m", "none") }
	return []Fault{
		after(g.between(0, 5*time.Second), g.harm(g.srv())),
		after(g.between(0, 10*time.Second), g.changed("fleet", "budget", budget())),
		after(g.between(0, 20*time.Second), g.harm(g.srv())),
		after(g.between(20*time.Second, 2*time.Minute), g.changed("fleet", "budget", budget())),
	}
}

// remoded: how far Relight may go is set anew while something is under way.
func remoded(g *generator) []Fault {
	of, server := pick(g, "fleet", g.srv(), g.srv()), g.srv()
	out := []Fault{
		after(g.between(0, 5*time.Second), g.harm(server)),
		after(g.between(0, 10*time.Second), g.changed(of, "mode", pick(g, "ask", "ask", "observe", "auto"))),
		after(g.between(20*time.Second, 2*time.Minute), g.changed(of, "mode", pick(g, "auto", "auto", "ask"))),
	}
	for _, by := range []string{"ann", "bob"} {
		if g.one(2) {
			out = append(out, after(g.between(5*time.Second, 30*time.Second), Fault{Class: "person", Object: by, Verb: "approves", Args: []string{server}}))
		}
	}
	return out
}

// deleted: a server is deleted, and mostly declared again, whatever became of it and of
// the others on its host meanwhile.
func deleted(g *generator) []Fault {
	server := g.srv()
	out := []Fault{{Class: "person", Object: g.who(), Verb: "deletes", Args: []string{server}}}
	if g.one(2) {
		out = append(out, after(g.soon(), g.harm(pick(g, server, g.srv()))))
	}
	if g.one(3) {
		out = append(out, after(g.soon(), Fault{For: g.long(), Class: "host", Object: g.host(), Verb: "dies"}))
	}
	if !g.one(4) {
		out = append(out, after(g.between(time.Second, time.Minute), Fault{Class: "person", Object: g.who(), Verb: "declares", Args: []string{server}}))
	}
	return out
}

// shortened: a window, also over one host, ends before its time.
func shortened(g *generator) []Fault {
	scope := pick(g, "fleet", "server/"+g.srv(), "site/"+pick(g, g.zones...), "site/"+g.host())
	if g.sc.Style == Cloud {
		scope = pick(g, "fleet", "server/"+g.srv())
	}
	return []Fault{
		{Class: "person", Object: g.who(), Verb: "maintains", Args: []string{scope, fmt.Sprint(g.between(20*time.Second, 3*time.Minute))}},
		after(g.between(0, 10*time.Second), g.harm(g.srv())),
		after(g.between(5*time.Second, 40*time.Second), Fault{Class: "person", Object: g.who(), Verb: "ends", Args: []string{scope}}),
	}
}
