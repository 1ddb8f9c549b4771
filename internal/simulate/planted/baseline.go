package main

import (
	"fmt"
	"io"
	"sync"
)

// baseline is what the product does without any patch.
type baseline struct {
	out   io.Writer // where what breaks is told
	mu    sync.Mutex
	known map[uint64]bool // seeds, true if they break nothing
}

func newBaseline(out io.Writer) *baseline { return &baseline{out: out, known: map[uint64]bool{}} }

// clean reports whether the product itself breaks nothing on the seed.
func (b *baseline) clean(seed uint64) bool {
	b.mu.Lock()
	clean, known := b.known[seed]
	b.mu.Unlock()
	if known {
		return clean
	}
	s, err := play(seed)
	clean = err == nil && len(s.Broken) == 0
	if !clean {
		fmt.Fprintf(b.out, "the product itself, seed %d: %v %s\n", seed, err, s.Detail)
	}
	b.mu.Lock()
	b.known[seed] = clean
	b.mu.Unlock()
	return clean
}

// first runs the first seeds and returns how many of them break something.
func (b *baseline) first(n uint64, workers int) (dirty int) {
	seeds := make(chan uint64)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range max(workers, 1) {
		wg.Go(func() {
			for seed := range seeds {
				if !b.clean(seed) {
					mu.Lock()
					dirty++
					mu.Unlock()
				}
			}
		})
	}
	for seed := range n {
		seeds <- seed
	}
	close(seeds)
	wg.Wait()
	fmt.Fprintf(b.out, "the product itself: %d of %d seeds break a promise\n", dirty, n)
	return dirty
}
