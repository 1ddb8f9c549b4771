package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"relight/internal/store"
)

// A history of one key is checked as a register with compare-and-set.
type (
	request struct {
		key    string
		cas    bool // otherwise a read
		expect store.Revision
		value  string
	}
	answer struct {
		conflict bool
		rev      store.Revision // of the record read, 0 if absent; or of the commit
		value    string
	}
	register struct {
		rev   store.Revision
		value string
	}
)

func model() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byKey := map[string][]porcupine.Operation{}
			for _, op := range history {
				key := op.Input.(request).key
				byKey[key] = append(byKey[key], op)
			}
			var parts [][]porcupine.Operation
			for _, part := range byKey {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() any { return register{} },
		Step: func(state, input, output any) (bool, any) {
			now, in, out := state.(register), input.(request), output.(answer)
			switch {
			case !in.cas:
				return out.rev == now.rev && out.value == now.value, now
			case out.conflict:
				return in.expect != now.rev, now
			default:
				return in.expect == now.rev && out.rev > now.rev, register{out.rev, in.value}
			}
		},
	}
}

// Linearizable lets clients read and compare-and-set a few keys under prefix at
// the same time and reports whether some order of all calls explains every
// answer. The keys must be absent before. The error is that of a call that
// failed, or that the check found no answer in time.
func Linearizable(ctx context.Context, s store.Store, prefix string, clients, callsEach int) (bool, error) {
	const keys = 3
	var (
		mu      sync.Mutex
		history []porcupine.Operation
		failed  error
		wg      sync.WaitGroup
	)
	start := time.Now()
	for c := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 1))
			last := map[string]store.Revision{}
			for i := range callsEach {
				in := request{key: fmt.Sprintf("%s%d", prefix, r.IntN(keys)), cas: r.IntN(2) == 0}
				in.expect, in.value = last[in.key], fmt.Sprintf("%d.%d", c, i)
				call := time.Since(start)
				out, err := ask(ctx, s, in)
				op := porcupine.Operation{ClientId: c, Input: in, Call: int64(call), Output: out, Return: int64(time.Since(start))}
				mu.Lock()
				history, failed = append(history, op), errors.Join(failed, err)
				mu.Unlock()
				if err != nil {
					return
				}
				if !out.conflict {
					last[in.key] = out.rev
				}
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return false, failed
	}
	switch porcupine.CheckOperationsTimeout(model(), history, patience) {
	case porcupine.Ok:
		return true, nil
	case porcupine.Illegal:
		return false, nil
	}
	return false, errors.New("the linearizability check ran out of time")
}

func ask(ctx context.Context, s store.Store, in request) (answer, error) {
	if !in.cas {
		record, err := s.Get(ctx, in.key)
		if errors.Is(err, store.ErrNotFound) {
			return answer{}, nil
		}
		return answer{rev: record.Rev, value: string(record.Value)}, err
	}
	rev, err := s.Commit(ctx, store.Txn{
		Compares: []store.Compare{{Key: in.key, Rev: in.expect}},
		Ops:      []store.Op{{Key: in.key, Value: []byte(in.value)}},
	})
	if errors.Is(err, store.ErrConflict) {
		return answer{conflict: true}, nil
	}
	return answer{rev: rev}, err
}

func testLinearizable(t *testing.T, ctx context.Context, s store.Store) {
	ok, err := Linearizable(ctx, s, "lin/", 8, 150)
	if err != nil || !ok {
		t.Errorf("the history of the store is linearizable: %v, %v", ok, err)
	}
}
