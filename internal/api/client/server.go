package client

import (
	"maps"
	"slices"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// ServerRow is one server in a list.
type ServerRow struct {
	Name    string            `json:"name"`
	Labels  map[string]string `json:"labels,omitempty"`
	Verdict fleet.Verdict     `json:"verdict"`
	// Since is when the verdict's cause began.
	Since     time.Time   `json:"since,omitzero"`
	Phase     fleet.Phase `json:"phase"`
	Epoch     fleet.Epoch `json:"epoch"`
	Host      string      `json:"host,omitempty"`
	Mode      fleet.Mode  `json:"mode"`
	Provider  string      `json:"provider,omitempty"`
	Addresses []string    `json:"addresses,omitempty"`
	Volumes   []string    `json:"volumes,omitempty"`
	Incident  string      `json:"incident,omitempty"`
	Message   string      `json:"message,omitempty"`
	Revision  Revision    `json:"revision,omitempty"`
}

// ServerView is everything about one server at one moment.
type ServerView struct {
	// Server is the complete spec, after policy and defaults.
	Server fleet.Server `json:"server"`
	// Raw is the document as it was applied.
	Raw      Document        `json:"raw"`
	Status   fleet.Status    `json:"status"`
	Finding  fleet.Finding   `json:"finding"`
	Observed fleet.Observed  `json:"observed"`
	Decision decide.Decision `json:"decision"`
	Revision Revision        `json:"revision"`
}

// Why says what is known about a server, what is done about it or why nothing is.
type Why struct {
	Server   string          `json:"server"`
	At       time.Time       `json:"at"`
	Finding  fleet.Finding   `json:"finding"`
	Status   fleet.Status    `json:"status"`
	Decision decide.Decision `json:"decision"`
	Guards   fleet.Guards    `json:"guards"`
	// Grade is how far the proof of the epoch before goes that the present recovery, or
	// the next step, stands on; nil if there is none.
	Grade *fleet.Grade `json:"grade,omitempty"`
	// Events are the server's latest, oldest first.
	Events []EventRecord `json:"events,omitempty"`
	// Watching lists replaced epochs that were fenced and that nobody has seen end.
	Watching []decide.Watched `json:"watching,omitempty"`
	// Next lists commands to type next; the API fills it if the engine does not.
	Next []string `json:"next,omitempty"`
}

// PlanQuery asks what would be done.
type PlanQuery struct {
	// Rung is the action to plan; empty takes the ladder from its start.
	Rung fleet.Rung
	// To is the site of a move.
	To string
	// Host asks for a planned move of a working server to that host, Back for one to
	// the host that it came from.
	Host string
	Back bool
	// Snapshot asks for snapshots of its LUNs before it starts over there.
	Snapshot bool
}

// Plan is what would be done about a server if it were done now.
type Plan struct {
	Server string     `json:"server"`
	Rung   fleet.Rung `json:"rung,omitempty"`
	// Host is where a planned move goes; empty if none was asked for.
	Host string `json:"host,omitempty"`
	// From is the epoch that would end; To the one that would be made.
	From  fleet.Epoch `json:"from"`
	To    fleet.Epoch `json:"to,omitempty"`
	Steps []PlanStep  `json:"steps,omitempty"`
	// Reason says what starts it, or why there is nothing to do.
	Reason string `json:"reason"`
	// Hold is what would stop it now; nil if it would run.
	Hold       *decide.Hold       `json:"hold,omitempty"`
	Gates      []decide.Gate      `json:"gates,omitempty"`
	Candidates []decide.Candidate `json:"candidates,omitempty"`
	// Hash is what an approval would be bound to.
	Hash string `json:"hash,omitempty"`
}

// PlanStep is one step of a plan.
type PlanStep struct {
	// Sentence says for people what would be done.
	Sentence string     `json:"sentence"`
	Step     fleet.Step `json:"step"`
}

// HealRequest asks for a recovery of a server that may be healthy.
type HealRequest struct {
	Rung   fleet.Rung `json:"rung,omitempty" enum:"restartApp,reboot,recover,relaunch,move" doc:"the ladder's first if empty"`
	To     string     `json:"to,omitempty" doc:"site of a move"`
	Reason string     `json:"reason,omitempty" maxLength:"1000"`
}

// MoveRequest asks for a planned move of a working server: to a host, or back to the
// one that it came from.
type MoveRequest struct {
	To     string `json:"to,omitempty" maxLength:"253" doc:"the host that it is to run on"`
	Back   bool   `json:"back,omitempty" doc:"to the host that it came from, instead of to"`
	Reason string `json:"reason,omitempty" maxLength:"1000"`
	// Snapshot asks for snapshots of its LUNs, once it is stopped and before it starts.
	Snapshot bool `json:"snapshot,omitempty" doc:"have the arrays keep snapshots of its LUNs before it starts over there"`
}

// HealAnswer says what became of a HealRequest.
type HealAnswer struct {
	Request fleet.Request `json:"request"`
	// Decision is what the request led to: a step, or a hold with its gate.
	Decision decide.Decision `json:"decision"`
	Message  string          `json:"message"`
}

// ReasonRequest carries a person's reason.
type ReasonRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"1000"`
}

// FenceConfirmRequest is a person's statement that an epoch is dead.
type FenceConfirmRequest struct {
	Epoch  fleet.Epoch `json:"epoch" minimum:"1" doc:"the epoch that is dead"`
	Reason string      `json:"reason" minLength:"1" maxLength:"1000" doc:"how the person knows"`
}

// FenceConfirmAnswer is the evidence that the statement became.
type FenceConfirmAnswer struct {
	Evidence fleet.Evidence `json:"evidence"`
	// Complete is false if another person must confirm too.
	Complete bool   `json:"complete"`
	Message  string `json:"message"`
}
