package etcd

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"relight/internal/store"
)

// quotaMargin is the share of the quota that may be in use before Health warns:
// there must be room left to record how recoveries end.
const quotaMargin = 0.9

// Health implements store.Store. Corruption alarms come from etcd's comparisons
// between members; a damaged value met by Get, List or Watch is told to that
// caller only and is not repeated here, so that it stops its shard, not all.
func (s *Store) Health(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	// Linearizable: answers only if the cluster can commit.
	if _, err := s.client.Get(ctx, probeKey, clientv3.WithCountOnly()); err != nil {
		return fmt.Errorf("health: %w", fault(ctx, err))
	}
	alarms, err := s.client.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("health: %w", fault(ctx, err))
	}
	full := false
	for _, alarm := range alarms.Alarms {
		switch alarm.Alarm {
		case pb.AlarmType_CORRUPT:
			return fmt.Errorf("health: %w: etcd member %x differs from the others", store.ErrCorrupt, alarm.MemberID)
		case pb.AlarmType_NOSPACE:
			full = true
		default:
		}
	}
	if full {
		return fmt.Errorf("health: %w: the quota is used up", store.ErrNoSpace)
	}
	if s.server == nil {
		return nil
	}
	return s.room()
}

// room looks at the disk and the quota before etcd hits either.
func (s *Store) room() error {
	if used := s.server.Server.Backend().SizeInUse(); float64(used) > quotaMargin*float64(s.opts.QuotaBytes) {
		return fmt.Errorf("health: %w: %d of %d bytes of the quota in use", store.ErrNoSpace, used, s.opts.QuotaBytes)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.opts.Dir, &fs); err != nil {
		return fmt.Errorf("health: %w: %w", store.ErrUnavailable, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < s.opts.MinFreeBytes {
		return fmt.Errorf("health: %w: %d bytes free on the disk of %s, want %d", store.ErrNoSpace, free, s.opts.Dir, s.opts.MinFreeBytes)
	}
	return nil
}

// Reclaim gives the space of old revisions and deleted keys back and, if that is
// enough to be under the quota again, lets commits through. It is for a person
// who has deleted something after ErrNoSpace: watches that lag behind break, and
// the embedded store answers nobody while it rewrites its file.
func (s *Store) Reclaim(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	now, err := s.client.Get(ctx, probeKey, clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("reclaim: %w", fault(ctx, err))
	}
	if _, err := s.client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return fmt.Errorf("reclaim: compact: %w", fault(ctx, err))
	}
	if s.server == nil {
		return nil // defragmenting an outside cluster is for its owner
	}
	if err := s.server.Server.Backend().Defrag(); err != nil {
		return fmt.Errorf("reclaim: %w: %w", store.ErrUnavailable, err)
	}
	if err := s.room(); err != nil {
		return fmt.Errorf("reclaim: %w", err)
	}
	if _, err := s.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return fmt.Errorf("reclaim: %w", fault(ctx, err))
	}
	return nil
}
