package decide_test

import (
	"strings"
	"testing"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// What works makes void that somebody called it dead, and nothing else.
func TestRefuted(t *testing.T) {
	word := func(e fleet.Epoch) fleet.Evidence {
		return fleet.Evidence{Method: fleet.Attested, Server: "db", Epoch: e, By: "ann"}
	}
	s := fleet.Status{Server: "db", Epoch: 3, Verdict: fleet.Healthy, Evidence: []fleet.Evidence{word(2), word(3), {Method: fleet.Sealed, Server: "db", Epoch: 3, Volume: "data"}}}
	got, void := decide.Refuted(s)
	if len(got.Evidence) != 2 || got.Evidence[0].Epoch != 2 || got.Evidence[1].Method != fleet.Sealed || !strings.Contains(void, "ann") {
		t.Errorf("%+v left: %s", got.Evidence, void)
	}
	if len(s.Evidence) != 3 || s.Evidence[1].Epoch != 3 {
		t.Error("the status that was given has changed")
	}
	if _, again := decide.Refuted(got); again != "" {
		t.Errorf("once more: %s", again)
	}
	s.Verdict = fleet.Suspect
	if got, void := decide.Refuted(s); len(got.Evidence) != 3 || void != "" {
		t.Errorf("while nobody knows whether it works: %+v left: %s", got.Evidence, void)
	}
	s.Verdict, s.Recovery = fleet.Healthy, &fleet.Recovery{}
	if got, void := decide.Refuted(s); len(got.Evidence) != 3 || void != "" {
		t.Errorf("in the middle of a recovery: %+v left: %s", got.Evidence, void)
	}
}
