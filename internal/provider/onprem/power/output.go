package power

import "sync"

// head keeps the first max bytes that are written to it and counts the rest. It
// never fails a write: a program that is stopped by its own output has an exit code
// that means nothing.
type head struct {
	mu   sync.Mutex
	max  int
	data []byte
	more bool
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := min(len(p), h.max-len(h.data))
	h.data = append(h.data, p[:n]...)
	h.more = h.more || n < len(p)
	return len(p), nil
}

func (h *head) kept() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.data[:len(h.data):len(h.data)]
}

func (h *head) cut() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.more
}

// tail keeps the last max bytes that are written to it.
type tail struct {
	mu   sync.Mutex
	max  int
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(p) >= t.max {
		t.data = append(t.data[:0], p[len(p)-t.max:]...)
		return len(p), nil
	}
	if over := len(t.data) + len(p) - t.max; over > 0 {
		t.data = t.data[:copy(t.data, t.data[over:])]
	}
	t.data = append(t.data, p...)
	return len(p), nil
}

func (t *tail) kept() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]byte(nil), t.data...)
}
