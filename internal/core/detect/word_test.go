package detect_test

import (
	"testing"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
)

// A person's word is the verdict where nobody can tell, and could not when it was given;
// it changes nothing about what lives, or has lived since.
func TestWordWhereNobodyCanTell(t *testing.T) {
	for name, c := range map[string]struct {
		verdict fleet.Verdict
		since   time.Duration // before now
		epoch   fleet.Epoch
		method  fleet.Method
		want    fleet.Verdict
	}{
		"given while nobody could tell":      {fleet.Unknown, time.Hour, 3, fleet.Attested, fleet.Down},
		"and it stays so":                    {fleet.Down, time.Minute, 3, fleet.Attested, fleet.Down},
		"it worked, and failed again since":  {fleet.Down, 30 * time.Second, 3, fleet.Attested, fleet.Unknown},
		"down before, and the word after it": {fleet.Down, time.Hour, 3, fleet.Attested, fleet.Unknown},
		"it worked after that":               {fleet.Healthy, 10 * time.Second, 3, fleet.Attested, fleet.Unknown},
		"unheard again since":                {fleet.Unknown, 10 * time.Second, 3, fleet.Attested, fleet.Unknown},
		"of an older epoch":                  {fleet.Unknown, time.Hour, 2, fleet.Attested, fleet.Unknown},
		"a seal says nothing of an instance": {fleet.Unknown, time.Hour, 3, fleet.Sealed, fleet.Unknown},
	} {
		in := detect.Input{
			Server: fleet.Server{Name: "db"},
			Status: fleet.Status{
				Server: "db", Phase: fleet.PhaseRunning, Epoch: 3, Verdict: c.verdict, VerdictSince: noon.Add(-c.since),
				Evidence: []fleet.Evidence{{Method: c.method, Server: "db", Epoch: c.epoch, By: "eve", At: noon.Add(-time.Minute)}},
			},
			Observed: fleet.Observed{Server: "db", At: noon, Complete: true},
		}
		if f := detect.Judge(in, noon); f.Verdict != c.want {
			t.Errorf("%s: %s (%s)", name, f.Verdict, f.Reason)
		}
	}
}
