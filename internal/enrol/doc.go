// Package enrol is the trust between controllers and host agents: a small
// certificate authority of the controllers' own, join tokens that work once, and
// the record of each enrolled host.
//
// A host proves who it is by its client certificate alone; what a message body
// says about its sender is never believed (invariant S13). A host whose record is
// gone, or that has joined anew since, is refused though its certificate is valid.
// A certificate is renewed with the one before it; that one is refused from the
// first use of the new one.
package enrol
