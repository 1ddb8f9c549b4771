package san

import (
	"strings"
	"testing"
	"testing/synctest"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// Where the declaration allows it, an epoch whose session nobody can end is shut out by
// its LUNs, after half of the step's time; the next one is let in beside that session,
// and the old one is watched until it is gone. Where it is not allowed, nothing is let in.
func TestLUNsOffLineAreTheLastResort(t *testing.T) {
	for _, allowed := range []fleet.LUNOffline{"", fleet.LUNOfflineNever, fleet.LUNOfflineLast} {
		t.Run(string(allowed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { lastResortOn(t, allowed) })
		})
	}
}

func lastResortOn(t *testing.T, allowed fleet.LUNOffline) {
	s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
	h := newRig(t, s, &fenced)
	site := sites[0]
	site.Spec.Arrays = append([]fleet.Array{}, site.Spec.Arrays...)
	site.Spec.Arrays[0].LUNOffline = allowed
	h.SetSites([]fleet.Site{site})
	old := array.Ref{Server: "a", Epoch: 1}
	h.do(t, sanCall(fleet.StepAttach, 1))
	s.Login(old)
	s.Set(func() { s.Stuck, fenced = true, 1 })

	out, err := h.Do(t.Context(), sanCall(fleet.StepSeal, 1))
	if allowed != fleet.LUNOfflineLast {
		classOf(t, err, provider.Retry, true, "allow lunOffline: lastResort for the array")
		if s.Dark[old] {
			t.Error("LUNs went off line that nobody allowed")
		}
		return
	}
	if err != nil || len(out.Evidence) != 2 || !out.Evidence[0].Offline || !strings.Contains(out.Evidence[1].Detail, "LUNs off line") {
		t.Fatalf("%+v, %v", out, err)
	}
	again := h.do(t, sanCall(fleet.StepAttach, 2, out.Evidence...))
	if len(again.Evidence) != 2 || !again.Evidence[0].Offline || s.Made[array.Ref{Server: "a", Epoch: 2}].Initiator == "" {
		t.Fatalf("the next epoch: %+v", again)
	}
	if _, err := h.Disks(t.Context(), sanCall(fleet.StepLaunch, 2, out.Evidence...)); err != nil {
		t.Errorf("the launch of the next epoch: %v", err)
	}
	s.Set(func() { s.Stuck = false })
	last := h.do(t, sanCall(fleet.StepSeal, 1))
	if len(last.Evidence) != 2 || last.Evidence[0].Offline || len(s.Made) != 1 {
		t.Errorf("once its session can be ended: %+v, %v", last, s.Made)
	}
}

// TestLUNsStayOnLineWithACommandInside: a command that hangs in the array may still land.
func TestLUNsStayOnLineWithACommandInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
		h := newRig(t, s, &fenced)
		site := sites[0]
		site.Spec.Arrays = append([]fleet.Array{}, site.Spec.Arrays...)
		site.Spec.Arrays[0].LUNOffline = fleet.LUNOfflineLast
		h.SetSites([]fleet.Site{site})
		h.do(t, sanCall(fleet.StepAttach, 1))
		s.Login(array.Ref{Server: "a", Epoch: 1})
		s.Set(func() { s.Stuck, s.Inside, fenced = true, true, 1 })
		_, err := h.Do(t.Context(), sanCall(fleet.StepSeal, 1))
		classOf(t, err, provider.Retry, true, "inside the array")
		attested := fleet.Evidence{Method: fleet.Attested, Server: "a", Epoch: 1}
		_, err = h.Do(t.Context(), sanCall(fleet.StepAttach, 2, attested))
		classOf(t, err, provider.Conflict, false, "inside the array")
		if len(s.Made) != 1 {
			t.Errorf("epoch 2 was let in beside a command of epoch 1: %v", s.Made)
		}
	})
}
