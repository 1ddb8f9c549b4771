package world

import "time"

// record is a DNS record as its name servers answer it.
type record struct {
	value string // an address or a target group
	ttl   time.Duration
}

// SetRecord points a DNS name to an address or a target group. Name servers
// answer so after Delays.DNS; clients that have the old answer use it until its TTL ends.
func (w *World) SetRecord(name, value string, ttl time.Duration) {
	w.note("set record", name, "", value)
	w.afterSpan(w.cfg.Delays.DNS, func() { w.records[name] = record{value: value, ttl: ttl} })
}

// Resolve is what the name servers answer now; false for an unknown name.
func (w *World) Resolve(name string) (value string, ttl time.Duration, known bool) {
	r, known := w.records[name]
	return r.value, r.ttl, known
}
