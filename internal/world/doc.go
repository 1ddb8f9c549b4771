// Package world models machines, volumes, SAN arrays, networks, platforms and
// their faults, with its clock and its randomness handed in. It is the truth that
// adapters only see through their own eyes: the world lets bad things happen (two
// writers, a reused epoch, a loss that nobody stated) and Check says that they did.
//
// It starts no goroutine and never sleeps: changes that take time are events in
// a heap, processed by Step, RunUntil and Advance. The same calls on worlds with
// the same seed give the same Trace, the same answers and the same violations.
//
// Two kinds of method change it. What a platform or an array carries out for a
// caller follows that platform's own rules and answers with its errors (Launch,
// StopMachine, AttachVolume, Associate, Login, Preempt …); platforms know no
// epochs, so they stop a second holder and not an old one. What happens by itself
// or behind everybody's back is never refused (KillSite, Sever, HangGuest,
// BreakAPI, Crash …). What a platform tells of itself may be late: See… and
// StatusOf; the fields of the objects are the truth.
//
// docs/design/world.md lists what is modelled, what is not, and where the numbers
// come from.
package world
