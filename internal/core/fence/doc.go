// Package fence turns evidence into Proofs and says which proofs a server
// demands. It is the only package that can make a Proof; the provider port's
// start and attach calls take one (invariant S2).
package fence
