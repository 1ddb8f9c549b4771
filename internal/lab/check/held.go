package check

import (
	"fmt"
	"os"
)

// Held reads the file behind a LUN once, and counts which of the acknowledged records it
// does not hold, and where a record of an older epoch follows one of a newer epoch,
// which takes two writers. The file is a ring: a record in whose place its own successors
// have come around counts as held. It is for who did not watch; see Watcher.
func Held(path string, acked []Ack) (lost, turns int, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, fmt.Errorf("read the LUN: %w", err)
	}
	blocks := uint64(len(data) / Size)
	at := func(seq uint64) (record, error) {
		n := seq % blocks
		return decode(data[n*Size : (n+1)*Size])
	}
	last := uint64(0)
	for n := range blocks {
		r, err := at(n)
		if err == nil && r.seq%blocks == n {
			last = max(last, r.seq)
		}
	}
	for _, a := range acked {
		r, err := at(a.Seq)
		around := err == nil && r.seq > a.Seq && r.epoch >= a.Epoch
		if !around && (err != nil || r.seq != a.Seq || r.epoch != a.Epoch) {
			lost++
		}
	}
	before := record{}
	for seq := last - min(last, blocks-1); seq <= last; seq++ {
		r, err := at(seq)
		if err != nil || r.seq != seq || seq == 0 {
			continue
		}
		if r.epoch < before.epoch {
			turns++
		}
		before = r
	}
	return lost, turns, nil
}
