package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"relight/internal/store"
)

const (
	// probeKey is read to see whether the store answers; nothing is stored there.
	probeKey = "\x00probe"
	// pageSize is the number of keys in one read of List. Etcd counts all the
	// rest of the range for each page, so small pages make a large list slow.
	pageSize = 5000
)

// fault translates an error of etcd's client into one of the port.
func fault(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for theirs, ours := range map[error]error{
		rpctypes.ErrNoSpace:         store.ErrNoSpace,
		rpctypes.ErrCorrupt:         store.ErrCorrupt,
		rpctypes.ErrCompacted:       store.ErrCompacted,
		rpctypes.ErrLeaseNotFound:   store.ErrLeaseLost,
		rpctypes.ErrRequestTooLarge: store.ErrInvalid,
		rpctypes.ErrTooManyOps:      store.ErrInvalid,
	} {
		if errors.Is(err, theirs) {
			return fmt.Errorf("%w: %w", ours, err)
		}
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := s.enter(ctx); err != nil {
		return store.Record{}, err
	}
	resp, err := s.client.Get(ctx, key)
	if err != nil {
		return store.Record{}, fmt.Errorf("key %q: %w", key, fault(ctx, err))
	}
	if len(resp.Kvs) == 0 {
		return store.Record{}, fmt.Errorf("key %q: %w", key, store.ErrNotFound)
	}
	if stored := string(resp.Kvs[0].Key); stored != key {
		return store.Record{}, fmt.Errorf("key %q: %w: its record says %q", key, store.ErrCorrupt, stored)
	}
	return record(resp.Kvs[0], resp.Header.Revision)
}

// record opens the envelope of a key read at a revision of the store.
func record(kv *mvccpb.KeyValue, now int64) (store.Record, error) {
	key := string(kv.Key)
	if kv.ModRevision <= 0 || kv.ModRevision > now {
		return store.Record{}, fmt.Errorf("key %q: %w: changed at revision %d of %d", key, store.ErrCorrupt, kv.ModRevision, now)
	}
	value, err := store.Open(key, kv.Value)
	if err != nil {
		return store.Record{}, err
	}
	return store.Record{Key: key, Value: value, Rev: store.Revision(kv.ModRevision)}, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Record, store.Revision, error) {
	var records []store.Record
	rev, err := s.scan(ctx, 0, prefix, func(total int64, r store.Record) error {
		if records == nil {
			records = make([]store.Record, 0, total)
		}
		records = append(records, r)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return records, store.Revision(rev), nil
}

// Scan implements store.Store.
func (s *Store) Scan(ctx context.Context, visit func(store.Record) error, prefixes ...string) (store.Revision, error) {
	at := int64(0)
	for _, prefix := range prefixes {
		var err error
		if at, err = s.scan(ctx, at, prefix, func(_ int64, r store.Record) error { return visit(r) }); err != nil {
			return 0, err
		}
	}
	return store.Revision(at), nil
}

// scan visits the records under a prefix as of a revision, page by page, and
// tells how many there are. At revision 0 the first page fixes that of the rest.
func (s *Store) scan(ctx context.Context, at int64, prefix string, visit func(total int64, r store.Record) error) (int64, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	from, end := interval(prefix)
	for total := int64(-1); ; {
		resp, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(at))
		if err != nil {
			return 0, fmt.Errorf("list %q: %w", prefix, fault(ctx, err))
		}
		if at == 0 {
			at = resp.Header.Revision
		}
		if total < 0 {
			total = resp.Count
		}
		for _, kv := range resp.Kvs {
			r, err := record(kv, at)
			if err == nil {
				err = visit(total, r)
			}
			if err != nil {
				return 0, fmt.Errorf("list %q: %w", prefix, err)
			}
		}
		if !resp.More {
			return at, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// interval returns the range of keys that begin with prefix.
func interval(prefix string) (from, end string) {
	if prefix == "" {
		return "\x00", "\x00" // etcd's way to say: all keys
	}
	return prefix, clientv3.GetPrefixRangeEnd(prefix)
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	if err := txn.Check(); err != nil {
		return 0, err
	}
	compares := make([]clientv3.Cmp, len(txn.Compares))
	for i, c := range txn.Compares {
		compares[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", int64(c.Rev))
	}
	ops := make([]clientv3.Op, len(txn.Ops))
	for i, op := range txn.Ops {
		if op.Delete {
			ops[i] = clientv3.OpDelete(op.Key)
		} else {
			ops[i] = clientv3.OpPut(op.Key, string(store.Seal(op.Key, op.Value)), clientv3.WithLease(clientv3.LeaseID(op.Lease)))
		}
	}
	resp, err := s.client.Txn(ctx).If(compares...).Then(ops...).Commit()
	if err != nil {
		return 0, fmt.Errorf("commit: %w", fault(ctx, err))
	}
	if !resp.Succeeded {
		return 0, fmt.Errorf("commit: %w", store.ErrConflict)
	}
	return store.Revision(resp.Header.Revision), nil
}

// Grant implements store.Store. Etcd counts leases in whole seconds, so ttl is
// rounded up; its expiry runs twice a second, so a lease can last up to about a
// second longer, and after a restart of the member every lease begins anew.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (store.LeaseID, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	if ttl <= 0 {
		return 0, fmt.Errorf("%w: lease of %v", store.ErrInvalid, ttl)
	}
	resp, err := s.client.Grant(ctx, int64(math.Ceil(ttl.Seconds())))
	if err != nil {
		return 0, fmt.Errorf("grant: %w", fault(ctx, err))
	}
	return store.LeaseID(resp.ID), nil
}

// KeepAlive implements store.Store.
func (s *Store) KeepAlive(ctx context.Context, id store.LeaseID) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if _, err := s.client.KeepAliveOnce(ctx, clientv3.LeaseID(id)); err != nil {
		return fmt.Errorf("lease %x: %w", int64(id), fault(ctx, err))
	}
	return nil
}

// Revoke implements store.Store.
func (s *Store) Revoke(ctx context.Context, id store.LeaseID) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if _, err := s.client.Revoke(ctx, clientv3.LeaseID(id)); err != nil {
		return fmt.Errorf("lease %x: %w", int64(id), fault(ctx, err))
	}
	return nil
}
