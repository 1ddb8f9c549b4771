package simulate

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Print writes the answer as text for people: a table, the reasons, a timeline.
func (a Answer) Print() string {
	var b strings.Builder
	what := "lost"
	if a.Cut {
		what = "cut off"
	}
	fmt.Fprintf(&b, "If %s %s %s:\n\n", listOf(a.Asked), map[bool]string{true: "was", false: "were"}[len(a.Asked) == 1], what)
	fmt.Fprintf(&b, "%s\n\n", a.sum())
	a.table(&b)
	a.reasons(&b)
	fmt.Fprintf(&b, "\nAssumed: %s.\n", strings.Join(a.Assumed, "; "))
	if len(a.Timeline) > 0 {
		fmt.Fprintln(&b, "\nSeconds after the loss:")
		for _, m := range a.Timeline {
			fmt.Fprintf(&b, "%9.1f  %-8s %s\n", m.At, m.What, short(m.Text))
		}
	}
	return b.String()
}

// sum counts what becomes of the servers.
func (a Answer) sum() string {
	count := map[string]int{}
	last := 0.0
	for _, f := range a.Servers {
		count[f.Outcome]++
		if f.Outcome == Returns && f.Outage != nil {
			last = max(last, *f.Outage)
		}
	}
	var parts []string
	for _, o := range []struct{ outcome, words string }{
		{Untouched, "run on"}, {Returns, "come back"}, {Asks, "ask a person"}, {NeedsPerson, "need a person"}, {Waits, "wait"}, {NeverStarted, "had no place before"},
	} {
		n := count[o.outcome]
		if n == 0 {
			continue
		}
		text := fmt.Sprintf("%d %s", n, o.words)
		if o.outcome == Returns {
			text += fmt.Sprintf(" (the slowest after %.1f s)", last)
		}
		parts = append(parts, text)
	}
	return fmt.Sprintf("Of %d servers: %s.", len(a.Servers), strings.Join(parts, ", "))
}

// listAll is up to how many servers those that run on are listed too.
const listAll = 12

func (a Answer) table(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "server\tran on\twhat happens\tusers see\tdetected\tfenced\tstarted\tverified")
	for _, f := range a.Servers {
		if f.Outcome == Untouched && len(a.Servers) > listAll {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Server, orDash(f.From), f.words(), f.Users,
			at(f.Detected), at(f.Fenced), at(f.Started), at(f.Verified))
	}
	_ = w.Flush() // into memory
}

// words say what happens to the server.
func (f Fate) words() string {
	switch f.Outcome {
	case Untouched:
		return "runs on"
	case Returns:
		if f.To != "" && f.To != f.From {
			return "returns on " + f.To
		}
		return "returns"
	case Asks:
		return "asks a person"
	case NeedsPerson:
		return "needs a person"
	case NeverStarted:
		return "had no place before"
	default:
		return "waits"
	}
}

// reasons say why some do not come back, and what an approval would change.
func (a Answer) reasons(b *strings.Builder) {
	head := "\nWhy:\n"
	for _, f := range a.Servers {
		if f.Reason == "" {
			continue
		}
		fmt.Fprintf(b, "%s  %s %s (%s): %s\n", head, f.Server, f.words(), orDash(f.Gate), f.Reason)
		head = ""
		if p := f.Approved; p != nil {
			then := p.words()
			if p.Outcome == Returns {
				then += ", verified " + at(p.Verified) + " s after it"
			} else if p.Reason != "" {
				then += ": " + p.Reason
			}
			fmt.Fprintf(b, "    if it were approved at once: %s\n", then)
		}
	}
}

// lineFor is how long a line of the timeline may be; the JSON has all of it.
const lineFor = 160

func short(text string) string {
	if r := []rune(text); len(r) > lineFor {
		return string(r[:lineFor]) + "..."
	}
	return text
}

func at(s *float64) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", *s)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func listOf(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
