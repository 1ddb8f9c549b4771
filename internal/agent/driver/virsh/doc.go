// Package virsh speaks to libvirt through its command line: it lists a host's
// domains, reads what they are, and starts, resets and ends them. It is for hosts
// that run libvirt already; the driver qemu starts QEMU itself.
package virsh
