package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"relight/internal/store"
)

// Watch implements store.Store. Etcd buffers for a slow reader in memory.
func (s *Store) Watch(ctx context.Context, prefix string, after store.Revision) (<-chan []store.Event, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	// A watch tells of a compacted revision only later, by ending; ask first.
	_, err := s.client.Get(ctx, probeKey, clientv3.WithCountOnly(), clientv3.WithRev(int64(after)+1))
	if err != nil && !errors.Is(err, rpctypes.ErrFutureRev) {
		return nil, fmt.Errorf("watch of %q after revision %d: %w", prefix, after, fault(ctx, err))
	}
	watching, stop := context.WithCancel(ctx)
	if s.server == nil {
		// A member that lost its cluster must break the watch, not stay silent.
		watching = clientv3.WithRequireLeader(watching)
	}
	from, end := interval(prefix)
	changes := s.client.Watch(watching, from, clientv3.WithRange(end), clientv3.WithRev(int64(after)+1))
	out := make(chan []store.Event)
	s.watches.Go(func() {
		defer close(out)
		defer stop()
		s.relay(ctx, prefix, changes, out)
	})
	return out, nil
}

func (s *Store) relay(ctx context.Context, prefix string, changes clientv3.WatchChan, out chan<- []store.Event) {
	for {
		var resp clientv3.WatchResponse
		var ok bool
		select {
		case resp, ok = <-changes:
		case <-ctx.Done():
			return
		case <-s.closing:
			return
		}
		if !ok {
			return
		}
		if err := resp.Err(); err != nil {
			if ctx.Err() == nil {
				s.opts.Logger.Warn("watch broke", "prefix", prefix, "error", err)
			}
			return
		}
		batch, damaged := events(resp)
		if len(batch) > 0 {
			select {
			case out <- batch:
			case <-ctx.Done():
				return
			case <-s.closing:
				return
			}
		}
		if damaged != nil {
			s.opts.Logger.Error("watch broke on a damaged value", "prefix", prefix, "error", damaged)
			return
		}
	}
}

// events opens the envelopes of a response. With an error, the batch ends before
// the transaction that holds the damage: half of it would be a state that never
// was.
func events(resp clientv3.WatchResponse) ([]store.Event, error) {
	batch := make([]store.Event, 0, len(resp.Events))
	whole := 0 // where the transaction of the last event begins
	for _, e := range resp.Events {
		rev := store.Revision(e.Kv.ModRevision)
		if len(batch) > 0 && batch[len(batch)-1].Rev != rev {
			whole = len(batch)
		}
		event := store.Event{Key: string(e.Kv.Key), Rev: rev}
		if e.Type == mvccpb.Event_DELETE {
			event.Deleted = true
		} else {
			value, err := store.Open(event.Key, e.Kv.Value)
			if err != nil {
				if len(batch) > 0 && batch[len(batch)-1].Rev == rev {
					batch = batch[:whole]
				}
				return batch, err
			}
			event.Value = value
		}
		batch = append(batch, event)
	}
	return batch, nil
}
