// Package dev starts a small fleet of its own on one machine, for relight dev and
// relight demo: a controller, three host agents and six servers, all as real
// processes of this program.
//
// A host is a session of processes whose environment carries a mark: the agent,
// the keepers and the applications below it. To kill a host is to kill all of
// them. Nothing outside of the fleet's directory is written, and everything that
// was started is found again by its mark, also when its parents are long gone.
package dev
