package mem

import (
	"iter"
	"slices"
)

// keySet is a sorted set of keys in chunks: one sorted slice would move
// megabytes for each new key once a simulated fleet has 100,000 servers.
type keySet struct {
	chunks [][]string // none is empty; sorted within and across
}

const maxChunk = 512

// find returns the chunk where key is or belongs, its place there, and whether
// it is present. There must be a chunk.
func (k *keySet) find(key string) (chunk, at int, found bool) {
	chunk, found = slices.BinarySearchFunc(k.chunks, key, func(c []string, key string) int {
		switch {
		case c[0] < key:
			return -1
		case c[0] > key:
			return 1
		}
		return 0
	})
	if !found && chunk > 0 {
		chunk--
	}
	at, found = slices.BinarySearch(k.chunks[chunk], key)
	return chunk, at, found
}

func (k *keySet) add(key string) {
	if len(k.chunks) == 0 {
		k.chunks = [][]string{{key}}
		return
	}
	c, at, found := k.find(key)
	if found {
		return
	}
	k.chunks[c] = slices.Insert(k.chunks[c], at, key)
	if full := k.chunks[c]; len(full) > maxChunk {
		half := len(full) / 2
		k.chunks[c] = full[:half:half]
		k.chunks = slices.Insert(k.chunks, c+1, slices.Clone(full[half:]))
	}
}

func (k *keySet) remove(key string) {
	if len(k.chunks) == 0 {
		return
	}
	c, at, found := k.find(key)
	if !found {
		return
	}
	k.chunks[c] = slices.Delete(k.chunks[c], at, at+1)
	if len(k.chunks[c]) == 0 {
		k.chunks = slices.Delete(k.chunks, c, c+1)
	}
}

// from yields the keys at or after a key, in order.
func (k *keySet) from(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if len(k.chunks) == 0 {
			return
		}
		c, at, _ := k.find(key)
		for ; c < len(k.chunks); c++ {
			for _, key := range k.chunks[c][at:] {
				if !yield(key) {
					return
				}
			}
			at = 0
		}
	}
}
