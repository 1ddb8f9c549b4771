package demo

import (
	"context"
	"fmt"
	"io"
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
