// Package rack is what the fleets that this program runs on one machine share: their
// processes, found and ended; the warden that ends them if nobody else does; the
// protocol of their hosts' power device; and how they talk to their controller.
//
// It acts from outside, on what the kernel and the controller's API show.
package rack
