package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	api "relight/internal/api/client"
	"relight/internal/core/event"
)

// show tells people what happens, while it happens.
type show struct {
	out io.Writer
	// told are the events that were shown.
	told map[string]bool
}

func newShow(out io.Writer) *show { return &show{out: out, told: map[string]bool{}} }

func (s *show) printf(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

// say tells one sentence with its time since the fault.
func (s *show) say(fault time.Time, sentence string) { s.line(time.Since(fault), sentence) }

func (s *show) line(since time.Duration, sentence string) {
	s.printf("  %+7.2fs  %s\n", since.Seconds(), cut(sentence, 110))
}

func cut(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}

// news shows what the engine has told about a server since the fault.
func (s *show) news(ctx context.Context, c *api.Client, server string, fault time.Time) {
	list, err := c.Events(ctx, api.EventQuery{Server: server, Since: fault})
	if err != nil {
		return
	}
	for _, r := range list.Items {
		if s.told[r.ID] || !worthTelling(r.Event) {
			continue
		}
		s.told[r.ID] = true
		s.line(r.Event.At.Sub(fault), fmt.Sprintf("%s: %s", server, r.Event.Message))
	}
}

func worthTelling(e event.Event) bool {
	switch e.Kind {
	case event.VerdictChanged, event.RecoveryBegun, event.EpochProved, event.RecoveryHealed, event.RecoveryClimbed, event.RecoveryGaveUp, event.MoveCalledOff, event.Held:
		return true
	case event.StepEnded:
		return e.Step != nil && (e.Step.Error != "" || e.Step.Step.Kind == "launch")
	default:
		return false
	}
}

// barWidth is the width of a waterfall in characters.
const barWidth = 50

// waterfall draws the phases of a healing, each where it lies in time.
func waterfall(h healing, r Result) string {
	var b strings.Builder
	total := h.heal()
	where := fmt.Sprintf("%s stays on %s", h.server, h.after.Host)
	if h.before.Host != h.after.Host {
		where = fmt.Sprintf("%s goes from %s to %s", h.server, h.before.Host, h.after.Host)
	}
	fmt.Fprintf(&b, "  %s, epoch %d → %d\n", where, h.before.Epoch, h.after.Epoch)
	for _, s := range h.spans() {
		fmt.Fprintf(&b, "  %-7s|%s| %7.1f ms\n", s.name, bar(s, total), float64(millis(s.end-s.begun)))
	}
	fmt.Fprintf(&b, "  healed after %.1f ms; the policy asks for %.1f ms of it, the launch took %.1f ms, overhead %.1f ms\n",
		float64(r.Heal), float64(millis(h.floor)), float64(r.Launch), float64(r.Overhead))
	return b.String()
}

// bar draws one phase; even the shortest is seen.
func bar(s span, total time.Duration) string {
	if total <= 0 {
		return strings.Repeat(" ", barWidth)
	}
	at := func(d time.Duration) int { return min(max(int(d*barWidth/total), 0), barWidth) }
	from, to := min(at(s.begun), barWidth-1), at(s.end)
	if to <= from {
		to = from + 1
	}
	return strings.Repeat(" ", from) + strings.Repeat("#", to-from) + strings.Repeat(" ", barWidth-to)
}
