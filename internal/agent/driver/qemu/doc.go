// Package qemu knows QEMU: how its command line is written for an instance, how
// to talk to a running one over its machine protocol (QMP), whether this host's
// KVM is of any use, and the tap interface that joins a machine to a bridge.
//
// It starts no instance: a machine is the application of a keeper, like any other
// process, and package agent puts the two together.
package qemu
