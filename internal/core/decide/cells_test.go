package decide_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	stories "relight/internal/core/story"
)

// cell is one place in the table of verdict × gate × rung.
type cell struct {
	verdict, gate, rung string
}

func (c cell) String() string { return fmt.Sprintf("%-8s %-20s %-15s", c.verdict, c.gate, c.rung) }

// cellOf finds the cell in which a decision lies. The rung of a decision that a
// gate holds is the one that would be taken up if no gate did.
func cellOf(v decide.View, now time.Time, d decide.Decision) cell {
	gate := gateOf(v, d)
	if v.Status.Recovery != nil {
		gate = "underWay:" + gate
	}
	return cell{v.Finding.Verdict.String(), gate, rungOf(v, now)}
}

func rungOf(v decide.View, now time.Time) string {
	var rung fleet.Rung
	if r := v.Status.Recovery; r != nil {
		rung = r.Rung
	} else {
		v.Guards = fleet.Guards{Modes: []fleet.ModeSetting{{Mode: fleet.Auto}}, Authority: fleet.Authority{Until: now.Add(time.Hour)}}
		v.Around, v.Status.Attempts = fleet.Around{}, nil
		if open := decide.Next(v, now); open.Begins != nil {
			rung = open.Begins.Rung
		}
	}
	if rung != fleet.RestartApp {
		return string(rung)
	}
	if v.Traits.AppIsInstance {
		return "restartInstance"
	}
	return "restartInPlace"
}

func gateOf(v decide.View, d decide.Decision) string {
	if d.Hold == nil {
		for _, g := range d.Gates {
			if g.Name == decide.GateApproval && strings.HasSuffix(g.Value, "given") {
				return "approved"
			}
		}
		return "none"
	}
	switch d.Hold.Gate {
	case decide.GateAuthority:
		if v.Guards.StoreTrouble != "" {
			return "store"
		}
		return "lease"
	case decide.GateMode:
		return "observe"
	case decide.GateApproval:
		return approvalOf(v, d.Hold.Reason)
	case decide.GateBudget:
		return firstMatch(d.Hold.Reason, "must keep", "keepAlive", "go first", "priority", "used up", "velocity")
	case decide.GateLadder:
		return firstMatch(d.Hold.Reason, "back-off", "backOff", "no rung", "usedUp")
	}
	return d.Hold.Gate
}

func approvalOf(v decide.View, reason string) string {
	switch {
	case strings.Contains(reason, "denied"):
		return "denied"
	case strings.Contains(reason, ": 0 of"):
		return "ask"
	}
	for _, a := range v.Guards.Approvals {
		if v.Request != nil && a.By == v.Request.By {
			return "askRequester"
		}
	}
	return "askOne"
}

// firstMatch returns the name after the first text that occurs in s.
func firstMatch(s string, pairs ...string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if strings.Contains(s, pairs[i]) {
			return pairs[i+1]
		}
	}
	return "?"
}

// table is testdata/cells.txt.
type table struct {
	verdicts, gates, rungs []string
	lines                  map[string][]string
	rungName               map[string]string
	cannot                 []impossible
}

type impossible struct {
	cell
	why string
}

func (i impossible) matches(c cell) bool {
	fits := func(pattern, s string) bool { return pattern == "*" || pattern == s }
	return fits(i.verdict, c.verdict) && fits(i.gate, c.gate) && fits(i.rung, c.rung)
}

func readTable(t *testing.T) table {
	t.Helper()
	text, err := os.ReadFile("testdata/cells.txt")
	if err != nil {
		t.Fatal(err)
	}
	tab := table{lines: map[string][]string{}, rungName: map[string]string{}}
	key := ""
	for _, line := range strings.Split(string(text), "\n") {
		if inner, ok := strings.CutPrefix(line, "\t"); ok {
			tab.lines[key] = append(tab.lines[key], inner)
			continue
		}
		a, err := stories.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		key = a.Word + " " + a.At(0)
		switch a.Word {
		case "verdict":
			tab.verdicts = append(tab.verdicts, a.At(0))
		case "gate":
			tab.gates = append(tab.gates, a.At(0))
		case "rung":
			tab.rungs = append(tab.rungs, a.At(0))
			tab.rungName[a.At(0)] = a.At(1)
		case "cannot":
			tab.cannot = append(tab.cannot, impossible{cell{a.At(0), a.At(1), a.At(2)}, a.At(3)})
		}
	}
	return tab
}

// run plays one cell and returns the decision's line.
func (tab table) run(c cell, seen func(cell)) (string, error) {
	s := newStory(seen)
	for _, key := range []string{"all ", "rung " + c.rung, "verdict " + c.verdict, "gate " + c.gate} {
		for _, line := range tab.lines[key] {
			if err := s.do(strings.ReplaceAll(line, "RUNG", tab.rungName[c.rung])); err != nil {
				return "", fmt.Errorf("%s: %w", line, err)
			}
		}
	}
	err := s.decide()
	return s.oneLine(), err
}

func (s *story) oneLine() string {
	d := s.last
	switch {
	case d.Step != nil:
		return "step " + s.describe(*d.Step)
	case d.Hold != nil && d.Hold.NeedsPerson:
		return "hold for a person: " + d.Reason
	case d.Hold != nil:
		return "hold: " + d.Reason
	default:
		return "nothing: " + d.Reason
	}
}

// TestCells holds the answer of every cell of the table against cells.golden, and
// fails if a cell has no scenario that reaches it, or one that cannot occur does.
func TestCells(t *testing.T) {
	tab := readTable(t)
	var out strings.Builder
	for _, verdict := range tab.verdicts {
		for _, gate := range tab.gates {
			for _, rung := range tab.rungs {
				want := cell{verdict, gate, rung}
				var got cell
				line, err := tab.run(want, func(c cell) { got = c })
				if why := tab.excluded(want); why != "" {
					if got == want {
						t.Errorf("%s can occur: %s; yet it is said that it cannot, because %s", want, line, why)
					}
					continue
				}
				if err != nil || got != want {
					t.Errorf("%s has no scenario: its lines lead to %s: %s %v", want, got, line, err)
				}
				fmt.Fprintf(&out, "%s %s\n", want, line)
			}
		}
	}
	golden := filepath.Join("testdata", "cells.golden")
	text, err := os.ReadFile(golden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	stories.Compare(t, golden, string(text), out.String(), *update)
}

func (tab table) excluded(c cell) string {
	for _, i := range tab.cannot {
		if i.matches(c) {
			return i.why
		}
	}
	return ""
}

// TestVerdictsAndGatesAreListed fails if the table misses a verdict, or a gate of
// the decider's that can hold the start of a recovery.
func TestVerdictsAndGatesAreListed(t *testing.T) {
	tab := readTable(t)
	for _, v := range []fleet.Verdict{fleet.Healthy, fleet.Suspect, fleet.Impaired, fleet.Down, fleet.Isolated, fleet.Unknown} {
		if len(tab.lines["verdict "+v.String()]) == 0 {
			t.Errorf("verdict %s is not in the table", v)
		}
	}
	for _, r := range fleet.Rungs() {
		found := false
		for _, name := range tab.rungName {
			found = found || name == string(r)
		}
		if !found {
			t.Errorf("rung %s is not in the table", r)
		}
	}
}
