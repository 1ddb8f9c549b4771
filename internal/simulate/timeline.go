package simulate

import (
	"fmt"
	"strings"
	"time"

	"relight/internal/core/event"
)

// Line is one line of a timeline.
type Line struct {
	At   time.Duration
	What string
	Text string
}

// String prints the line with its time since the start.
func (l Line) String() string {
	return strings.TrimRight(fmt.Sprintf("%9.3fs %-9s %s", l.At.Seconds(), l.What, l.Text), " ")
}

func (e *engine) line(what, text string) {
	e.lines = append(e.lines, Line{At: e.clock.Now().Sub(Start), What: what, Text: text})
}

// tell adds an event of the product to the timeline.
func (e *engine) tell(ev event.Event) {
	words := map[event.Kind]string{
		event.VerdictChanged: "verdict", event.RecoveryBegun: "begins", event.StepIntended: "step", event.StepEnded: "outcome",
		event.EpochProved: "proof", event.RecoveryHealed: "healed", event.RecoveryClimbed: "climbs", event.RecoveryGaveUp: "gives up",
		event.MoveCalledOff: "calls off",
		event.Held:          "held", event.GuardSet: "guard", event.GuardCleared: "guard", event.FenceAttested: "attested",
		event.ControllerTerm: "term", event.IncidentOpened: "incident", event.IncidentClosed: "closed",
	}
	word, ok := words[ev.Kind]
	if !ok {
		return
	}
	subject := ev.Server
	if subject != "" && ev.Epoch > 0 {
		subject = fmt.Sprintf("%s.%d", ev.Server, ev.Epoch)
	}
	if subject != "" {
		subject += ": "
	}
	e.line(word, subject+ev.Message)
	if ev.Kind == event.StepIntended && ev.Step != nil {
		for name, n := range e.force { // a sum: the order is all one
			if n > 0 {
				e.covered[name+"/"+string(ev.Step.Step.Kind)]++
			}
		}
	}
}

// Print writes the timeline as text.
func (r Result) Print() string {
	var b strings.Builder
	for _, l := range r.Timeline {
		fmt.Fprintln(&b, l)
	}
	for _, s := range r.End {
		fmt.Fprintf(&b, "end       %s: %s %s, epoch %d on %s\n", s.Server, orNew(string(s.Phase)), s.Verdict, s.Epoch, orNone(s.Host))
	}
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "violation %s\n", v)
	}
	return b.String()
}

func orNew(phase string) string {
	if phase == "" {
		return "new"
	}
	return phase
}

func orNone(host string) string {
	if host == "" {
		return "no host"
	}
	return host
}
