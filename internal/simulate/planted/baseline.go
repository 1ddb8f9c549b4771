package main

import (
	"fmt"
	"io"
	"sync"
)

// baseline is what the product does without any patch.
type baseline struct {
	out     io.Writer // where what breaks is told
	stories string
	mu      sync.Mutex
	known   map[string]bool // runs by name, true if they break nothing
}

func newBaseline(out io.Writer, stories string) *baseline {
	return &baseline{out: out, stories: stories, known: map[string]bool{}}
}

// clean reports whether the product itself breaks nothing in the same run.
func (b *baseline) clean(like sighting) bool {
	s := sighting{Seed: like.Seed, Story: like.Story}
	b.mu.Lock()
	clean, known := b.known[s.name()]
	b.mu.Unlock()
	if known {
		return clean
	}
	err := s.play(b.stories)
	clean = err == nil && len(s.Broken) == 0
	if !clean {
		fmt.Fprintf(b.out, "the product itself, %s: %v %s\n", s.name(), err, s.Detail)
	}
	b.mu.Lock()
	b.known[s.name()] = clean
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
				if !b.clean(sighting{Seed: seed}) {
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
