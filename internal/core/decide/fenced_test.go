package decide_test

import (
	"testing"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// An epoch that any part of the record calls fenced may never be let in again; one that
// was not touched may be let in anew by an array that has forgotten it.
func TestFencedIsReadFromTheWholeRecord(t *testing.T) {
	seal := fleet.Step{Kind: fleet.StepSeal, Epoch: 3, Object: fleet.Object{Volume: "data"}}
	via := seal
	via.Via = "host-2"
	with := func(change func(*fleet.Status)) fleet.Status {
		s := fleet.Status{Server: "a", Epoch: 3}
		change(&s)
		return s
	}
	recovering := func(r fleet.Recovery) fleet.Status { return with(func(s *fleet.Status) { s.Recovery = &r }) }
	proved := func(m fleet.Method) fleet.Status {
		return with(func(s *fleet.Status) { s.Evidence = []fleet.Evidence{{Method: m, Server: "a", Epoch: 3}} })
	}
	for name, c := range map[string]struct {
		status fleet.Status
		want   fleet.Epoch
	}{
		"nothing":            {fleet.Status{}, 0},
		"runs":               {with(func(*fleet.Status) {}), 2},
		"asked now":          {recovering(fleet.Recovery{Last: &fleet.StepRecord{Step: seal, State: fleet.StepIntended}}), 3},
		"no answer":          {recovering(fleet.Recovery{Last: &fleet.StepRecord{Step: seal, State: fleet.StepUnknown}}), 3},
		"no effect":          {recovering(fleet.Recovery{Last: &fleet.StepRecord{Step: seal, State: fleet.StepFailed}}), 2},
		"an agent's seal":    {recovering(fleet.Recovery{Last: &fleet.StepRecord{Step: via, State: fleet.StepIntended}}), 2},
		"asked before":       {recovering(fleet.Recovery{Fences: []fleet.FenceTry{{Epoch: 3, Array: true, Shut: true}}}), 3},
		"asked in vain":      {recovering(fleet.Recovery{Fences: []fleet.FenceTry{{Epoch: 3, Array: true}}}), 2},
		"shut out":           {proved(fleet.InitiatorRemoved), 3},
		"attested":           {proved(fleet.Attested), 3},
		"only stopped":       {proved(fleet.Stopped), 2},
		"a later one begins": {with(func(s *fleet.Status) { s.Epoch = 4 }), 3},
	} {
		if got := decide.Fenced(c.status); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// What a call may have shut stays so, though a later one fails without an effect.
func TestHalfOutStaysHalfOut(t *testing.T) {
	s := newStory(func(cell) {})
	for _, line := range []string{
		"server lic-01 vm volumes=data:array", "host host-1 silent", "host host-2", "status epoch=3 host=host-1 verified",
		`finding down 4s "two sources say no"`, "decide", `unknown error="no answer"`, "after 10s", "decide", "failed class=retry",
	} {
		if err := s.do(line); err != nil {
			t.Fatal(line, err)
		}
	}
	if got := decide.Fenced(s.v.Status); got != 3 {
		t.Errorf("fenced up to %d", got)
	}
}
