package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	"relight/internal/store"
)

// A restore leaves out as many numbers as may have been used since the backup, and one more
// for each second since then: the same backup may be restored twice, and what was used
// between is later than the first.
const (
	// termGap is for terms. Agents refuse terms below the highest that they have seen; a
	// term is taken once in a controller's life.
	termGap = 1_000_000
	// epochGap is for epochs, each of which takes at least a fence and a start.
	epochGap = 1_000
)

// markAtOnce is how many operations go into one transaction.
const markAtOnce = 64

// SetBack is part of each restore. It lifts the term above all that agents can have seen
// since the backup: they would refuse every command of a controller with a term from the
// past. It leaves out the numbers of epochs that may have been used: an array that was made
// to shut one out lists it no more. And it marks the servers: what became of their epochs since then the store does not
// know, and nobody who looks now need see it (S2, S3). Wishes that wait are dropped. since is how long ago the backup was made.
func SetBack(ctx context.Context, st store.Store, since time.Duration) error {
	seconds := max(int64(since/time.Second), 0)
	if err := raiseTerm(ctx, st, fleet.Term(termGap+seconds)); err != nil {
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
		op, err := marked(ctx, st, r, name, fleet.Epoch(epochGap+seconds))
		if err != nil {
			return err
		}
		// A wish of before is no word on what came after.
		txn.Ops = append(txn.Ops, op, store.Op{Key: root + kindRequest + "/" + name, Delete: true})
		if len(txn.Ops) >= markAtOnce {
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

// marked writes that the store of a server was set back.
func marked(ctx context.Context, st store.Store, declared store.Record, name string, gap fleet.Epoch) (store.Op, error) {
	status := fleet.Status{Server: name}
	key := root + kindStatus + "/" + name
	r, err := st.Get(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Op{}, err
	}
	if err == nil {
		if err := json.Unmarshal(r.Value, &status); err != nil {
			return store.Op{}, fmt.Errorf("record %s: %w", key, err)
		}
	}
	status.SetBack = true
	if status.Epoch > 0 { // a first start waits until something of it is seen, or for a person
		status.Skip = max(status.Epoch, status.Skip) + gap
		server, err := volumesOf(declared.Value)
		if err != nil {
			return store.Op{}, fmt.Errorf("record %s: %w", declared.Key, err)
		}
		status.Written = decide.Written(status.Written, server, status.Epoch)
	}
	if status.Recovery != nil {
		// Its epoch may have been started since, and fenced.
		status.Recovery.SetBack, status.Recovery.MayLive = true, status.Recovery.MayLive || status.Recovery.To != 0
	}
	raw, err := json.Marshal(status)
	return store.Op{Key: key, Value: raw}, err
}

// volumesOf is a server of which nothing is known but the volumes that it declares.
func volumesOf(record []byte) (fleet.Server, error) {
	var doc Document
	if err := json.Unmarshal(record, &doc); err != nil {
		return fleet.Server{}, err
	}
	var declared struct {
		Spec struct {
			Identity struct {
				Volumes []struct{ Name, Path string }
			}
		}
	}
	if err := json.Unmarshal(doc.Raw, &declared); err != nil {
		return fleet.Server{}, err
	}
	var s fleet.Server
	for _, vol := range declared.Spec.Identity.Volumes {
		s.Spec.Identity.Volumes = append(s.Spec.Identity.Volumes, fleet.Volume{Name: vol.Name, Path: vol.Path})
	}
	return s, nil
}

func raiseTerm(ctx context.Context, st store.Store, gap fleet.Term) error {
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
	reign.Term += gap
	raw, err := json.Marshal(reign)
	if err != nil {
		return err
	}
	_, err = st.Commit(ctx, store.Txn{Ops: []store.Op{{Key: key, Value: raw}}})
	return err
}
