package simulate

import "time"

// people draws what people do of their own accord.
func (g *generator) people() []func() Fault {
	who := func() string { return pick(g, "ann", "bob", "eve") }
	act := func(verb string, args ...func() string) func() Fault {
		return func() Fault {
			f := Fault{Class: "person", Object: who(), Verb: verb}
			for _, a := range args {
				f.Args = append(f.Args, a())
			}
			return f
		}
	}
	return []func() Fault{
		act("freezes"), act("unfreezes"), act("pauses", g.srv), act("resumes", g.srv), act("approves", g.srv), act("approves", g.srv), act("denies", g.srv),
		act("confirms", g.srv),
		act("heals", g.srv, func() string { return pick(g, "restartApp", "reboot", "relaunch", "move", "recover") }),
		act("maintains", func() string {
			return pick(g, "fleet", "server/"+g.srv(), "site/"+pick(g, g.zones...))
		}, func() string { return pick(g, "10s", "1m", "3m") }),
	}
}

// answers are people who look after a fleet in mode ask: without them nothing is
// ever started, and no promise about consent is tried.
func (g *generator) answers() {
	approve := func(at time.Duration, by, server string) {
		g.sc.Faults = append(g.sc.Faults, Fault{At: at, Class: "person", Object: by, Verb: "approves", Args: []string{server}})
	}
	for _, server := range g.servers {
		approve(g.between(time.Second, 10*time.Second), "ann", server)
		approve(g.between(time.Second, 10*time.Second), "bob", server)
	}
	for range 5 + g.r.IntN(15) {
		approve(g.between(30*time.Second, g.sc.For-10*time.Second), pick(g, "ann", "bob"), g.srv())
	}
}
