// Package agent is the host agent: it runs instances for the controllers through a
// driver, tells them what it sees, and keeps its servers running whatever becomes
// of it or of them.
//
// The agent's own end stops nothing: instances live under keepers, and the next
// agent adopts them (invariant S16). It opens no port for controllers; it polls
// them. The one socket that it opens is for its peers' datagrams.
package agent
