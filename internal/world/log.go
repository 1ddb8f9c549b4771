package world

import (
	"fmt"
	"time"
)

// keepEvents is how many events the log holds; older ones only live on in Trace.
const keepEvents = 10_000

// Event is one thing that happened, for people, wakes and the trace.
type Event struct {
	At     time.Time
	What   string
	Object string
	// Server is the server that it happened to, if it is known.
	Server string
	Detail string
	// Instance is the id of the instance whose state it tells, or empty.
	Instance string
}

// String is one line for a log.
func (e Event) String() string {
	return fmt.Sprintf("%s %s %s %s", e.At.UTC().Format("15:04:05.000"), e.What, e.Object, e.Detail)
}

func (w *World) note(what, object, server, detail string) {
	w.tell(Event{At: w.Now(), What: what, Object: object, Server: server, Detail: detail})
}

func (w *World) tell(e Event) {
	w.trace = w.trace.number(uint64(e.At.UnixNano())).text(e.What).text(e.Object).text(e.Detail)
	if len(w.log) >= 2*keepEvents {
		w.log = append(w.log[:0], w.log[keepEvents:]...)
	}
	w.log = append(w.log, e)
	if w.watcher != nil {
		w.watcher(e)
	}
}

// Log returns the last events, oldest first.
func (w *World) Log() []Event { return w.log }

// Trace is a hash over all that ever happened: equal for equal runs.
func (w *World) Trace() uint64 { return uint64(w.trace) }

// digest is a running FNV-1a hash. It is written out here because a million
// events a second must not allocate, as hash.Hash does with every string.
type digest uint64

const (
	digestStart digest = 14695981039346656037
	digestPrime digest = 1099511628211
)

// text adds a string and its end, so that "ab","c" differs from "a","bc".
func (d digest) text(s string) digest {
	for n := range len(s) {
		d = (d ^ digest(s[n])) * digestPrime
	}
	return (d ^ 0xff) * digestPrime
}

func (d digest) number(n uint64) digest {
	for range 8 {
		d = (d ^ digest(n&0xff)) * digestPrime
		n >>= 8
	}
	return d
}

// Watch calls fn at each event, under the caller's lock of the world; fn must
// not call back into it. There is one watcher; nil ends it.
func (w *World) Watch(fn func(Event)) { w.watcher = fn }
