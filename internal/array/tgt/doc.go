// Package tgt drives the user-space target tgtd with its own tool, tgtadm.
//
// Each epoch gets a target of its own. A map on one shared target is not enough:
// tgtd checks it when a login begins and makes the session when the login ends, so
// that one which stopped half-way writes on minutes after its initiator and its
// account were removed. With the epoch's target gone there is nothing that such a
// login could end in, and tgtd itself refuses to remove one with sessions.
//
// tgtd forgets everything when it stops: Map makes all of it again.
package tgt
