package arraytest

import (
	"context"
	"errors"

	"relight/internal/array"
	"relight/internal/array/iscsi"
)

// stop fences an epoch, as a planned move does before its snapshot.
func (s *suite) stop(r array.Ref, cfg iscsi.Config) {
	s.Helper()
	s.journal(r)
	_, err := s.runFence(r, cfg)
	s.must("fence", err)
}

// A snapshot is of what an epoch left behind: none is taken while anybody could write,
// one of a name is taken once, what is written later does not change it, and it can be
// put back, once nobody uses the LUN.
func (s *suite) snapshot() {
	units := s.luns(1)
	name := array.SnapshotName(ref("db", 1))
	first := s.start(ref("db", 1), units)
	c := s.login(first)
	s.must("write", s.write(c, 1, 7, "of epoch 1"))
	_, err := s.array.Snapshot(s.ctx, units[1], name)
	s.want("of a LUN in use", err, array.ErrMapped)
	s.must("logout", c.Close())
	_, err = s.array.Snapshot(s.ctx, units[1], name)
	s.want("of a LUN with a map", err, array.ErrMapped)

	s.stop(ref("db", 1), first)
	s.must("take", s.taken(units[1], name, 1))
	s.must("take again", s.taken(units[1], name, 1))

	second := s.start(ref("db", 2), units)
	c = s.login(second)
	s.holds(c, 1, 7, "of epoch 1")
	s.must("write", s.write(c, 1, 7, "of epoch 2"))
	s.want("restore of a LUN in use", s.array.RestoreSnapshot(s.ctx, units[1], name), array.ErrMapped)
	s.must("logout", c.Close())
	s.stop(ref("db", 2), second)
	s.must("take the second", s.taken(units[1], array.SnapshotName(ref("db", 2)), 2))

	s.want("restore of none", s.array.RestoreSnapshot(s.ctx, units[1], "relight-db-e9"), array.ErrNotFound)
	s.must("restore", s.array.RestoreSnapshot(s.ctx, units[1], name))
	c = s.login(s.start(ref("db", 3), units))
	s.holds(c, 1, 7, "of epoch 1")
	s.must("write", s.write(c, 1, 7, "of epoch 3"))
	s.holds(c, 1, 7, "of epoch 3")
}

// taken takes a snapshot and counts those of the LUN.
func (s *suite) taken(lun, name string, all int) error {
	got, err := s.array.Snapshot(s.ctx, lun, name)
	if err != nil {
		return err
	}
	if got.LUN != lun || got.Name != name || got.Bytes != size || got.At.IsZero() {
		s.Errorf("snapshot %+v", got)
	}
	list, err := s.array.Snapshots(s.ctx, lun)
	if err == nil && (len(list) != all || list[all-1] != got) {
		s.Errorf("there are %+v, want %d with %+v", list, all, got)
	}
	return err
}

func (s *suite) snapshotInvalid() {
	units := s.luns(1)
	for _, name := range []string{"", "db", "relight", "relight-../x", "x.relight-db-e1"} {
		_, err := s.array.Snapshot(s.ctx, units[1], name)
		s.want("snapshot "+name, err, array.ErrInvalid)
		s.want("restore "+name, s.array.RestoreSnapshot(s.ctx, units[1], name), array.ErrInvalid)
	}
	_, err := s.array.Snapshot(s.ctx, "vol-x", "relight-db-e1")
	s.want("of no LUN", err, array.ErrNotFound)
	_, err = s.array.Snapshots(s.ctx, "vol-x")
	s.want("list of no LUN", err, array.ErrNotFound)

	// What keeps a snapshot is never a LUN.
	s.must("take", s.taken(units[1], "relight-db-e1", 1))
	kept, err := array.SnapshotLUN(units[1], "relight-db-e1")
	s.must("name", err)
	_, err = s.array.Map(s.ctx, s.newMap(ref("web", 1), map[int]string{1: kept}), dead("web", 1))
	s.want("map of a snapshot", err, array.ErrInvalid)

	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.array.Snapshot(ctx, units[1], "relight-db-e2"); !errors.Is(err, context.Canceled) {
		s.Errorf("snapshot after its time: %v", err)
	}
	if list, err := s.array.Snapshots(s.ctx, units[1]); err != nil || len(list) != 1 {
		s.Errorf("a snapshot that failed left %v, %v", list, err)
	}
}

// A snapshot is deleted by its very name, once; the LUN and its other snapshots stay,
// also while an epoch uses the LUN.
func (s *suite) snapshotDelete() {
	units := s.luns(1)
	first := s.start(ref("db", 1), units)
	c := s.login(first)
	s.must("write", s.write(c, 1, 7, "of epoch 1"))
	s.must("logout", c.Close())
	s.stop(ref("db", 1), first)
	s.must("take", s.taken(units[1], "relight-db-e1", 1))
	s.must("take another", s.taken(units[1], "relight-db-e10", 2))

	c = s.login(s.start(ref("db", 2), units))
	s.must("delete", s.array.DeleteSnapshot(s.ctx, units[1], "relight-db-e1"))
	s.must("delete again", s.array.DeleteSnapshot(s.ctx, units[1], "relight-db-e1"))
	list, err := s.array.Snapshots(s.ctx, units[1])
	if err != nil || len(list) != 1 || list[0].Name != "relight-db-e10" {
		s.Errorf("after the delete there are %+v, %v", list, err)
	}
	s.holds(c, 1, 7, "of epoch 1")
	s.must("write", s.write(c, 1, 8, "of epoch 2"))
	for _, name := range []string{"", "db", "relight-../x", "x.relight-db-e10"} {
		s.want("delete "+name, s.array.DeleteSnapshot(s.ctx, units[1], name), array.ErrInvalid)
	}
}
