package simulate

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// The tests of this file are named after the rows of docs/design/mechanisms.md. Each
// plays a story and says what in its timeline is the mechanism: the golden file says
// what happens, this says what must.

// timeline plays a story and returns what happened from a moment on, in seconds.
func timeline(t *testing.T, story string, from float64) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/stories/" + story + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseStory(story, data)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(s.Scenario)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Violations) > 0 {
		t.Errorf("%s breaks: %v", story, r.Violations)
	}
	var out []string
	for line := range strings.Lines(r.Print()) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		at, err := strconv.ParseFloat(strings.TrimSuffix(word, "s"), 64)
		if word == "end" || err == nil && at >= from {
			out = append(out, strings.Join(strings.Fields(line), " "))
		}
	}
	return out
}

// inOrder wants lines that hold the texts, in this order.
func inOrder(t *testing.T, lines []string, texts ...string) {
	t.Helper()
	left := texts
	for _, l := range lines {
		if len(left) > 0 && strings.Contains(l, left[0]) {
			left = left[1:]
		}
	}
	if len(left) > 0 {
		t.Errorf("never %q, after %q, in:\n%s", left[0], texts[:len(texts)-len(left)], strings.Join(lines, "\n"))
	}
}

// none wants no line that holds any of the texts.
func none(t *testing.T, lines []string, texts ...string) {
	t.Helper()
	for _, l := range lines {
		for _, text := range texts {
			if strings.Contains(l, text) {
				t.Errorf("%q must not happen: %s", text, l)
			}
		}
	}
}

// TestOP_GUARD: whether a recovery may proceed is asked anew for each, and an approval
// that was given for another plan or too late is worth nothing.
func TestOP_GUARD(t *testing.T) {
	inOrder(t, timeline(t, "guard_approval_is_not_kept", 60),
		"held db.1: approval", "ann approves plan", "begins db.2", "healed db.2", "killed", "held db.2: approval")
	late := timeline(t, "guard_approval_comes_too_late", 30)
	inOrder(t, late, "healthy, was isolated", "refused person ann approves db")
	none(t, late, " step ", " begins ")
}

// TestOP_RUN: a launch whose reply is lost is asked again with the same token, and
// one that finds no capacity goes to the next host.
func TestOP_RUN(t *testing.T) {
	lines := timeline(t, "relaunch_reply_is_lost", 30)
	inOrder(t, lines, "start epoch 2 on host-2", "unknown: start epoch 2", "start epoch 2 on host-2", "healed db.2")
	none(t, lines, "start epoch 3")
	inOrder(t, timeline(t, "relaunch_capacity_error", 0), "healed", "db: running healthy")
}

// TestOP_NOTIFY: in mode observe people are told what would be done, and no call
// that changes anything is made.
func TestOP_NOTIFY(t *testing.T) {
	lines := timeline(t, "guard_observe_says_what_it_would_do", 60)
	inOrder(t, lines, "incident db", "held db.1: mode: mode is observe (set for server db): I only say what I would do; otherwise: seal volume data against epoch 1")
	none(t, lines, " step ", " begins ", " proof ")
}

// TestOP_MAINT: a failure inside a maintenance window is handled when the window
// ends, though nothing fires a second time.
func TestOP_MAINT(t *testing.T) {
	lines := timeline(t, "guard_window_and_its_end", 30)
	inOrder(t, lines, "host host-1 dies", "held db.1: maintenance", "80.000s begins db.1", "healed db.2")
	for i, l := range lines {
		if strings.Contains(l, "begins db.1") {
			none(t, lines[:i], " step ")
		}
	}
}

// TestOP_NETID: all addresses and volumes move with the server, after the proof.
func TestOP_NETID(t *testing.T) {
	inOrder(t, timeline(t, "pain_identity_is_carried", 30),
		"proof db.1", "done: give volume data to epoch 2", "done: give volume log to epoch 2",
		"done: give address 10.0.0.1 to epoch 2", "done: give address 10.0.1.1 to epoch 2", "start epoch 2", "healed db.2")
}

// TestOP_POST: an instance that runs and does not work is a failed try: the next
// host is taken, and the tries are bounded.
func TestOP_POST(t *testing.T) {
	inOrder(t, timeline(t, "pain_hung_at_boot", 0),
		"start epoch 1 on host-1", "climbs db.1", "end epoch 1 on host-1", "proof db.1", "start epoch 2 on host-2", "healed db.2")
	inOrder(t, timeline(t, "detect_start_hangs", 40), "begins db.2", "gives up db.2")
}

// TestOP_FAILBACK: stop, prove, next epoch, start; and back in the same way.
func TestOP_FAILBACK(t *testing.T) {
	var want []string
	for i, host := range []string{"host-3", "host-1"} {
		old, next := i+1, i+2
		want = append(want, fmt.Sprintf("done: end epoch %d", old), fmt.Sprintf("proof db.%d", old),
			fmt.Sprintf("done: start epoch %d on %s", next, host), fmt.Sprintf("healed db.%d", next))
	}
	inOrder(t, timeline(t, "guard_planned_move_and_back", 30), want...)
}

// TestOP_NPLUS1: without room elsewhere a server waits, with a reason for each host,
// and starts when there is room.
func TestOP_NPLUS1(t *testing.T) {
	inOrder(t, timeline(t, "relaunch_without_room", 30),
		"held big.1: placement: no host can take it: host-1: its agent is silent; host-2: 8 of 8 units are used, 8 are needed", "proof big.1", "healed big")
}
