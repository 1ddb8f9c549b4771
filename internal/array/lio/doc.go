// Package lio drives the Linux kernel's target through configfs, which is what
// targetcli does. Each epoch gets a target of its own, as with tgt.
//
// The tests named Inside run as the init of a virtual machine, on the target of its kernel;
// a strict model of the tree stands in where there is none. The order of the fence is mapped
// units, then the initiator's directory: the writer is refused at once, its session ends,
// and the removal of the directory returns only when no session refers to it any more.
package lio
