// Package keeper is the small process that holds one instance, that is, one
// (server, epoch), on a host: its volume locks, its addresses and its
// application. It outlives the agent that started it, so that a dead agent stops
// no healthy server.
//
// The keeper is the subreaper of everything that the application starts, however
// often it forks or daemonises. When wait4 says that no child is left, no process
// of the epoch is left: the keeper then lets go of the locks, checks that they are
// free, and reports the instance as exited, reaped and with free locks. That
// report is final evidence. It never starts the application again: that would be
// a new epoch.
//
// If the keeper itself is killed, the application runs on and keeps the locks
// that it inherited; package process tells what is then still known.
package keeper
