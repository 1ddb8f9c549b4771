package client

import (
	"fmt"
	"strings"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// Headline says in one line what is known about the server. Times are written
// in now's location.
func (w Why) Headline(now time.Time) string {
	f := w.Finding
	line := fmt.Sprintf("%s is %s", w.Server, strings.ToUpper(f.Verdict.String()))
	if !f.Since.IsZero() {
		line += fmt.Sprintf(" since %s (%s)", Clock(f.Since, now), Ago(f.Since, now))
	}
	if f.Reason != "" {
		line += ": " + f.Reason
	}
	return line
}

// Now says in one line what is done about the server, or why nothing is.
func (w Why) Now() string {
	d := w.Decision
	switch {
	case d.Step != nil:
		return "now: " + DescribeStep(*d.Step)
	case d.Hold != nil:
		line := "now: holding - " + d.Hold.Reason
		if d.Hold.NeedsPerson {
			line += " (needs a person)"
		}
		return line
	case d.Reason != "":
		return "now: nothing to do - " + d.Reason
	default:
		return "now: nothing to do"
	}
}

// ProofLine says what a proof of the server's present epoch stands on or still
// needs; empty if no proof is asked for.
func (w Why) ProofLine() string {
	epoch := w.Status.Epoch
	if r := w.Status.Recovery; r != nil {
		epoch = r.From
	}
	if len(w.Decision.Missing) > 0 {
		parts := make([]string, 0, len(w.Decision.Missing))
		for _, n := range w.Decision.Missing {
			parts = append(parts, n.Reason)
		}
		return fmt.Sprintf("proof of epoch %d: missing: %s", epoch, strings.Join(parts, "; "))
	}
	var have []string
	for _, e := range w.Status.Evidence {
		if e.Epoch == epoch {
			have = append(have, fence.Describe(e))
		}
	}
	if len(have) == 0 {
		return ""
	}
	return fmt.Sprintf("proof of epoch %d: %s", epoch, strings.Join(have, "; "))
}

// GradeLine says how far the proof goes that ProofLine tells of; empty without one.
func (w Why) GradeLine() string {
	if w.Grade == nil || len(w.Decision.Missing) > 0 {
		return ""
	}
	return "grade " + w.Grade.String()
}

// DescribeStep says in a sentence what a step does.
func DescribeStep(s fleet.Step) string {
	line := string(s.Kind)
	if o := s.Object.String(); o != "" {
		line += " " + o
	}
	if s.Epoch != 0 {
		line += fmt.Sprintf(" of epoch %d", s.Epoch)
	}
	if s.Host != "" {
		line += " on " + s.Host
	}
	if s.Via != "" && s.Via != s.Host {
		line += " via " + s.Via
	}
	if s.Why != "" {
		line += " - " + s.Why
	}
	return line
}

// Clock writes a moment as time of day, with the date if it is not today.
func Clock(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t = t.In(now.Location())
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// Ago writes how long ago a moment was, in at most two units.
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return Span(now.Sub(t))
}

// Span writes a length of time in at most two units: 12s, 3m04s, 2h10m, 3d4h.
func Span(d time.Duration) string {
	if d < 0 {
		return "0s"
	}
	s := int64(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%dd%dh", s/86400, s%86400/3600)
	}
}

// NextCommands lists at most three commands that help most with what w says.
func NextCommands(w Why) []string {
	out := append(HoldCommands(w), stateCommands(w)...)
	if len(out) > 3 {
		out = out[:3]
	}
	return out
}

// HoldCommands lists the commands that clear what holds, if anything does.
func HoldCommands(w Why) []string {
	h := w.Decision.Hold
	if h == nil {
		return nil
	}
	switch h.Gate {
	case decide.GateAuthority:
		return []string{"relight doctor"}
	case decide.GateFreeze:
		return []string{"relight unfreeze"}
	case decide.GateRestore:
		if r := w.Status.Restore; r != nil {
			return []string{"relight snapshots restore " + w.Server + " " + r.Snapshot}
		}
		return nil
	case decide.GatePause:
		return []string{"relight resume " + w.Server}
	case decide.GateMaintenance:
		var out []string
		for _, m := range w.Guards.Windows {
			if m.Covers(w.At) {
				out = append(out, "relight maintain end "+m.ID)
			}
		}
		return out
	case decide.GateMode:
		return []string{"relight plan " + w.Server}
	case decide.GateApproval:
		return []string{"relight approve " + w.Server, "relight deny " + w.Server}
	case decide.GateStorm:
		if s := w.Guards.Storm; s != nil && s.GoOn == nil {
			return []string{"relight storm go-on " + s.ID + " --reason ...", "relight get incidents"}
		}
		return []string{"relight get incidents"}
	case decide.GateLadder:
		return []string{"relight heal " + w.Server}
	case decide.GateProof:
		return proofCommands(w, h)
	case decide.GatePlacement, decide.GateBudget:
		return []string{"relight get hosts"}
	default:
		return nil
	}
}

// proofCommands names the confirmation only where the engine waits for a person:
// a person who confirms by habit is the way to two writers.
func proofCommands(w Why, h *decide.Hold) []string {
	if !h.NeedsPerson {
		return nil
	}
	return []string{fmt.Sprintf("relight fence confirm %s --epoch %d --reason ...", w.Server, w.Status.Epoch)}
}

func stateCommands(w Why) []string {
	var out []string
	if w.Status.Incident != "" {
		out = append(out, "relight incident "+w.Status.Incident)
	}
	if w.Finding.Verdict == fleet.Healthy && w.Decision.Hold == nil && w.Decision.Step == nil {
		return append(out, "relight plan "+w.Server, "relight describe server "+w.Server)
	}
	return append(out, "relight events "+w.Server)
}
