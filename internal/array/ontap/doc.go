// Package ontap drives NetApp ONTAP through its REST API. Each epoch gets an
// initiator group, a CHAP credential and LUN maps of its own, on the one target of
// the storage virtual machine.
//
// It is written from the public API (9.9 and later), tested against a strict model
// of it, and has not been tried on hardware. Before it is trusted with data: check
// that a killed session stays listed until its last command has landed, that
// session shutdown works through the private CLI path on the release in use (the
// public API can list sessions and not end them), and run the enrolment probe.
//
// The virtual machine's default credential must deny. Otherwise an initiator that
// has lost its own credential falls back to the default and is let in again.
package ontap
