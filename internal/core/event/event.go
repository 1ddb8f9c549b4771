// Package event is the closed list of facts that Relight emits. Audit, notifier,
// metrics, API and UI read these and nothing else, so that they can never tell
// different stories.
package event

import (
	"time"

	"relight/internal/core/fleet"
)

// Version is the version of the stored and sent form of an Event.
const Version = 1

// Kind names a fact.
type Kind string

// The facts.
const (
	ServerDeclared  Kind = "server_declared"  // a spec was applied
	ServerDeleted   Kind = "server_deleted"   // a spec was deleted; its data stays
	VerdictChanged  Kind = "verdict_changed"  // what the signals amount to has changed
	IncidentOpened  Kind = "incident_opened"  // the first verdict of a new cause
	IncidentClosed  Kind = "incident_closed"  // all its servers are verified
	RecoveryBegun   Kind = "recovery_begun"   // a recovery claimed the server
	StepIntended    Kind = "step_intended"    // journaled, before the effect
	StepEnded       Kind = "step_ended"       // the effect's outcome
	EpochProved     Kind = "epoch_proved"     // evidence now proves an epoch dead
	RecoveryHealed  Kind = "recovery_healed"  // the server's own checks pass at the new epoch
	RecoveryClimbed Kind = "recovery_climbed" // a rung failed, the next one is taken
	RecoveryGaveUp  Kind = "recovery_gave_up" // a person is needed
	MoveCalledOff   Kind = "move_called_off"  // a planned move ends before it ended anything
	Held            Kind = "held"             // something is to be done, and why it is not
	GuardSet        Kind = "guard_set"        // freeze, pause, maintenance, approval, mode by a person
	GuardCleared    Kind = "guard_cleared"    // the end of a guard
	FenceAttested   Kind = "fence_attested"   // a person states that an epoch is dead
	VolumeFormatted Kind = "volume_formatted" // a guest's agent made the file system of a volume
	PlatformPlans   Kind = "platform_plans"   // the platform will reboot, stop or retire the server's instance
	HostJoined      Kind = "host_joined"      // an agent was enrolled
	HostRenewed     Kind = "host_renewed"     // an agent was given a new certificate, or has begun to use it
	HostSilent      Kind = "host_silent"      // a host's agent fell silent
	HostReturned    Kind = "host_returned"    // a silent host's agent is back
	DrillBegun      Kind = "drill_begun"      // a person breaks something on purpose
	DrillEnded      Kind = "drill_ended"      // what came of it
	SpareLost       Kind = "spare_lost"       // the loss of one more host would leave servers without a place
	SpareRegained   Kind = "spare_regained"   // any one host may be lost again
	ControllerTerm  Kind = "controller_term"  // a controller took a new term
)

// Kinds lists all facts, in the order of their declaration.
func Kinds() []Kind {
	return []Kind{
		ServerDeclared, ServerDeleted, VerdictChanged, IncidentOpened, IncidentClosed,
		RecoveryBegun, StepIntended, StepEnded, EpochProved, RecoveryHealed,
		RecoveryClimbed, RecoveryGaveUp, MoveCalledOff, Held, GuardSet, GuardCleared, FenceAttested,
		VolumeFormatted, PlatformPlans, HostJoined, HostRenewed, HostSilent, HostReturned, DrillBegun, DrillEnded, SpareLost, SpareRegained, ControllerTerm,
	}
}

// Event is one fact. Fields that do not apply are empty.
type Event struct {
	Version  int       `json:"v"`
	Kind     Kind      `json:"kind"`
	At       time.Time `json:"at"`
	Server   string    `json:"server,omitempty"`
	Host     string    `json:"host,omitempty"`
	Incident string    `json:"incident,omitempty"`
	Recovery string    `json:"recovery,omitempty"`
	// By is the person or part that caused it; "relight" for our own decisions.
	By    string      `json:"by"`
	Epoch fleet.Epoch `json:"epoch,omitempty"`
	Term  fleet.Term  `json:"term,omitempty"`
	// Destructive marks the intent of a step that can do harm (S12 looks for it).
	Destructive bool              `json:"destructive,omitempty"`
	Verdict     fleet.Verdict     `json:"verdict,omitempty"`
	Finding     *fleet.Finding    `json:"finding,omitempty"`
	Step        *fleet.StepRecord `json:"step,omitempty"`
	Evidence    []fleet.Evidence  `json:"evidence,omitempty"`
	// Grade says how far the proof goes; set for EpochProved.
	Grade *fleet.Grade `json:"grade,omitempty"`
	// Volume is the one that was formatted, Serial its disk's; set for VolumeFormatted.
	Volume string `json:"volume,omitempty"`
	Serial string `json:"serial,omitempty"`
	// Gate names the guard that holds; set for Held.
	Gate string `json:"gate,omitempty"`
	// Message is one sentence for people.
	Message string `json:"message"`
}
