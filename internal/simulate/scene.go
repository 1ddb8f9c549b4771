package simulate

import (
	"strings"
	"time"
)

// scene is a few faults whose meeting matters: each alone is drawn anyway, and hardly
// ever one within the second in which the other would hurt. Its times count from when
// the scene begins.
type scene func(g *generator) []Fault

// scenes lets some scenes happen. Half the time the same one comes back, at another
// point of the recoveries.
func (g *generator) scenes(first, last time.Duration) {
	all := []scene{stalled, wished, barred, unanswered}
	if g.sc.Style == Hosts {
		all = append(all, succeeded)
	}
	if len(g.shared) > 0 {
		all = append(all, halfMade)
	}
	if len(g.onArrays) > 0 {
		all = append(all, zombie, zombie)
	}
	if g.sc.Members > 1 {
		all = append(all, unled, unled)
	}
	if g.storm > 0 && len(g.sc.Hosts) > g.storm+1 {
		all = append(all, manyHosts)
	}
	of := pick(g, all...)
	for range 1 + g.r.IntN(3) {
		if g.one(3) {
			of = pick(g, all...)
		}
		at := g.between(first, last)
		for _, f := range of(g) {
			f.At = min(at+f.At, last)
			if f.For != 0 {
				f.For = min(f.For, g.sc.For-f.At)
			}
			g.sc.Faults = append(g.sc.Faults, f)
		}
	}
}

func after(at time.Duration, f Fault) Fault {
	f.At = at
	return f
}

// harm is what makes the recovery of a server due.
func (g *generator) harm(server string) Fault {
	verb := pick(g, "killed", "killed", "crashes", "app-mute", "app-dies")
	return Fault{Class: "server", Object: server, Verb: verb}
}

// soon draws a moment of a recovery that began just before.
func (g *generator) soon() time.Duration {
	return pick(g, g.between(0, time.Second), g.between(time.Second, 10*time.Second), g.between(5*time.Second, 40*time.Second))
}

func api(call, verb string, lasts time.Duration, args ...string) Fault {
	return Fault{For: lasts, Class: "api", Object: call, Verb: verb, Args: args}
}

// stalled: the controller stops between its decision and the call, for longer than its
// lease or not; somebody may start another one meanwhile.
func stalled(g *generator) []Fault {
	out := []Fault{
		{For: pick(g, 8*time.Second, 12*time.Second, 15*time.Second, 30*time.Second), Class: "controller", Object: "active", Verb: "stalls"},
		after(g.between(0, 2*time.Second), g.harm(g.srv())),
	}
	if g.sc.Controllers > 1 {
		for _, name := range []string{"c1", "c2"} {
			out = append(out, after(g.between(0, 8*time.Second), Fault{Class: "controller", Object: name, Verb: "starts"}))
		}
	}
	return out
}

// succeeded: calls are still under way when the next controller has taken the term.
func succeeded(g *generator) []Fault {
	call := pick(g, "any", "stop", "seal", "attach", "launch")
	return []Fault{
		api(call, pick(g, "late", "late", "doubled"), g.between(20*time.Second, time.Minute), "100%", pick(g, "5s", "20s", "30s", "1m")),
		after(g.between(0, 2*time.Second), g.harm(g.srv())),
		after(g.soon(), Fault{Class: "controller", Object: "active", Verb: "dies"}),
	}
}

// wished: a person asks for something while a recovery is under way.
func wished(g *generator) []Fault {
	server := g.srv()
	out := []Fault{
		api(pick(g, "stop", "seal", "attach", "launch", "any"), pick(g, "timeoutBefore", "serverError", "capacity"), g.between(20*time.Second, time.Minute), "100%"),
		after(g.between(0, 2*time.Second), g.harm(server)),
	}
	for range 2 {
		wish := Fault{Class: "person", Object: "ann", Verb: "heals", Args: []string{server, pick(g, "restartApp", "relaunch", "relaunch", "move")}}
		out = append(out, after(g.soon(), wish))
	}
	return out
}

// barred: a way of proof is closed for a while, so that others are tried.
func barred(g *generator) []Fault {
	verb := pick(g, "timeoutBefore", "timeoutAfter", "serverError", "refused", "notFound")
	return []Fault{
		api(pick(g, "stop", "stop", "seal", "powerOff"), verb, pick(g, time.Minute, 2*time.Minute), "100%"),
		after(g.between(0, 2*time.Second), pick(g, g.harm(g.srv()), Fault{Class: "server", Object: g.srv(), Verb: "app-mute"})),
	}
}

// unanswered: nobody can tell whether the new instance was started, until it is seen.
func unanswered(g *generator) []Fault {
	lasts := pick(g, 9*time.Second, 13*time.Second, 20*time.Second, 45*time.Second)
	call := "launch"
	if g.sc.Style == Hosts {
		call = pick(g, "launch", "attach")
	}
	f := api(call, pick(g, "late", "late", "lostReply", "timeoutBefore", "timeoutAfter"), lasts, "100%")
	if f.Verb == "late" {
		f.Args = append(f.Args, pick(g, "5s", "8s", "12s", "30s"))
	}
	return []Fault{f, after(g.between(0, 4*time.Second), Fault{Class: "server", Object: g.srv(), Verb: "killed"})}
}

// halfMade: an epoch is given up before it was started, on a host that then stands
// still and keeps what was prepared, though the file server forgets its locks; a
// person, who sees that nothing runs there, says so; and then the host goes on.
func halfMade(g *generator) []Fault {
	volume := pick(g, g.shared...)
	server, _, _ := strings.Cut(volume, "/")
	out := []Fault{
		api("launch", pick(g, "timeoutBefore", "serverError"), g.between(10*time.Second, 20*time.Second), "100%"),
		after(g.between(0, time.Second), Fault{Class: "server", Object: server, Verb: "killed"}),
		after(g.between(3*time.Second, 6*time.Second), Fault{For: g.between(time.Minute, 3*time.Minute), Class: "host", Object: "of/" + server, Verb: "freezes"}),
	}
	if g.one(2) {
		out = append(out, api("powerOff", "refused", 2*time.Minute, "100%"))
	}
	for _, v := range g.shared {
		if strings.HasPrefix(v, server+"/") {
			out = append(out, after(g.between(10*time.Second, 20*time.Second), Fault{Class: "volume", Object: v, Verb: "loses-lock"}))
		}
	}
	for _, by := range []string{"ann", "bob"} {
		out = append(out, after(g.between(20*time.Second, 50*time.Second), Fault{Class: "person", Object: by, Verb: "confirms", Args: []string{server}}))
	}
	return out
}

// manyHosts: more hosts are lost at once than may be healed without a person.
func manyHosts(g *generator) []Fault {
	hosts := g.r.Perm(len(g.sc.Hosts))[:g.storm+1]
	lasts := g.long()
	var out []Fault
	for _, n := range hosts {
		out = append(out, after(g.between(0, 3*time.Second), Fault{For: lasts, Class: "host", Object: g.sc.Hosts[n].Name, Verb: "dies"}))
	}
	return out
}
