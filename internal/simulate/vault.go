package simulate

import (
	"context"

	"relight/internal/store"
)

// vault is the store as one controller reaches it.
type vault struct {
	store.Store
	b *brain
	// via is the member that it asks.
	via int
}

// open returns the store to read from.
func (v *vault) open() (store.Store, error) {
	e := v.b.e
	if v.b.noStore || e.mischief.storeDown {
		return nil, store.ErrUnavailable
	}
	if e.quorum == nil {
		return v.Store, nil
	}
	return e.store, e.quorum.read(&v.via)
}

// Get implements store.Store.
func (v *vault) Get(ctx context.Context, key string) (store.Record, error) {
	s, err := v.open()
	if err != nil {
		return store.Record{}, err
	}
	return s.Get(ctx, key)
}

// List implements store.Store.
func (v *vault) List(ctx context.Context, prefix string) ([]store.Record, store.Revision, error) {
	s, err := v.open()
	if err != nil {
		return nil, 0, err
	}
	return s.List(ctx, prefix)
}

// Health implements store.Store.
func (v *vault) Health(ctx context.Context) error {
	s, err := v.open()
	if err != nil {
		return err
	}
	if v.b.e.mischief.storeFull {
		return store.ErrNoSpace
	}
	return s.Health(ctx)
}

// Commit implements store.Store.
func (v *vault) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	e := v.b.e
	if v.b.noStore || e.mischief.storeDown {
		return 0, store.ErrUnavailable
	}
	if e.mischief.storeFull {
		return 0, store.ErrNoSpace
	}
	if v.b.strikes("before-commit") {
		return 0, errCrash
	}
	if e.chance(e.mischief.storeLoses) {
		return 0, store.ErrUnavailable // it did not happen, and nobody can tell
	}
	rev, err := v.write(ctx, txn)
	if err != nil {
		return rev, err
	}
	if v.b.strikes("after-commit") {
		return 0, errCrash
	}
	if e.chance(e.mischief.storeForgets) {
		return 0, store.ErrUnavailable // it happened, and nobody can tell
	}
	return rev, nil
}

// write makes the transaction durable, and tells who listens.
func (v *vault) write(ctx context.Context, txn store.Txn) (store.Revision, error) {
	e := v.b.e
	if e.quorum != nil {
		return e.quorum.commit(&v.via, txn)
	}
	rev, err := v.Store.Commit(ctx, txn)
	if err == nil {
		e.committed(txn, e.world.Now())
	}
	return rev, err
}
