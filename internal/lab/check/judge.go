package check

import (
	"fmt"
	"time"
)

// Ack is one record that a client was told to be durable.
type Ack struct {
	Seq, Epoch uint64
	At         time.Time
}

// Fence says that an epoch, and all before it, could write no more from a time on.
type Fence struct {
	Epoch uint64
	At    time.Time
}

// Findings is what a LUN shows.
type Findings struct {
	Records, Acked, Epochs int
	// Lost counts records that were acknowledged, or seen on the LUN, and are not
	// there any more as they were.
	Lost int
	// Stale counts records of an epoch that landed after its fence, or after the
	// first record of a later epoch.
	Stale int
	// Torn counts blocks that hold neither a record in its place nor zeros, but for
	// the one after the last record, whose writer may have been killed over it.
	Torn int
	// Notes say for people where the first of each were found.
	Notes []string
}

// OK reports whether nothing is wrong.
func (f Findings) OK() bool { return f.Lost == 0 && f.Stale == 0 && f.Torn == 0 }

// String is the findings in one line.
func (f Findings) String() string {
	return fmt.Sprintf("records=%d acked=%d epochs=%d lost=%d stale=%d torn=%d", f.Records, f.Acked, f.Epochs, f.Lost, f.Stale, f.Torn)
}

// judge collects findings; each record counts once as lost and once as stale.
type judge struct {
	f           Findings
	lost, stale map[uint64]bool
}

func (j *judge) note(format string, args ...any) {
	if len(j.f.Notes) < 20 {
		j.f.Notes = append(j.f.Notes, fmt.Sprintf(format, args...))
	}
}

func (j *judge) lose(seq uint64, format string, args ...any) {
	if !j.lost[seq] {
		j.lost[seq] = true
		j.f.Lost++
		j.note("record %d is lost: %s", seq, fmt.Sprintf(format, args...))
	}
}

func (j *judge) spoil(seq uint64, format string, args ...any) {
	if !j.stale[seq] {
		j.stale[seq] = true
		j.f.Stale++
		j.note("record %d is stale: %s", seq, fmt.Sprintf(format, args...))
	}
}

// Judge reads the whole LUN once more and holds it against what was acknowledged
// and fenced. Writers may go on meanwhile.
func (w *Watcher) Judge(acked []Ack, fences []Fence) (Findings, error) {
	w.Look()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return Findings{}, w.err
	}
	j := &judge{lost: map[uint64]bool{}, stale: map[uint64]bool{}}
	j.f.Records, j.f.Acked = len(w.records)-1, len(acked)
	for _, r := range w.replaced {
		j.lose(r.seq, "it was of epoch %d until %s, then of epoch %d", r.was, stamp(r.at), r.is)
		if r.is < r.was {
			j.spoil(r.seq, "epoch %d wrote over epoch %d", r.is, r.was)
		}
	}
	w.order(j, fences)
	for _, a := range acked {
		if a.Seq >= uint64(len(w.records)) {
			j.lose(a.Seq, "epoch %d was told that it is durable at %s, and it is not there", a.Epoch, stamp(a.At))
		} else if r := w.records[a.Seq]; r.epoch != a.Epoch {
			j.lose(a.Seq, "epoch %d was told that it is durable at %s, and it is of epoch %d", a.Epoch, stamp(a.At), r.epoch)
		}
	}
	return j.f, w.whole(j)
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// order looks at who wrote when.
func (w *Watcher) order(j *judge, fences []Fence) {
	var highest uint64
	for i, r := range w.records[1:] {
		seq := uint64(i) + 1
		if r.epoch < highest {
			j.spoil(seq, "it is of epoch %d, after records of epoch %d", r.epoch, highest)
		}
		if r.epoch > highest {
			highest = r.epoch
			j.f.Epochs++
		}
		if r.server != w.records[1].server {
			j.spoil(seq, "another server wrote it")
		}
		for _, f := range fences {
			if r.epoch <= f.Epoch && !r.after.Before(f.At) && !r.after.IsZero() {
				j.spoil(seq, "epoch %d was fenced at %s, and it landed after %s", r.epoch, stamp(f.At), stamp(r.after))
			}
		}
	}
}

// whole reads every block of the LUN.
func (w *Watcher) whole(j *judge) error {
	last := uint64(len(w.records)) - 1
	first := uint64(1)
	if last > w.blocks {
		first = last - w.blocks + 1
	}
	for from := first; from <= last; from += window {
		got, err := w.read(from, int(min(window, last-from+1)))
		if err != nil {
			return err
		}
		for i, r := range got {
			seq := from + uint64(i)
			switch {
			// The ring may have come round while it was read.
			case r.seq > last && (r.seq-seq)%w.blocks == 0:
			case r.seq != seq:
				j.f.Torn++
				j.lose(seq, "its block holds record %d", r.seq)
			case r.epoch != w.records[seq].epoch:
				j.lose(seq, "it was of epoch %d and is of epoch %d", w.records[seq].epoch, r.epoch)
				if r.epoch < w.records[seq].epoch {
					j.spoil(seq, "epoch %d wrote over epoch %d", r.epoch, w.records[seq].epoch)
				}
			}
		}
	}
	return nil
}

// First tells when the first record of an epoch was found, and how many records
// there are before it; zero if there is none.
func (w *Watcher) First(epoch uint64) (at time.Time, seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, r := range w.records[1:] {
		if r.epoch == epoch {
			return r.at, uint64(i) + 1
		}
	}
	return time.Time{}, 0
}

// Last is the newest record's number, its epoch and when it was found.
func (w *Watcher) Last() (seq, epoch uint64, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.records[len(w.records)-1]
	return uint64(len(w.records)) - 1, r.epoch, r.at
}
