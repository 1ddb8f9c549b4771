// Package guest is what runs inside a virtual machine, and the words between it
// and its host: beats that carry the epoch and the progress of I/O, orders from
// the host, and records that a test writer puts on its LUN.
//
// Inside it is the whole of a small static program (cmd/relight-guest), which is
// the guest's init or a service of a larger system. It imports little, because it
// is in every image and boots under an emulator.
package guest
