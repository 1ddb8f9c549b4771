package audit_test

import (
	"errors"
	"testing"

	"relight/internal/audit"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

func step(kind event.Kind, destructive bool, s fleet.Step) event.Event {
	return event.Event{Version: event.Version, Kind: kind, At: start, By: "relight", Destructive: destructive, Step: &fleet.StepRecord{Step: s}}
}

func TestCheckDestructive(t *testing.T) {
	launch := fleet.Step{Kind: fleet.StepLaunch, Server: "lic-01", Epoch: 2, Host: "host-2", Token: "t1"}
	elsewhere, noToken, climb := launch, launch, launch
	elsewhere.Host = "host-3"
	noToken.Token = ""
	climb.Kind = fleet.StepClimb
	intent := step(event.StepIntended, true, launch)
	ended := step(event.StepEnded, false, launch)
	for name, c := range map[string]struct {
		events []event.Event
		seq    uint64
	}{
		"announced":                  {events: []event.Event{intent, ended}},
		"answered twice":             {events: []event.Event{intent, ended, ended}, seq: 3},
		"still open":                 {events: []event.Event{intent}},
		"record step needs no entry": {events: []event.Event{step(event.StepEnded, false, climb)}},
		"not announced":              {events: []event.Event{ended}, seq: 1},
		"announced afterwards":       {events: []event.Event{ended, intent}, seq: 1},
		"announced twice":            {events: []event.Event{intent, intent, ended}},
		"replayed":                   {events: []event.Event{intent, ended, intent, ended}},
		"another step announced":     {events: []event.Event{intent, step(event.StepEnded, false, elsewhere)}, seq: 2},
		"not marked":                 {events: []event.Event{step(event.StepIntended, false, launch), ended}, seq: 2},
		"no token":                   {events: []event.Event{step(event.StepIntended, true, noToken), step(event.StepEnded, false, noToken)}, seq: 2},
	} {
		t.Run(name, func(t *testing.T) {
			head := audit.Genesis(1)
			var entries []audit.Entry
			for _, ev := range c.events {
				var e audit.Entry
				var err error
				if e, head, err = audit.Append(head, ev); err != nil {
					t.Fatal(err)
				}
				entries = append(entries, e)
			}
			err := audit.CheckDestructive(audit.Each(entries))
			var bad *audit.DestructiveError
			if c.seq == 0 && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.seq != 0 && (!errors.As(err, &bad) || bad.Seq != c.seq) {
				t.Errorf("got %v, want entry %d", err, c.seq)
			}
		})
	}
}
