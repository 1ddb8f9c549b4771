package aws

import "sync"

// readsAtOnce bounds how many reads of a sweep are under way: one after the other they
// would take a round trip each, and all at once they would use up connections, and the
// tokens that looks before steps wait for.
const readsAtOnce = 4

// answer is what one of several reads returned.
type answer[T any] struct {
	value T
	err   error
}

// together makes n reads, some of them at once, and returns their answers in the order of
// the reads, so that nothing depends on which came first.
func together[T any](n int, read func(int) (T, error)) []answer[T] {
	out := make([]answer[T], n)
	var all sync.WaitGroup
	turns := make(chan struct{}, readsAtOnce)
	for i := range n {
		if n == 1 {
			out[i].value, out[i].err = read(i)
			break
		}
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			out[i].value, out[i].err = read(i)
		})
	}
	all.Wait()
	return out
}
