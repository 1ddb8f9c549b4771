// Package lio drives the Linux kernel's target through configfs, which is what
// targetcli does. Each epoch gets a target of its own, as with tgt.
//
// It is tested against a strict model of the tree, because test machines have no
// target modules. The order of the fence (mapped units, then the initiator's
// directory) was measured on a kernel of a virtual machine: the writer is refused at
// once, its session ends, and the removal of the directory returns only when no
// session refers to it any more.
package lio
