package peers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/bench/detector"
)

// result is one detector in one scenario, in Chen's terms.
type result struct {
	scenario, who, about string
	// found is the median time from a death to its verdict, worst the longest.
	found, worst time.Duration
	deaths       int
	missed       int
	// mistakes were seen in so many member-hours; healthy leaves out those about
	// starved members.
	mistakes, healthy int
	memberHours       float64
	lasted            time.Duration // the median mistake
	lastedP99         time.Duration
	packets           float64
}

const (
	relight    = "Relight"
	byAny      = "held dead by any member"
	byMost     = "held dead by most members"
	perMillion = 1e6
)

func ofPeer(scenario, name string, t *tally) []result {
	base := result{
		scenario: scenario, who: name, deaths: len(t.all), missed: t.missed, memberHours: t.memberHours, packets: t.packets,
	}
	anyOf, most := base, base
	anyOf.about, anyOf.mistakes, anyOf.healthy = byAny, t.any, t.anyHealthy
	anyOf.found, anyOf.worst = detector.Quantile(t.first, 0.5), detector.Quantile(t.first, 1)
	anyOf.lasted, anyOf.lastedP99 = detector.Quantile(t.lasted, 0.5), detector.Quantile(t.lasted, 0.99)
	most.about, most.mistakes, most.healthy = byMost, t.most, t.mostHealthy
	most.found, most.worst = detector.Quantile(t.median, 0.5), detector.Quantile(t.median, 1)
	most.lasted, most.lastedP99 = detector.Quantile(t.mostLasted, 0.5), detector.Quantile(t.mostLasted, 0.99)
	return []result{anyOf, most}
}

func ofOurs(scenario string, t *detector.Tally) result {
	return result{
		scenario: scenario, who: relight, about: t.Setting.Name, found: detector.Quantile(t.Detected, 0.5), worst: detector.Quantile(t.Detected, 1),
		deaths: len(t.Detected), missed: t.Missed, mistakes: t.Mistakes, healthy: t.Healthy, memberHours: t.MemberHours,
		lasted: detector.Quantile(t.Lasted, 0.5), lastedP99: detector.Quantile(t.Lasted, 0.99), packets: t.Packets,
	}
}

// rate is the mistakes in a million member-hours; upper and lower are its
// one-sided 95 % bounds.
func (r result) rate() float64  { return float64(r.mistakes) / r.memberHours * perMillion }
func (r result) upper() float64 { return detector.UpperBound(r.mistakes) / r.memberHours * perMillion }
func (r result) lower() float64 { return detector.LowerBound(r.mistakes) / r.memberHours * perMillion }

func (r result) mistakesText() string {
	if r.mistakes == 0 {
		return "0 seen, < " + thousands(r.upper())
	}
	return fmt.Sprintf("%s (%s to %s)", thousands(r.rate()), thousands(r.lower()), thousands(r.upper()))
}

func thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func secs(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) }

// sorted puts the results in the order of the scenarios, peers first, then ours by
// how fast they are.
func (c *collected) sorted() []result {
	c.mu.Lock()
	defer c.mu.Unlock()
	place := func(r result) int {
		at := 0
		for i, s := range scenarios() {
			if s.Name == r.scenario {
				at = i * 100
			}
		}
		switch r.who {
		case lan:
		case plainSWIM:
			at += 2
		default:
			for i, s := range slices.Concat(hasty(), calm()) {
				if s.Name == r.about {
					at += 10 + i
				}
			}
		}
		if r.about == byMost {
			at++
		}
		return at
	}
	out := slices.Clone(c.results)
	slices.SortStableFunc(out, func(a, b result) int { return place(a) - place(b) })
	return out
}

// table is all results in Markdown.
func (c *collected) table() string {
	var b strings.Builder
	b.WriteString("| scenario | detector | detection time, median / worst, s | mistakes per 10⁶ member-hours (one-sided 95 % bounds) | mistake lasts, median / p99, s | deaths found | member-hours | packets/s of a member |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|\n")
	for _, r := range c.sorted() {
		lasts := "–"
		if r.mistakes > 0 {
			lasts = secs(r.lasted) + " / " + secs(r.lastedP99)
		}
		about := ""
		if r.scenario == "starved" && r.mistakes > 0 {
			about = fmt.Sprintf("; about members that were not starved: %d of %d", r.healthy, r.mistakes)
		}
		fmt.Fprintf(&b, "| %s | %s, %s | %s / %s | %s%s | %s | %d of %d | %.0f | %.0f |\n", r.scenario, r.who, r.about,
			secs(r.found), secs(r.worst), r.mistakesText(), about, lasts, r.deaths, r.deaths+r.missed, r.memberHours, r.packets)
	}
	return b.String()
}

func (c *collected) faultTable() string {
	var b strings.Builder
	b.WriteString("| fault of the observer | detector | trials | recoveries started | share of trials, upper 95 % bound |\n|---|---|---|---|---|\n")
	for _, f := range c.faults {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %.2g |\n", f.name, f.setting, f.trials, f.recoveries, detector.UpperBound(f.recoveries)/float64(f.trials))
	}
	return b.String()
}

// row is a row of relight bench.
type row struct {
	Name      string  `json:"name"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
	Peer      string  `json:"peer,omitempty"`
	PeerValue float64 `json:"peer_value,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"`
	Goal      string  `json:"goal,omitempty"`
}

func (c *collected) find(scenario, who, about string) (result, bool) {
	for _, r := range c.sorted() {
		if r.scenario == scenario && r.who == who && r.about == about {
			return r, true
		}
	}
	return result{}, false
}

// rows compares our defaults with memberlist's. Of mistakes it takes our upper bound
// and the peer's lower one: luck must not make the ratio.
func (c *collected) rows() []row {
	var out []row
	for _, s := range scenarios() {
		mine, ok := c.find(s.Name, relight, defaults)
		if !ok {
			continue
		}
		for _, about := range []string{byAny, byMost} {
			if theirs, ok := c.find(s.Name, lan, about); ok {
				out = append(out, compare(s.Name, mine, theirs)...)
			}
		}
	}
	n, started := 0, 0
	for _, f := range c.faults {
		n += f.trials
		started += f.recoveries
	}
	if n > 0 {
		out = append(out, row{Name: "detector: recoveries started by an observer's own fault", Value: float64(started), Unit: fmt.Sprintf("in %d trials", n), Goal: "0"})
	}
	return out
}

func compare(scenario string, mine, theirs result) []row {
	goalTime, goalRate := "", ""
	if scenario == "loss 30 %" {
		goalTime, goalRate = "<= 1", "<= 1/50"
	}
	out := []row{{
		Name: "detector: median detection time, " + scenario + " (" + theirs.about + ")", Value: mine.found.Seconds(), Unit: "s",
		Peer: lan, PeerValue: theirs.found.Seconds(), Ratio: mine.found.Seconds() / max(theirs.found.Seconds(), 1e-9), Goal: goalTime,
	}}
	r := row{Name: "detector: mistakes, upper bound, " + scenario + " (" + theirs.about + ")", Value: mine.upper(), Unit: "per 10^6 member-hours", Goal: goalRate}
	if theirs.lower() > 0 {
		r.Peer, r.PeerValue, r.Ratio = lan+", lower bound", theirs.lower(), mine.upper()/theirs.lower()
	}
	return append(out, r)
}
