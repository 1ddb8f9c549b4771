// Package lab builds a small data centre on one machine and breaks it: a SAN, a
// controller, three hypervisor hosts and a client, each in a network namespace of
// its own, joined by a storage network and a management network that can be cut
// one by one.
//
// Everything is real but the walls: the iSCSI target, the hosts' agents, the
// virtual machines and the power devices are what they are elsewhere. All that a
// lab has made is found again by its name, also by another process after a crash.
//
// The check of what the servers wrote (package check) reads the files behind the
// LUNs and the client's record, and believes nothing that Relight says.
package lab
