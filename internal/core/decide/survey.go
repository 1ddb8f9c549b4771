package decide

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// Row is what Survey needs to know about one server.
type Row struct {
	Server string
	// Sites is the path of the host that runs it: the host first, then upwards.
	Sites   []string
	Verdict fleet.Verdict
	Phase   fleet.Phase
	Cause   string
	// Since is since when the verdict holds, or when it ceased to be healthy if that is
	// later, see Lost.
	Since    time.Time
	Priority int
	// Waits is the domain for whose budget it waits, see Decision.Waits, and
	// WaitsSince is since when; empty and zero if for none.
	Waits      string
	WaitsSince time.Time
	// Claims is how many units its recovery looks for, see [Claims].
	Claims int
}

// alive reports whether the server counts as one that works. One whose recovery runs
// was ended or may have been, whatever was last seen of it: counted as alive, several
// at once would be taken away from those that must be kept (S5).
func (r Row) alive() bool {
	return r.Verdict == fleet.Healthy && r.Phase != fleet.PhaseRecovering && r.Phase != fleet.PhaseNeedsPerson
}

// Count is one domain's part of a Survey. Healthy leaves out those whose recovery
// runs.
type Count struct {
	Total, Healthy, Suspect, Down, Recovering int
	// Waiting counts the servers that wait for this domain's budget, highest
	// priority first.
	Waiting []fleet.Waiting
	// Claims are the units that recoveries look for, highest priority first.
	Claims []fleet.Claim
}

// Surveyed is the sum over many servers. Two sums of different shards add up to
// the sum of both (Add), so that shards count alone and a cell counts once.
type Surveyed struct {
	Domains map[string]Count
	// LostHosts lists the hosts that lost servers, with the time of the last loss.
	LostHosts map[string]time.Time
	Blind     string
}

// Survey counts the rows of one shard.
func Survey(rows []Row) Surveyed {
	t := NewTally()
	for _, r := range rows {
		t.Add(r)
	}
	return t.Sum()
}

// Add joins the sums of two shards.
func Add(a, b Surveyed) Surveyed {
	sum := Surveyed{Domains: map[string]Count{}, LostHosts: map[string]time.Time{}, Blind: a.Blind}
	if sum.Blind == "" {
		sum.Blind = b.Blind
	}
	for _, part := range []Surveyed{a, b} {
		for name, c := range part.Domains { // order: counts add up the same in any order
			t := sum.Domains[name]
			t.Total += c.Total
			t.Healthy += c.Healthy
			t.Suspect += c.Suspect
			t.Down += c.Down
			t.Recovering += c.Recovering
			for _, w := range c.Waiting {
				t.Waiting = waiting(t.Waiting, w.Priority, w.Servers, earliest(since(t.Waiting, w.Priority), w.Since))
			}
			for _, w := range c.Claims {
				t.Claims = claiming(t.Claims, w.Priority, w.Units)
			}
			sum.Domains[name] = t
		}
		for h, at := range part.LostHosts { // order: the latest wins in any order
			if at.After(sum.LostHosts[h]) {
				sum.LostHosts[h] = at
			}
		}
	}
	return sum
}

// since is since when the longest of a priority waits; zero if none does.
func since(list []fleet.Waiting, priority int) time.Time {
	for _, w := range list {
		if w.Priority == priority {
			return w.Since
		}
	}
	return time.Time{}
}

// Bounds are the limits that Around puts beside the counts.
type Bounds struct {
	// Budgets by domain name; "fleet" for the whole.
	Budgets map[string]fleet.Budget
	// Begun lists, by domain, the recoveries that began lately.
	Begun map[string][]fleet.Begun
	Storm fleet.Storm
}

// Around picks what surrounds one server out of the survey: the fleet and each
// of its sites, and the storm classifier's finding.
func Around(s Surveyed, sites []string, b Bounds) fleet.Around {
	return fleet.Around{Domains: Domains(s, sites, b), Storm: Classify(s, b.Storm)}
}

// Domains picks the fleet and the given sites out of the survey.
func Domains(s Surveyed, sites []string, b Bounds) []fleet.Domain {
	out := make([]fleet.Domain, 0, len(sites)+1)
	for _, name := range append([]string{"fleet"}, sites...) {
		c := s.Domains[name]
		out = append(out, fleet.Domain{
			Name: name, Total: c.Total, Healthy: c.Healthy, Suspect: c.Suspect, Down: c.Down, Recovering: c.Recovering,
			Budget: b.Budgets[name], Begun: b.Begun[name], Waiting: slices.Clone(c.Waiting), Claims: slices.Clone(c.Claims),
		})
	}
	return out
}

// Lost is when a server that is down was lost, as well as the records tell: a source that
// was silent long before the others, as an agent that died, must not put its host's loss
// before those of the hosts that fell with it (S5).
func Lost(s fleet.Status) time.Time {
	if s.WellUntil.After(s.VerdictSince) {
		return s.WellUntil
	}
	return s.VerdictSince
}

// Classify is the storm classifier: it groups what fails by its shared cause.
// Servers that fail one by one, and the loss of one host, are no storm. More
// hosts than the limit within the window are, and so is a view that cannot be
// trusted.
func Classify(s Surveyed, limit fleet.Storm) *fleet.Trouble {
	if s.Blind != "" {
		return &fleet.Trouble{Cause: ownView, Reason: "every host fell silent at once: the controller doubts its own view"}
	}
	if limit.Hosts <= 0 {
		return nil
	}
	return lostTogether(s.LostHosts, limit, nil)
}

// namedHosts is how many hosts a reason names: it goes into the record of every
// server that the storm holds.
const namedHosts = 8

func listed(names []string) string {
	if more := len(names) - namedHosts; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:namedHosts], ", "), more)
	}
	return strings.Join(names, ", ")
}

// lostTogether finds the largest set of hosts whose losses lie within one window of each
// other and which are more than the limit, among those sets that hold a host which is not
// among the known ones; nil if there is none. It does not look at the present: a storm
// does not pass because time does, only because its servers are healed or a person has
// asked for their recovery (S5).
func lostTogether(lost map[string]time.Time, limit fleet.Storm, known []string) *fleet.Trouble {
	names := make([]string, 0, len(lost))
	for h := range lost { // order: sorted below
		names = append(names, h)
	}
	sort.Slice(names, func(a, b int) bool {
		if !lost[names[a]].Equal(lost[names[b]]) {
			return lost[names[a]].Before(lost[names[b]])
		}
		return names[a] < names[b]
	})
	old := make(map[string]bool, len(known))
	for _, h := range known {
		old[h] = true
	}
	var best []string
	first, newest := 0, -1 // newest is the last host so far that is not known
	for last := range names {
		for lost[names[last]].Sub(lost[names[first]]) > limit.Window.Std() {
			first++
		}
		if !old[names[last]] {
			newest = last
		}
		if n := last - first + 1; newest >= first && n > max(len(best), limit.Hosts) {
			best = names[first : last+1]
		}
	}
	if best == nil {
		return nil
	}
	best = slices.Sorted(slices.Values(best))
	return stormOf(best, limit)
}
