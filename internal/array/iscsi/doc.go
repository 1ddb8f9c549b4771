// Package iscsi is a small iSCSI initiator (RFC 7143): one connection, one
// command at a time, CHAP, no digests, no error recovery. It serves the refused
// login that ends a storage fence, the enrolment probes, and tests. It is not
// meant to carry a server's data.
package iscsi
