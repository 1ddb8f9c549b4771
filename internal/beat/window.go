package beat

// window is the set of counters taken from one agent: the highest, and for the 64
// up to it a bit each, so that reordered datagrams pass and repeated ones don't.
// The zero window has taken nothing. Counter 0 is never taken.
type window struct {
	highest uint64
	seen    uint64
}

// fresh reports whether the counter was not taken and is not too old to tell.
func (w *window) fresh(counter uint64) bool {
	if counter == 0 {
		return false
	}
	if counter > w.highest {
		return true
	}
	age := w.highest - counter
	return age < 64 && w.seen>>age&1 == 0
}

// take marks a fresh counter as taken.
func (w *window) take(counter uint64) {
	if counter <= w.highest {
		w.seen |= 1 << (w.highest - counter)
		return
	}
	w.seen = w.seen<<(counter-w.highest) | 1
	w.highest = counter
}
