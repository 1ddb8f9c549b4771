// Package drill breaks something on purpose, in the open and with the engine's consent,
// and measures what comes of it. It believes its own clock, its own writes and the data
// itself; the engine's word is only when a server works again. It knows nothing of how a
// thing is broken: a Breaker does that, which each playground brings along.
package drill
