package fleet

import "time"

// Answer is three-valued; the zero value is "cannot tell" (invariant S4).
type Answer int8

// The answers of a source.
const (
	CannotTell Answer = iota
	Yes
	No
)

// String returns the answer in words.
func (a Answer) String() string {
	switch a {
	case Yes:
		return "yes"
	case No:
		return "no"
	default:
		return "cannot tell"
	}
}

// Question is what a signal speaks of.
type Question string

const (
	// Alive asks whether the instance (or host) runs.
	Alive Question = "alive"
	// Works asks whether the application passes its own check.
	Works Question = "works"
)

// Channel is the path on which a signal came.
type Channel string

// The channels.
const (
	// ChannelAgent is the host agent's knowledge of its own children.
	ChannelAgent Channel = "agent"
	// ChannelBeat is the datagrams from agents to the controller.
	ChannelBeat Channel = "beat"
	// ChannelApp is the application's own check or heartbeat.
	ChannelApp Channel = "app"
	// ChannelProbe is a probe over the network by a witness.
	ChannelProbe Channel = "probe"
	// ChannelStorage is the heartbeat that a host writes to shared storage.
	ChannelStorage Channel = "storage"
	// ChannelKernel is what a host's kernel says in place of an agent that is gone: that
	// nobody listens where its agent did. It only ever says yes, of the host.
	ChannelKernel Channel = "kernel"
	// ChannelProvider is the provider's own record.
	ChannelProvider Channel = "provider"
)

// Source is a channel seen from a vantage point. Two sources are independent if
// they differ in both.
type Source struct {
	Channel Channel `json:"channel"`
	// Vantage is who looked: a host's name, or "controller".
	Vantage string `json:"vantage"`
}

// Independent reports whether the two sources share neither channel nor vantage.
func (s Source) Independent(o Source) bool {
	return s.Channel != o.Channel && s.Vantage != o.Vantage
}

// String returns "channel@vantage".
func (s Source) String() string { return string(s.Channel) + "@" + s.Vantage }

// Signal is one observation from one source.
type Signal struct {
	Source   Source   `json:"source"`
	Question Question `json:"question"`
	Answer   Answer   `json:"answer"`
	// Epoch is the instance that was looked at; 0 if the source cannot say.
	Epoch Epoch `json:"epoch,omitempty"`
	// At is when the source looked; Since is from when on it has given this
	// answer without a break.
	At    time.Time `json:"at"`
	Since time.Time `json:"since"`
	// Flaps counts how often the answer changed lately; see detect.Fold.
	Flaps int `json:"flaps,omitempty"`
	// CannotLie marks the record of whoever made the fact: the provider's
	// terminated state, the agent that reaped its child.
	CannotLie bool   `json:"cannotLie,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// Verdict is what the signals about a server amount to. The zero value is Unknown.
type Verdict string

// The verdicts.
const (
	Unknown  Verdict = ""
	Healthy  Verdict = "healthy"
	Suspect  Verdict = "suspect"
	Impaired Verdict = "impaired"
	Down     Verdict = "down"
	Isolated Verdict = "isolated"
)

// String returns the verdict in words.
func (v Verdict) String() string {
	if v == Unknown {
		return "unknown"
	}
	return string(v)
}

// Finding is a verdict with what stands behind it.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	// Since is when the verdict's cause began, as far as signals tell.
	Since    time.Time `json:"since"`
	Evidence []Signal  `json:"evidence,omitempty"`
	// Reason is one sentence for people.
	Reason string `json:"reason"`
	// Cause is the shared cause that the storm classifier groups by, such as
	// "host host-2" or "server lic-01".
	Cause string `json:"cause,omitempty"`
	// LookAgainAt is when the verdict may change though no new signal comes;
	// zero if it cannot.
	LookAgainAt time.Time `json:"lookAgainAt"`
	// NeedsPerson is true if no source that there is can settle the question.
	NeedsPerson bool `json:"needsPerson,omitempty"`
}
