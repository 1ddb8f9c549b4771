package simulate

import "time"

type span = time.Duration

// play adds the faults of a scene that begins at some moment.
func (g *generator) play(faults []Fault, first, last span) {
	at := g.between(first, last)
	for _, f := range faults {
		f.At = min(at+f.At, last)
		if f.For != 0 {
			f.For = min(f.For, g.sc.For-f.At)
		}
		g.sc.Faults = append(g.sc.Faults, f)
	}
}

// moves draws planned moves, in two seeds of three where there are hosts to move between:
// alone, into trouble, and where they cannot be.
func (g *generator) moves(first, last span) {
	if g.quiet && !g.one(3) || g.one(3) {
		return
	}
	if (g.sc.Style == Cloud || len(g.sc.Hosts) == 1) && !g.one(6) {
		return // a platform chooses the hosts itself, and there is one only: all are refused
	}
	scenes := []scene{movedBack, movedTwice, movedFromAFailing}
	if !g.quiet {
		scenes = append(scenes, movedToAFailing, movedToAFailing, movedByAFailing, movedInVain, movedAgainstAStop, movedAway, movedThroughLosses)
	}
	if g.storm > 0 && len(g.sc.Hosts) > g.storm+1 {
		scenes = append(scenes, movedInAStorm, movedInAStorm, movedInAStorm)
	}
	of := pick(g, scenes...)
	for range 1 + g.r.IntN(5) {
		if g.one(2) {
			of = pick(g, scenes...)
		}
		g.play(of(g), first, last)
	}
}

func (g *generator) who() string { return pick(g, "ann", "bob", "eve") }

// to is where a server is moved: mostly to a host on which it is not.
func (g *generator) to() string {
	if g.one(4) {
		return g.host()
	}
	return "elsewhere"
}

// move is a person's wish. In mode ask others may have to agree to it.
func (g *generator) move(server, to string) []Fault {
	f := Fault{Class: "person", Object: g.who(), Verb: "moves", Args: []string{server, to}}
	if g.one(16) {
		f.Args = append(f.Args, "snapshot")
	}
	out := []Fault{f}
	if g.ask {
		for _, by := range []string{"ann", "bob", "eve"} {
			if by != f.Object && !g.one(3) {
				out = append(out, after(g.between(time.Second, 10*time.Second), Fault{Class: "person", Object: by, Verb: "approves", Args: []string{server}}))
			}
		}
	}
	return out
}

// later shifts faults.
func later(by span, faults []Fault) []Fault {
	for n := range faults {
		faults[n].At += by
	}
	return faults
}

// movedBack: there, and often back again.
func movedBack(g *generator) []Fault {
	server := g.srv()
	out := g.move(server, g.to())
	for range g.r.IntN(3) {
		out = append(out, later(g.between(5*time.Second, time.Minute), g.move(server, pick(g, "back", "back", g.to())))...)
	}
	return out
}

// movedTwice: two people want the same server elsewhere, or two servers swap.
func movedTwice(g *generator) []Fault {
	one, two := g.srv(), g.srv()
	out := g.move(one, g.to())
	return append(out, later(g.between(0, 5*time.Second), g.move(two, pick(g, "back", g.to())))...)
}

// movedFromAFailing: what is to be moved fails by itself just then, or its host does.
func movedFromAFailing(g *generator) []Fault {
	server := g.srv()
	out := later(g.between(0, 4*time.Second), g.move(server, g.to()))
	trouble := g.harm(server)
	if !g.quiet && g.one(2) {
		trouble = Fault{For: g.long(), Class: "host", Object: "of/" + server, Verb: pick(g, "dies", "freezes", "agent-dies")}
	}
	return append(out, after(g.between(0, 6*time.Second), trouble))
}

// movedToAFailing: the host that is to take it fails before, meanwhile or soon after.
func movedToAFailing(g *generator) []Fault {
	server, to := g.srv(), g.host()
	fails := to
	if !g.one(3) {
		to, fails = "elsewhere", "of/"+server // where it is by then
	}
	trouble := Fault{For: g.long(), Class: "host", Object: fails, Verb: pick(g, "dies", "dies", "freezes", "agent-dies", "closes")}
	if g.one(4) {
		trouble.Verb, trouble.Args = "cut", []string{pick(g, "control", "in", "out", "storage", "control,peers,storage")}
	}
	out := later(g.between(0, 3*time.Second), g.move(server, to))
	out = append(out, after(g.between(0, 8*time.Second), trouble))
	if g.one(3) { // and then there is no way back
		out = append(out, after(g.between(2*time.Second, 15*time.Second), Fault{For: g.long(), Class: "host", Object: g.host(), Verb: "dies"}))
	}
	return out
}

// movedByAFailing: the controller dies, stalls or is succeeded in the middle of it.
func movedByAFailing(g *generator) []Fault {
	server := g.srv()
	out := later(g.between(0, time.Second), g.move(server, g.to()))
	f := Fault{Class: "controller", Object: "active", Verb: "dies"}
	switch g.r.IntN(4) {
	case 0:
		f.Verb, f.Args = "dies-at", []string{pick(g, "before-commit", "after-commit", "before-call", "after-call")}
	case 1:
		f.Verb, f.For = "stalls", pick(g, 5*time.Second, 12*time.Second, 30*time.Second)
	case 2:
		f.Verb, f.For = "cut", g.last()
		f.Args = []string{pick(g, "hosts", "store")}
	}
	out = append(out, after(g.between(0, 4*time.Second), f))
	if g.sc.Controllers > 1 {
		out = append(out, after(g.between(0, 15*time.Second), Fault{Class: "controller", Object: pick(g, "c1", "c2"), Verb: "starts"}))
	}
	return out
}

// movedInVain: where no host is, where it is already, or where it may not go.
func movedInVain(g *generator) []Fault {
	server := g.srv()
	out := g.move(server, pick(g, "host-99", "back", "nowhere", pick(g, g.zones...)))
	to := g.host()
	out = append(out, Fault{For: g.long(), Class: "host", Object: to, Verb: pick(g, "closes", "dies")})
	return append(out, later(g.between(4*time.Second, 12*time.Second), g.move(server, to))...)
}

// movedAgainstAStop: somebody stops things before or in the middle of the move, and lets
// them go on later.
func movedAgainstAStop(g *generator) []Fault {
	server := g.srv()
	out := later(g.between(0, 2*time.Second), g.move(server, g.to()))
	person := func(at span, verb string, args ...string) {
		out = append(out, after(at, Fault{Class: "person", Object: g.who(), Verb: verb, Args: args}))
	}
	begins, ends := g.between(0, 4*time.Second), g.between(5*time.Second, time.Minute)
	switch g.r.IntN(3) {
	case 0:
		person(begins, "freezes")
		person(ends, "unfreezes")
	case 1:
		person(begins, "pauses", server)
		person(ends, "resumes", server)
	default:
		scope := pick(g, "fleet", "server/"+server, "site/"+pick(g, g.zones...), "site/"+g.host())
		person(begins, "maintains", scope, pick(g, "10s", "1m"))
		if g.one(2) {
			person(ends, "ends", scope)
		}
	}
	return out
}

// movedAway: a host is closed for work on it, and all are moved that may be there.
func movedAway(g *generator) []Fault {
	host := g.host()
	out := []Fault{{For: g.between(30*time.Second, 3*time.Minute), Class: "host", Object: host, Verb: "closes"}}
	for _, server := range g.servers {
		out = append(out, later(g.between(time.Second, 20*time.Second), g.move(server, g.to()))...)
	}
	if g.one(2) {
		out = append(out, after(g.between(20*time.Second, time.Minute), Fault{For: g.long(), Class: "host", Object: host, Verb: "dies"}))
	}
	return out
}

// movedInAStorm: more hosts are lost than may be healed without a person, and people
// move what still works; some let the storm go on.
func movedInAStorm(g *generator) []Fault {
	out := manyHosts(g)
	for n := range out {
		out[n].At = 0 // a moment later the first of them would be healed already
	}
	for range 1 + g.r.IntN(3) {
		out = append(out, later(g.between(5*time.Second, 30*time.Second), g.move(g.srv(), g.to()))...)
	}
	if g.one(3) {
		out = append(out, after(g.between(20*time.Second, time.Minute), Fault{Class: "person", Object: g.who(), Verb: "goes-on"}))
	}
	return out
}

// movedThroughLosses: calls of the move fail, get lost, come late or twice.
func movedThroughLosses(g *generator) []Fault {
	f := api(pick(g, "stop", "stop", "attach", "launch", "launch", "seal", "any"),
		pick(g, "timeoutBefore", "timeoutAfter", "serverError", "lostReply", "capacity", "refused", "notFound", "late", "doubled"), g.last(), g.share())
	if f.Verb == "late" || f.Verb == "doubled" {
		f.Args = append(f.Args, pick(g, "1s", "5s", "30s"))
	}
	return append([]Fault{f}, later(g.between(0, 3*time.Second), g.move(g.srv(), g.to()))...)
}
