package audit_test

import (
	"errors"
	"testing"

	"relight/internal/audit"
)

func TestCheckpointJoinsHeads(t *testing.T) {
	_, one := chain(t, 1, 5)
	_, two := chain(t, 2, 5)
	a := mustNext(t, audit.Checkpoint{}, 1, []audit.Head{two[1], one[2]})
	if len(a.Heads) != 2 || a.Heads[0] != one[2] || a.Heads[1] != two[1] {
		t.Errorf("heads are not sorted: %v", a.Heads)
	}
	// Another controller owns shard 2: its head stays.
	b := mustNext(t, a, 2, []audit.Head{one[4]})
	if len(b.Heads) != 2 || b.Heads[0] != one[4] || b.Heads[1] != two[1] || b.N != 2 || b.Prev != a.Hash {
		t.Errorf("got %+v", b)
	}
	for name, heads := range map[string][]audit.Head{
		"behind":       {one[3]},
		"contradicted": {{Shard: 1, Seq: 4, Hash: two[4].Hash}},
	} {
		if _, err := b.Next(start, heads); !errors.Is(err, audit.ErrBackwards) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got := audit.Anchors([]audit.Checkpoint{a, b}, 2); len(got) != 1 || got[0] != two[1] {
		t.Errorf("anchors %v", got)
	}
	if err := audit.VerifyCheckpoints([]audit.Checkpoint{b}, a, a, b); err != nil {
		t.Errorf("from a known checkpoint on: %v", err)
	}
}

// A store that was restored from a backup and went on has a chain of checkpoints
// that is whole in itself.
func TestKeptCheckpointShowsARestoredStore(t *testing.T) {
	_, one := chain(t, 1, 5)
	a := mustNext(t, audit.Checkpoint{}, 1, one[2:3])
	kept := mustNext(t, a, 2, one[4:5])
	other := mustNext(t, a, 3, one[3:4])
	var bad *audit.BadCheckpointError
	err := audit.VerifyCheckpoints([]audit.Checkpoint{a, other}, audit.Checkpoint{}, kept)
	if !errors.As(err, &bad) || bad.Fault != audit.Replaced || bad.N != 2 {
		t.Errorf("got %v", err)
	}
	err = audit.VerifyCheckpoints([]audit.Checkpoint{a}, audit.Checkpoint{}, kept)
	if !errors.As(err, &bad) || bad.Fault != audit.RolledBack {
		t.Errorf("got %v", err)
	}
}

func TestVerifyCheckpointsNeedsNoCopyForABrokenChain(t *testing.T) {
	_, one := chain(t, 1, 5)
	a := mustNext(t, audit.Checkpoint{}, 1, one[2:3])
	otherA := mustNext(t, audit.Checkpoint{}, 2, one[2:3])
	forgetful := a
	forgetful.Heads = nil
	for name, c := range map[string]struct {
		second audit.Checkpoint
		fault  audit.Fault
	}{
		"follows another":     {mustNext(t, otherA, 3, one[4:5]), audit.Replaced},
		"goes back":           {mustNext(t, forgetful, 3, one[1:2]), audit.RolledBack},
		"forgets a shard":     {mustNext(t, forgetful, 3, nil), audit.RolledBack},
		"contradicts a shard": {mustNext(t, forgetful, 3, []audit.Head{{Shard: 1, Seq: 2}}), audit.RolledBack},
	} {
		var bad *audit.BadCheckpointError
		err := audit.VerifyCheckpoints([]audit.Checkpoint{a, c.second}, audit.Checkpoint{})
		if !errors.As(err, &bad) || bad.Fault != c.fault || bad.N != 2 {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
