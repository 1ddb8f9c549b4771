// Package beat carries heartbeats: sealed UDP datagrams from agents to the
// controller, each answered by a sealed ack that grants the agent's lease, and
// the few questions that host agents ask each other.
//
// [Sender] and [Table] are the two ends as step machines: datagrams and times in,
// datagrams out. [Runner] and [Receiver] own the sockets. The same datagrams may
// travel as bodies of HTTPS requests where UDP is blocked: see [Table.Handle].
//
// All times are nanoseconds of CLOCK_BOOTTIME of whoever stamped them, see [Clock].
package beat
