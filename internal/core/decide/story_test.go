package decide_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	stories "relight/internal/core/story"
)

var update = stories.Flag()

// noon is when every story begins.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// story is a view that commands build up and change, with a clock. The commands
// are documented where they are parsed, in words_test.go.
type story struct {
	v   decide.View
	now time.Time
	// tokens gives each token a short name in the order of appearance, so that a
	// story shows which call is a replay of which.
	tokens map[string]string
	out    strings.Builder
	// last is the last decision that was made.
	last decide.Decision
	seen func(cell)
}

func newStory(seen func(cell)) *story {
	s := &story{now: noon, tokens: map[string]string{}, seen: seen}
	s.v.Server = fleet.Server{Name: "lic-01", Spec: fleet.ServerSpec{Provider: "onprem"}}
	s.v.Server.Spec.Mode = fleet.Auto
	s.v.Guards.Modes = []fleet.ModeSetting{{Scope: "fleet", Mode: fleet.Auto}}
	s.v.Guards.Authority = fleet.Authority{Term: 7, Until: noon.Add(24 * time.Hour)}
	s.v.Observed = fleet.Observed{Server: "lic-01", At: noon, Complete: true}
	for _, line := range []string{
		"server lic-01 check=/healthz volumes=data:machine addresses=127.0.1.1 rungs=restartApp:3,relaunch:3,move:2 window=10m backoff=10s maxBackoff=1m verifyWithin=30s isolatedFor=30s",
		"traits onprem",
	} {
		if err := s.do(line); err != nil {
			panic(err)
		}
	}
	return s
}

// TestStories runs every file of testdata/stories; with -update the printed parts
// are written anew.
func TestStories(t *testing.T) {
	stories.RunAll(t, "testdata/stories/*.txt", *update, func() stories.Teller { return newStory(func(cell) {}) })
}

// Do implements stories.Teller.
func (s *story) Do(line string) error { return s.do(line) }

// Told implements stories.Teller.
func (s *story) Told() string {
	defer s.out.Reset()
	return s.out.String()
}

// decide makes the next decision, prints it, and journals its step.
func (s *story) decide() error {
	d := decide.Next(s.v, s.now)
	s.last = d
	s.seen(cellOf(s.v, s.now, d))
	s.print(d)
	if d.Step == nil {
		return nil
	}
	if d.Step.Kind.NeedsProof() && !d.Proof.Covers(d.Step.Server, d.Step.Epoch) {
		return fmt.Errorf("step %s of epoch %d came without a proof that covers it", d.Step.Kind, d.Step.Epoch)
	}
	s.v.Status = decide.Intend(s.v.Status, d, s.now)
	if d.Begins != nil {
		s.v.Request = nil
	}
	return nil
}

func (s *story) printf(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *story) print(d decide.Decision) {
	switch {
	case d.Step != nil:
		s.printf("step %s", s.describe(*d.Step))
	case d.Hold != nil && d.Hold.NeedsPerson:
		s.printf("hold %s, a person is needed", d.Hold.Gate)
	case d.Hold != nil:
		s.printf("hold %s", d.Hold.Gate)
	default:
		s.printf("nothing to do")
	}
	s.printf("  reason: %s", d.Reason)
	if d.Step != nil && d.Step.Kind.NeedsProof() {
		s.printf("  proof: %s", d.Proof)
	}
	if d.Begins != nil && d.Step != nil {
		s.printf("  begins: %s from epoch %d on %s", d.Begins.Rung, d.Begins.From, orNone(d.Begins.FromHost))
	}
	if d.Step != nil && len(d.Takes.Budgets) > 0 {
		s.printf("  takes budget of: %s", strings.Join(d.Takes.Budgets, ", "))
	}
	if d.Waits != "" {
		s.printf("  waits for the budget of: %s", d.Waits)
	}
	if !d.LookAgainAt.IsZero() {
		s.printf("  look again in %s", d.LookAgainAt.Sub(s.now))
	}
}

func (s *story) describe(step fleet.Step) string {
	parts := []string{string(step.Kind)}
	if step.Object != (fleet.Object{}) {
		parts = append(parts, step.Object.String())
	}
	parts = append(parts, fmt.Sprintf("epoch=%d", step.Epoch))
	for _, kv := range [][2]string{{"host", step.Host}, {"via", step.Via}, {"rung", string(step.Rung)}} {
		if kv[1] != "" {
			parts = append(parts, kv[0]+"="+kv[1])
		}
	}
	if step.Fresh && step.Epoch > 1 {
		parts = append(parts, "fresh")
	}
	if step.Pause > 0 {
		parts = append(parts, "pause="+step.Pause.String())
	}
	if !step.Kind.Record() {
		if s.tokens[step.Token] == "" {
			s.tokens[step.Token] = fmt.Sprintf("T%d", len(s.tokens)+1)
		}
		parts = append(parts, "token="+s.tokens[step.Token])
	}
	return strings.Join(parts, " ")
}

// why prints the gates, the candidates and what the proof misses, and journals nothing.
func (s *story) why() {
	d := decide.Next(s.v, s.now)
	s.print(d)
	for _, g := range d.Gates {
		mark := "holds"
		if g.Pass {
			mark = "passes"
		}
		line := fmt.Sprintf("  gate %s %s: %s", g.Name, mark, g.Value)
		if g.SetBy != "" {
			line += " (set by " + g.SetBy + ")"
		}
		if !g.ClearsAt.IsZero() {
			line += ", clears in " + g.ClearsAt.Sub(s.now).String()
		}
		s.printf("%s", line)
	}
	for _, c := range d.Candidates {
		switch {
		case c.Chosen:
			s.printf("  candidate %s: chosen", c.Host)
		case c.Refused != "":
			s.printf("  candidate %s: %s", c.Host, c.Refused)
		default:
			s.printf("  candidate %s: would do", c.Host)
		}
	}
	for _, m := range d.Missing {
		s.printf("  missing: %s", m.Reason)
	}
}

// status prints what is recorded about the server.
func (s *story) status() {
	st := s.v.Status
	phase := string(st.Phase)
	if phase == "" {
		phase = "new"
	}
	s.printf("status %s epoch=%d host=%s", phase, st.Epoch, orNone(st.Host))
	if r := st.Recovery; r != nil {
		s.printf("  recovery: rung %s, epoch %d on %s to %d on %s", r.Rung, r.From, orNone(r.FromHost), r.To, orNone(r.Host))
	}
	for _, a := range st.Attempts {
		s.printf("  attempt: %s %s ago, healed %v", a.Rung, s.now.Sub(a.At), a.Healed)
	}
	for _, e := range st.Evidence {
		s.printf("  evidence: epoch %d %s, %s ago", e.Epoch, e.Method, s.now.Sub(e.At))
	}
	if st.Message != "" {
		s.printf("  message: %s", st.Message)
	}
}

func orNone(host string) string {
	if host == "" {
		return "nowhere"
	}
	return host
}
