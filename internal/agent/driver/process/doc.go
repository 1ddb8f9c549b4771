// Package process runs instances as Linux processes of this host. Each has a
// keeper process (package keeper) that holds its volume locks and waits for all of
// its descendants; the driver starts keepers, talks to them, finds them again when
// the agent was restarted, and says what can be known when a keeper is gone.
//
// See docs/design/process-driver.md.
package process
