package decide_test

import (
	"slices"
	"testing"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// A planned move to a host that is not among those of a narrow view is not dropped: it
// is decided with all hosts.
func TestMoveBeyondTheHostsInView(t *testing.T) {
	s := newStory(func(cell) {})
	for _, line := range []string{"host host-1", "host host-2", "host host-9", "status epoch=3 host=host-1 verified", `finding healthy 1h "all is well"`, "request planned host=host-9"} {
		if err := s.do(line); err != nil {
			t.Fatal(err)
		}
	}
	some := s.v
	some.Hosts = slices.Clone(s.v.Hosts[:2])
	if d := decide.Next(some, noon); decide.Suffices(some, d) {
		t.Errorf("with some hosts it stands that: %s", d.Reason)
	}
	if d := decide.Next(s.v, noon); d.Step == nil || d.Step.Kind != fleet.StepStop {
		t.Errorf("with all hosts: %s", d.Reason)
	}
}
