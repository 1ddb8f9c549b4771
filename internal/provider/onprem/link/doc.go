// Package link is what controllers and host agents say to each other: JSON
// bodies of HTTPS requests, all made by the agent.
//
// Who speaks is never in a body: it is the client certificate's (invariant S13).
// Times never cross as clock readings, because the two clocks need not agree:
// they cross as ages ("ago") at the moment of sending, and the receiver counts
// back from its own clock.
package link

// Version is the version of all messages. A receiver refuses another one.
const Version = 1

// The paths of the endpoints.
const (
	PathJoin   = "/agent/v1/join"
	PathRenew  = "/agent/v1/renew"
	PathWork   = "/agent/v1/work"
	PathReport = "/agent/v1/report"
	PathResult = "/agent/v1/result"
	PathBeat   = "/agent/v1/beat"
)

// Bounds of the messages.
const (
	// MaxBody is the longest body in bytes.
	MaxBody = 4 << 20
	// MaxJoin is the longest join request in bytes: whoever sends it has shown no
	// certificate yet.
	MaxJoin = 16 << 10
	// MaxText is the longest text for people in bytes; longer ones are cut.
	MaxText = 1024
	// MaxList bounds each list of a message.
	MaxList = 10_000
)
