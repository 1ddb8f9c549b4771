// Package onprem is the provider for our own hosts: machines with a host agent
// that runs instances under keepers. [Hub] is the controller's side. It keeps what
// the agents last reported, hands them commands through their long polls, and
// switches hosts off through their power devices.
//
// Nothing here survives a restart but the records of enrolled hosts: agents report
// everything anew, and remember the outcome of each command by its token, so that
// a command that is sent again leaves one effect (invariant S7).
package onprem
