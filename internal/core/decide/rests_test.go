package decide_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"relight/internal/core/decide"
)

// What Rests says from a part of the view, Next must say from all of it: the loop
// asks the one, why and the simulator the other.
func TestRestsIsNext(t *testing.T) {
	rested := 0
	forAll(t, func(t *rapid.T, v decide.View, now time.Time, d decide.Decision) {
		own := decide.View{Server: v.Server, Status: v.Status, Finding: v.Finding, Observed: v.Observed, Traits: v.Traits, Request: v.Request}
		if got, ok := decide.Rests(own, now); ok {
			rested++
			if diff := cmp.Diff(d, got, cmpProof); diff != "" {
				t.Fatalf("Rests differs from Next:\n%s", diff)
			}
		}
	})
	if rested == 0 {
		t.Error("no view rested: the property was not tried")
	}
}
