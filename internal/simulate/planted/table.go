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

// table is docs/planted.md.
func table(results []result) string {
	var b strings.Builder
	found := 0
	by := map[string]int{}
	for _, r := range results {
		if r.By != "" {
			found++
			by[r.Breaks[0]]++
		}
	}
	fmt.Fprintf(&b, `# Planted bugs

Written by `+"`make planted`"+`; do not edit. Each row is a mistake that is compiled into the
product by an overlay (testdata/planted) and that the simulator, or where the simulated
world cannot show it a package's own test, must find. A seed or a story counts only if
it breaks a promise that the bug was planted for and breaks none without the bug. The
seeds are those below 10,000; the ones in this table are tried first the next time, each
in a run of its own, and the stories last.

Planted %d, found %d.

| bug | mistake | planted for | found by | at |
|---|---|---|---|---|
`, len(results), found)
	for _, r := range results {
		how, seed := "**nothing**", ""
		switch {
		case r.By == "test":
			how = "`" + r.Detail + "`"
		case r.By != "":
			how, seed = r.By, cmp.Or(r.Run.Story, fmt.Sprint(r.Run.Seed))
		}
		fmt.Fprintf(&b, "| [%s](../%s/%s.patch) | %s | %s | %s | %s |\n", r.Name, patchesIn, r.Name, strings.ReplaceAll(r.Story, "|", "\\|"), strings.Join(r.Breaks, " "), how, seed)
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
