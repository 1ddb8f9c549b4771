package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// line tells one result to whoever waits.
func line(r result) string {
	took := r.Took.Round(100 * time.Millisecond)
	switch {
	case r.Err != nil:
		return fmt.Sprintf("MISSED %s: %v", r.Name, r.Err)
	case r.By == "":
		return fmt.Sprintf("MISSED %s: %d runs in %s, others %v: %s", r.Name, r.Ran, took, r.Others, r.Detail)
	case r.By == "test":
		return fmt.Sprintf("found  %s by %s in %s", r.Name, r.Detail, took)
	default:
		return fmt.Sprintf("found  %s by %s in %s, run %d, in %s: %s", r.Name, r.By, r.Run.name(), r.Ran, took, r.Detail)
	}
}

// row is a line of docs/planted.md.
type row struct {
	text  string
	found bool
}

// rowOf tells one result.
func rowOf(r result) row {
	how, seed := nothing, ""
	switch {
	case r.By == "test":
		how = "`" + r.Detail + "`"
	case r.By != "":
		how, seed = r.By, cmp.Or(r.Run.Story, fmt.Sprint(r.Run.Seed))
	}
	story := strings.ReplaceAll(r.Story, "|", "\\|")
	return row{fmt.Sprintf("%s(../%s/%s.patch) | %s | %s | %s | %s |", rowHead(r.Name), patchesIn, r.Name, story, strings.Join(r.Breaks, " "), how, seed), r.By != ""}
}

func rowHead(name string) string { return "| [" + name + "]" }

// nothing is in the row of a bug that was not found.
const nothing = "**nothing**"

// rows are those of all planted bugs: of one that was not looked for now, what the
// document said last.
func rows(all []patch, results []result, last string) []row {
	out := make([]row, 0, len(all))
	for _, p := range all {
		one := rowOf(result{patch: p})
		for line := range strings.Lines(last) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, rowHead(p.Name)) {
				one = row{line, !strings.Contains(line, nothing)}
			}
		}
		for _, r := range results {
			if r.Name == p.Name {
				one = rowOf(r)
			}
		}
		out = append(out, one)
	}
	return out
}

// table is docs/planted.md.
func table(rows []row) string {
	var b strings.Builder
	found := 0
	for _, r := range rows {
		if r.found {
			found++
		}
	}
	fmt.Fprintf(&b, `# Planted bugs

Written by `+"`make planted`"+`; do not edit. Each row is a mistake that is compiled into the
product by an overlay (testdata/planted) and that the simulator, or where the simulated
world cannot show it a package's own test, must find. A seed or a story counts only if
it breaks a promise that the bug was planted for and breaks none without the bug. The
seeds are those below 10,000; the ones in this table are tried first the next time, each
in a run of its own, and the stories last, but for one that is in its row. A row is that of the last run that looked for
its bug: what the generator draws from a seed may have changed since.

Planted %d, found %d.

| bug | mistake | planted for | found by | at |
|---|---|---|---|---|
`, len(rows), found)
	for _, r := range rows {
		fmt.Fprintln(&b, r.text)
	}
	return b.String()
}

// leftOut is the file that tells what is not planted, and why; it ends the document.
const leftOut = "left-out.md"

// promises lists all invariants in order.
func promises() []string {
	var out []string
	for n := range 16 {
		out = append(out, fmt.Sprintf("S%d", n+1))
	}
	for n := range 5 {
		out = append(out, fmt.Sprintf("L%d", n+1))
	}
	return out
}

// plantedFor counts the patches that are made to break a promise.
func plantedFor(all []patch, promise string) (n int) {
	for _, p := range all {
		if slices.Contains(p.Breaks, promise) {
			n++
		}
	}
	return n
}
