package agent

import (
	"errors"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

func TestStorageSight(t *testing.T) {
	m := storageSight{stale: 3 * second, hosts: map[string]moving{}}
	step := func(now int64, content string, err error, want fleet.Answer) {
		t.Helper()
		if got := m.step(now*second, map[string]string{"host-1": content}, err)["host-1"].alive; got != want {
			t.Errorf("at %d with %q: %s, want %s", now, content, got, want)
		}
	}
	step(1, "1", nil, fleet.CannotTell) // an old file looks the same as a fresh one
	step(2, "2", nil, fleet.Yes)
	step(5, "2", nil, fleet.Yes)
	step(6, "2", nil, fleet.No)
	step(7, "3", nil, fleet.Yes)
	step(8, "", errors.New("stale handle"), fleet.CannotTell)
	step(20, "3", nil, fleet.CannotTell) // nobody looked in between
	step(24, "3", nil, fleet.No)
	step(25, "1", nil, fleet.Yes) // a restarted host counts anew
}

func TestStorageSightOfADeadFile(t *testing.T) {
	m := storageSight{stale: 3 * second, hosts: map[string]moving{}}
	found := map[string]string{"host-1": "9"}
	m.step(second, found, nil)
	if got := m.step(5*second, found, nil)["host-1"].alive; got != fleet.No {
		t.Errorf("a file that never moved: %s, want no", got)
	}
}

// A write that hangs must not pass for the last one that did not.
func TestOwnBeatThatHangs(t *testing.T) {
	now := second
	news := 0
	b := newBoard(func() int64 { return now }, func() { news++ })
	says := func(want fleet.Answer) {
		t.Helper()
		if got := b.ownBeat(3 * time.Second); got != want {
			t.Errorf("at %s: %s, want %s", time.Duration(now), got, want)
		}
	}
	says(fleet.CannotTell) // it beats on no storage
	b.setOwn(nil)
	says(fleet.Yes)
	now += 4 * second
	says(fleet.No)
	b.setOwn(nil)
	says(fleet.Yes)
	b.setOwn(errors.New("stale handle"))
	says(fleet.No)
	if news != 2 {
		t.Errorf("%d reports were asked for, want one for each change", news)
	}
}
