// Package world models machines, volumes, addresses and their faults, with its
// clock and its randomness handed in. It is the truth that adapters only see
// through their own eyes: the world lets bad things happen (two writers, a
// reused epoch) and Check says that they did.
//
// It starts no goroutine and never sleeps: changes that take time are events in
// a heap, processed by Step, RunUntil and Advance. The same calls on worlds with
// the same seed give the same Trace.
package world
