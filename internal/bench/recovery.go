package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"relight/internal/store"
	"relight/internal/store/etcd"
)

const (
	singles = 50
	mass    = 1000
	settle  = 2 * time.Second
	// recoveryLimit bounds the part, so that a recovery that never ends is an error.
	recoveryLimit = 80 * time.Second
)

// recoveryRows measures from the moment at which a death is visible until the
// recovery is durably healed: on an etcd member with fsync, with a provider whose
// calls take no time, in real time.
func recoveryRows(ctx context.Context, opt Options) (rows []Row, err error) {
	ctx, cancel := context.WithTimeout(ctx, recoveryLimit)
	defer cancel()
	dir, err := os.MkdirTemp(opt.Dir, "relight-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	inner, err := etcd.Open(ctx, etcd.Options{Dir: filepath.Join(dir, "store"), Logger: slog.New(slog.DiscardHandler), MinFreeBytes: 1 << 20})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, inner.Close()) }()
	st := &countedStore{Store: inner}
	r, err := newRig(ctx, st, mass+singles)
	if err != nil {
		return nil, err
	}
	return r.measure(ctx, st)
}

func (r *rig) measure(ctx context.Context, st *countedStore) (rows []Row, err error) {
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.loops.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()

	var all []string
	for i := range mass + singles {
		all = append(all, serverName(i))
	}
	if err := r.await(ctx, all); err != nil {
		return nil, fmt.Errorf("first launch: %w", err)
	}
	// The echo of a thousand launches is no part of a single recovery.
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var one, floors []time.Duration
	for _, name := range all[mass:] {
		st.take()
		took, err := r.kill(ctx, []string{name})
		if err != nil {
			return nil, err
		}
		one = append(one, took...)
		times, err := replay(ctx, st.Store, st.take())
		if err != nil {
			return nil, err
		}
		floors = append(floors, times[len(times)-1])
	}
	st.take()
	many, err := r.kill(ctx, all[:mass])
	if err != nil {
		return nil, err
	}
	txns := st.take()
	stop()
	alone, err := replay(ctx, st.Store, txns)
	if err != nil {
		return nil, err
	}
	peer := "its store transactions alone, one by one"
	row := func(name string, d, floor time.Duration, goal string) Row {
		return against(Row{Name: name, Value: d.Seconds(), Unit: "s", Goal: goal}, peer, floor.Seconds())
	}
	return []Row{
		row("recovery overhead, 1 at once, p50", quantile(one, 0.5), quantile(floors, 0.5), ""),
		row("recovery overhead, 1 at once, p99", quantile(one, 0.99), quantile(floors, 0.99), "<= 0.2"),
		row("recovery overhead, 1000 at once, p50", quantile(many, 0.5), quantile(alone, 0.5), ""),
		row("recovery overhead, 1000 at once, p99", quantile(many, 0.99), quantile(alone, 0.99), "<= 2"),
		{Name: "store transactions for 1000 at once", Value: float64(len(txns)), Unit: "txns"},
		{Name: "bytes stored for 1000 at once", Value: float64(sizeOf(txns)) / mass, Unit: "B/recovery"},
	}, nil
}

// shape is a transaction reduced to what it costs: the bytes of each operation.
type shape []int

// countedStore remembers the shape of each commit.
type countedStore struct {
	store.Store
	mu   sync.Mutex
	txns []shape
}

// Commit implements store.Store.
func (s *countedStore) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	var sh shape
	for _, op := range txn.Ops {
		sh = append(sh, len(op.Value))
	}
	s.mu.Lock()
	s.txns = append(s.txns, sh)
	s.mu.Unlock()
	return s.Store.Commit(ctx, txn)
}

// take returns the shapes since the last take.
func (s *countedStore) take() []shape {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.txns
	s.txns = nil
	return out
}

// replay commits transactions of the same shapes, one by one, and returns when
// each was durable, counted from the start.
func replay(ctx context.Context, st store.Store, txns []shape) ([]time.Duration, error) {
	if len(txns) == 0 {
		return nil, errors.New("nothing was stored")
	}
	var out []time.Duration
	begun := time.Now()
	for i, sh := range txns {
		var txn store.Txn
		for k, size := range sh {
			txn.Ops = append(txn.Ops, store.Op{Key: fmt.Sprintf("bench/floor/%d/%d", i%64, k), Value: make([]byte, size)})
		}
		if _, err := st.Commit(ctx, txn); err != nil {
			return nil, fmt.Errorf("replay a transaction: %w", err)
		}
		out = append(out, time.Since(begun))
	}
	return out, nil
}

func sizeOf(txns []shape) int {
	sum := 0
	for _, sh := range txns {
		for _, n := range sh {
			sum += n
		}
	}
	return sum
}
