package onprem

import (
	"testing"

	"relight/internal/enrol"
)

// Another certificate of the same enrolment voids nothing: its beats, and with them
// the leases that were granted, go on. A new enrolment voids the earlier agent's.
func TestRenewalIsNoNewEnrolment(t *testing.T) {
	first := record("host-1", 1)
	h := open(t, t.TempDir(), first)
	h.mu.Lock()
	defer h.mu.Unlock()
	issued := first
	issued.Next = &enrol.Signed{Serial: "next"}
	if old := h.admit(issued); old != 0 {
		t.Errorf("a renewed certificate drops the beats of agent %d", old)
	}
	if holds, _ := h.hosts["host-1"].record.Holds("next"); !holds {
		t.Error("the renewed certificate is not known")
	}
	if old := h.admit(issued.Took("next")); old != 0 {
		t.Errorf("its first use drops the beats of agent %d", old)
	}
	if holds, _ := h.hosts["host-1"].record.Holds(first.Serial); holds {
		t.Error("the earlier certificate is still let in")
	}
	if old := h.admit(record("host-1", 2)); old != 1 {
		t.Errorf("a new enrolment drops the beats of agent %d, want 1", old)
	}
}
