// Package lease is what a host's agent may do with a controller's lease and
// without one: how long each side of a lease counts it, whose orders are obeyed
// (Obeyed), and whether instances go on when the lease has ended (Isolation).
//
// All of it is values in, values out. Times are nanoseconds of the clock of
// whoever calls, and nothing here waits, sends or remembers: the agent does that,
// and a simulator may do it on virtual time with the same rules.
package lease
