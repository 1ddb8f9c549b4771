package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"relight/internal/core/fleet"
	"relight/internal/store"
)

// termGap is what a restore adds to the term. Agents refuse terms below the
// highest that they have seen; a term is taken once in a controller's life, so no
// history since the backup has taken so many.
const termGap = 1_000_000

// markAtOnce is how many servers are marked in one transaction.
const markAtOnce = 64

// SetBack is part of each restore. It lifts the term above all that agents can have seen
// since the backup: they would refuse every command of a controller with a term from the
// past. And it marks the servers of which nothing was started by then: something may have
// been since, and nobody who looks now need reach it (S3).
func SetBack(ctx context.Context, st store.Store) error {
	if err := raiseTerm(ctx, st); err != nil {
		return err
	}
	servers, _, err := st.List(ctx, root+kindServer+"/")
	if err != nil {
		return err
	}
	var txn store.Txn
	for _, r := range servers {
		_, name, err := split(r.Key)
		if err != nil {
			return err
		}
		op, err := markUnsure(ctx, st, name)
		if err != nil {
			return err
		}
		if op != nil {
			txn.Ops = append(txn.Ops, *op)
		}
		if len(txn.Ops) == markAtOnce {
			if _, err := st.Commit(ctx, txn); err != nil {
				return err
			}
			txn = store.Txn{}
		}
	}
	if len(txn.Ops) == 0 {
		return nil
	}
	_, err = st.Commit(ctx, txn)
	return err
}

// markUnsure is what marks a server of which nothing was started, or nil.
func markUnsure(ctx context.Context, st store.Store, name string) (*store.Op, error) {
	status := fleet.Status{Server: name}
	key := root + kindStatus + "/" + name
	r, err := st.Get(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		if err := json.Unmarshal(r.Value, &status); err != nil {
			return nil, fmt.Errorf("record %s: %w", key, err)
		}
	}
	if status.Epoch != 0 {
		return nil, nil
	}
	status.SetBack = true
	raw, err := json.Marshal(status)
	return &store.Op{Key: key, Value: raw}, err
}

func raiseTerm(ctx context.Context, st store.Store) error {
	key := root + kindTerm + "/controller"
	r, err := st.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var reign Reign
	if err := json.Unmarshal(r.Value, &reign); err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	reign.Term += fleet.Term(termGap)
	raw, err := json.Marshal(reign)
	if err != nil {
		return err
	}
	_, err = st.Commit(ctx, store.Txn{Ops: []store.Op{{Key: key, Value: raw}}})
	return err
}
