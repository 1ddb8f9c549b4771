package oracle

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// S5, blast radius. Counted from the durable facts "a recovery begins" and from
// where the world had the server's newest instance:
//
//   - steps: recoveries begun in the fleet, and in each site above that host (or above
//     the one to which a later epoch was sent, see domains), within
//     the declared window (2 % shorter, for clocks that drift) are at most the
//     budget's; the first start of a server of which nothing ever was destroys nothing
//     and does not count;
//   - keepAlive: the recovery of one that the product itself calls isolated or
//     healthy, and that in truth works, leaves at least as many others that may have
//     worked within the last window; one that declares no check works as long as it
//     runs, for nobody was told how to ask it more;
//   - storm: while more hosts than allowed are in truth down for longer than anybody
//     needs to notice it, with their servers' newest epochs on them, and fell within
//     one storm window, no recovery begins that nobody has asked for; nor while the
//     durable verdicts say themselves that so many hosts that are down lost servers;
//     nor while the store holds a storm that nobody has let go on;
//     a planned move begins no more than a recovery does, though a person asked for it.
//
// Not covered: a view that doubts itself (all hosts silent at once), and storms of
// what is not a lost host. A platform shows none of its hosts, so to count them there
// would ask for what nobody outside can know (S5 speaks of what may be told): there
// the storm is left to what the verdicts say, and the budgets bound what begins.

type begun struct {
	at time.Time
	// stamp is its time by the clock of the controller that began it.
	stamp   time.Time
	server  string
	domains []string
}

func (o *Oracle) recoveryBegun(s *server, e entry) {
	o.begunInOrder(s, e)
	o.moveBegun(s)
	if len(s.known) == 0 {
		o.noStorm(s, e.ev)
		return
	}
	domains := o.domains(s)
	if !o.rewound.IsZero() && s.was.Epoch == 0 {
		// A store that was set back does not know where it ran.
		domains = domains[:1]
	}
	o.begun = append(o.begun, begun{at: e.written, stamp: e.ev.At, server: s.name, domains: domains})
	for _, d := range domains {
		o.withinBudget(s, d, e.at)
	}
	o.noStorm(s, e.ev)
	o.nobodyStarves(s, domains, e.at)
	s.onset = time.Time{}
}

func (o *Oracle) budgetOf(domain string) fleet.Budget {
	if domain == "fleet" {
		return o.intent.Fleet.Spec.Budget
	}
	return o.sites[domain].Spec.Budget
}

// used counts the recoveries that began in a domain within its window.
func (o *Oracle) used(domain string, window time.Duration, now time.Time) (n int) {
	for k := len(o.begun) - 1; k >= 0; k-- {
		b := o.begun[k]
		if now.Sub(b.at) >= window {
			break
		}
		if slices.Contains(b.domains, domain) {
			n++
		}
	}
	return n
}

// overByClocks counts those of them that are no longer in the window by the clocks of the
// controllers that began them and the last one: two clocks that drift are apart.
func (o *Oracle) overByClocks(domain string, sure, window time.Duration) (n int) {
	last := o.begun[len(o.begun)-1]
	for k := len(o.begun) - 1; k >= 0; k-- {
		b := o.begun[k]
		gap, told := last.at.Sub(b.at), last.stamp.Sub(b.stamp)
		if gap >= sure {
			break
		}
		if slices.Contains(b.domains, domain) && told >= window && told-gap <= clocksApart {
			n++
		}
	}
	return n
}

// clocksApart is how far the clocks of two controllers drift from each other in a run.
const clocksApart = 10 * time.Second

func (o *Oracle) withinBudget(s *server, domain string, now time.Time) {
	b := o.budgetOf(domain)
	if b.Steps > 0 {
		sure := b.Window.Std() - b.Window.Std()/50
		if domain == "fleet" && !o.budgeted.IsZero() {
			// A budget that people declare counts from then on.
			sure = min(sure, now.Sub(o.budgeted))
		}
		if n := o.used(domain, sure, now) - o.overByClocks(domain, sure, b.Window.Std()); n > b.Steps {
			o.Violate("S5", domain, "recovery %d within %s begins (of %s), the budget is %d", n, b.Window, s.name, b.Steps)
		}
	}
	working := s.newest != nil && !s.newest.okSince.IsZero() && (s.verdict.what == "isolated" || s.verdict.what == "healthy")
	if b.KeepAlive <= 0 || !working {
		return
	}
	others := 0
	for _, name := range o.names {
		t := o.servers[name].newest
		if name == s.name || t == nil || o.servers[name].gone || domain != "fleet" && !slices.Contains(o.path(t.host), domain) {
			continue
		}
		if at := o.served(o.servers[name], t); !at.IsZero() && now.Sub(at) < window(o.servers[name].spec) {
			others++
		}
	}
	if others < b.KeepAlive {
		o.Violate("S5", domain, "%s still works and its recovery begins, at most %d others do, and %d must be kept alive", s.name, others, b.KeepAlive)
	}
}

func (o *Oracle) noStorm(s *server, _ event.Event) {
	limit := o.intent.Fleet.Spec.Storm
	asked := s.asked || s.status.Recovery != nil && s.status.Recovery.Requested != ""
	if limit.Hosts <= 0 || asked && plannedOf(s) == nil {
		return // a person asked for it, and not only to have what works elsewhere
	}
	o.noStormTold(s, limit)
	o.noStormNoted(s)
	now := o.w.Now()
	if o.around.Cloud {
		return
	}
	if now.Sub(o.disturbed) < window(s.spec)+10*time.Second {
		return
	}
	if n := together(o.fell(now), limit.Hosts, limit.Window.Std()-slack); n > 0 {
		o.Violate("S5", s.name, "its recovery begins in a storm: %d hosts are down within %s, more than %d", n, limit.Window, limit.Hosts)
	}
}

// loss is when a host was lost; known if a person let the storm go on that it is one of.
type loss struct {
	at    time.Time
	known bool
}

// together counts the hosts that were lost within less than a window of each other, if
// they are more than the limit and one of them is not known; else 0.
func together(lost []loss, limit int, window time.Duration) int {
	slices.SortFunc(lost, func(a, b loss) int { return a.at.Compare(b.at) })
	for first := range lost {
		n, news := 0, false
		for _, l := range lost[first:] {
			if l.at.Sub(lost[first].at) >= window {
				break
			}
			n, news = n+1, news || !l.known
		}
		if n > limit && news {
			return n
		}
	}
	return 0
}

// fell lists the hosts that are down and ran a verified server.
func (o *Oracle) fell(now time.Time) []loss {
	var fell []loss
	seen := map[string]bool{}
	for _, name := range o.names {
		other := o.servers[name]
		t := other.newest
		if t == nil || seen[t.host] || !t.verified || len(other.live) == 0 || other.gone {
			continue
		}
		h := o.hosts[t.host]
		if h == nil || h.downSince.IsZero() || now.Sub(h.downSince) < window(other.spec) || other.status.Epoch != t.epoch {
			continue
		}
		seen[t.host] = true
		fell = append(fell, loss{at: h.downSince, known: o.spokenFor(t.host, h.downSince)})
	}
	return fell
}

// spokenFor reports that a person knew of the host's loss who let the storm go on: it was
// down by then, or is one of those of the storm, which lasts. Of these the person was told
// that they had lost their servers, be it because they were cut off: if one dies as well,
// that is what was spoken of.
func (o *Oracle) spokenFor(host string, down time.Time) bool {
	if down.Before(o.goesOn) {
		return true
	}
	var noted fleet.StormRecord
	raw, holds := o.ledger.records[stormKey]
	return holds && !o.goesOn.IsZero() && json.Unmarshal(raw, &noted) == nil && noted.GoOn != nil && slices.Contains(noted.Hosts, host)
}

// noStormNoted looks at the storm that the product itself has recorded.
func (o *Oracle) noStormNoted(s *server) {
	var noted fleet.StormRecord
	raw, holds := o.ledger.records[stormKey]
	if holds && json.Unmarshal(raw, &noted) == nil && noted.GoOn == nil {
		o.Violate("S5", s.name, "its recovery begins though %s holds all in the store: %s", noted.ID, noted.Reason)
	}
}

// noStormTold counts the hosts that are in truth down, and of which the verdicts in the
// store say that they took their servers with them.
func (o *Oracle) noStormTold(s *server, limit fleet.Storm) {
	lost := map[string]time.Time{}
	for _, name := range o.names {
		st := o.servers[name].status
		host, ok := strings.CutPrefix(st.Cause, "host ")
		if h := o.hosts[host]; o.servers[name].gone || !ok || h == nil || h.downSince.IsZero() || st.Verdict != fleet.Down && st.Verdict != fleet.Isolated {
			continue
		}
		for _, at := range []time.Time{st.VerdictSince, st.WellUntil} {
			if at.After(lost[host]) {
				lost[host] = at
			}
		}
	}
	var told, fell []loss
	for host, at := range lost { // order: sorted by time
		l := loss{at: at, known: o.spokenFor(host, o.hosts[host].downSince)}
		told = append(told, l)
		if l.at.Before(o.hosts[host].downSince) {
			l.at = o.hosts[host].downSince // its beats told more than the verdicts on its servers
		}
		fell = append(fell, l)
	}
	n := together(told, limit.Hosts, limit.Window.Std()+1)
	if n > 0 && together(fell, limit.Hosts, limit.Window.Std()+1) > 0 {
		o.Violate("S5", s.name, "its recovery begins though the verdicts in the store say that %d hosts lost their servers within %s, more than %d", n, limit.Window, limit.Hosts)
	}
}
