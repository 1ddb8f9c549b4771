package etcd_test

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"relight/internal/store"
	"relight/internal/store/etcd"
)

func BenchmarkFirstOpen(b *testing.B) {
	for range b.N {
		s := benchStore(b, b.TempDir())
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkReopen(b *testing.B) {
	dir := b.TempDir()
	s := benchStore(b, dir)
	for range b.N {
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		s = benchStore(b, dir)
	}
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func benchStore(b *testing.B, dir string) *etcd.Store {
	b.Helper()
	s, err := etcd.Open(b.Context(), etcd.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkCompareAndSet counts changed keys; each writer has its own.
func BenchmarkCompareAndSet(b *testing.B) {
	for _, c := range []struct{ writers, ops int }{{1, 1}, {64, 1}, {1, 64}, {8, 64}} {
		b.Run(fmt.Sprintf("writers=%d/ops=%d", c.writers, c.ops), func(b *testing.B) {
			s := benchStore(b, b.TempDir())
			defer s.Close()
			value := make([]byte, 1024)
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for w := range c.writers {
				wg.Go(func() {
					var rev store.Revision
					for left.Add(-int64(c.ops)) > -int64(c.ops) {
						var txn store.Txn
						for o := range c.ops {
							key := fmt.Sprintf("w%d/%d", w, o)
							txn.Compares = append(txn.Compares, store.Compare{Key: key, Rev: rev})
							txn.Ops = append(txn.Ops, store.Op{Key: key, Value: value})
						}
						next, err := s.Commit(b.Context(), txn)
						if err != nil {
							b.Error(err)
							return
						}
						rev = next
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cas/s")
		})
	}
}
