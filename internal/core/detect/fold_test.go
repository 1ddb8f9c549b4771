package detect_test

import (
	"testing"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
)

func signal(answer fleet.Answer, age, since time.Duration) fleet.Signal {
	s := fleet.Signal{Source: fleet.Source{Channel: fleet.ChannelApp, Vantage: "host-1"}, Question: fleet.Works, Answer: answer, Epoch: 3, At: noon.Add(-age)}
	if since != 0 {
		s.Since = noon.Add(-since)
	}
	return s
}

func TestFold(t *testing.T) {
	flapped := signal(fleet.No, 5*time.Second, 5*time.Second)
	flapped.Flaps = 4
	other := signal(fleet.No, 5*time.Second, time.Minute)
	other.Epoch, other.Flaps = 2, 5
	calm := signal(fleet.No, 5*time.Second, 2*time.Minute)
	calm.Flaps = 4
	for name, row := range map[string]struct {
		prev, next fleet.Signal
		since      time.Duration
		flaps      int
		answer     fleet.Answer
	}{
		"the first word":                      {fleet.Signal{}, signal(fleet.Yes, 0, 0), 0, 0, fleet.Yes},
		"the same answer keeps its since":     {signal(fleet.Yes, 5*time.Second, 9*time.Second), signal(fleet.Yes, 0, 0), 9 * time.Second, 0, fleet.Yes},
		"its own earlier since is trusted":    {signal(fleet.Yes, 5*time.Second, 9*time.Second), signal(fleet.Yes, 0, time.Hour), time.Hour, 0, fleet.Yes},
		"a yes between two looks breaks a no": {signal(fleet.No, 5*time.Second, 9*time.Second), signal(fleet.No, 0, 2*time.Second), 2 * time.Second, 0, fleet.No},
		"and is known one look later":         {signal(fleet.No, 5*time.Second, 9*time.Second), signal(fleet.No, 0, 5*time.Second), 5 * time.Second, 0, fleet.No},
		"a since at the look is no claim":     {signal(fleet.No, 5*time.Second, 9*time.Second), signal(fleet.No, 0, 0), 9 * time.Second, 0, fleet.No},
		"a since in its future is not":        {fleet.Signal{}, signal(fleet.Yes, time.Second, -time.Hour), time.Second, 0, fleet.Yes},
		"another answer counts":               {flapped, signal(fleet.Yes, 0, 0), 0, 5, fleet.Yes},
		"the same answer keeps the count":     {flapped, signal(fleet.No, 0, 0), 5 * time.Second, 4, fleet.No},
		"a long calm ends the count":          {calm, signal(fleet.No, 0, 0), 2 * time.Minute, 0, fleet.No},
		"cannot tell counts not":              {flapped, signal(fleet.CannotTell, 0, 0), 0, 4, fleet.CannotTell},
		"nor does the answer after it":        {signal(fleet.CannotTell, 5*time.Second, 5*time.Second), signal(fleet.No, 0, 0), 0, 0, fleet.No},
		"another epoch starts afresh":         {other, signal(fleet.Yes, 0, 0), 0, 0, fleet.Yes},
		"a late, older word undoes nothing":   {flapped, signal(fleet.Yes, 6*time.Second, 0), 5 * time.Second, 4, fleet.No},
		"a word of the same moment is newest": {flapped, signal(fleet.Yes, 5*time.Second, 0), 5 * time.Second, 5, fleet.Yes},
	} {
		t.Run(name, func(t *testing.T) {
			got := detect.Fold(row.prev, row.next)
			if got.Answer != row.answer || noon.Sub(got.Since) != row.since || got.Flaps != row.flaps {
				t.Fatalf("%s for %s, %d flaps; want %s for %s, %d flaps", got.Answer, noon.Sub(got.Since), got.Flaps, row.answer, row.since, row.flaps)
			}
		})
	}
}
