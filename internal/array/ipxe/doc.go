// Package ipxe writes the scripts with which iPXE boots an epoch from its LUNs: it
// logs in as the epoch, with the epoch's secret, and starts what unit 1 holds. The
// machine that runs the script needs nothing of its own: no disk, no host that is
// the initiator for it. AWS Outposts starts instances from third-party storage in
// this way.
package ipxe
