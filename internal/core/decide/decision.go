// Package decide is the one decider: Next takes a view of a server and says
// which step comes next, or why nothing is done. The heal loop, why, plan and
// the simulator all call it, so that they can never disagree.
package decide

import (
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// View is everything that a decision about one server may look at.
type View struct {
	Server  fleet.Server
	Status  fleet.Status
	Finding fleet.Finding
	// Observed is the provider's last look at the server's resources.
	Observed fleet.Observed
	Hosts    []fleet.Host
	Traits   fleet.Traits
	Guards   fleet.Guards
	Around   fleet.Around
	// After are the servers that this one needs before it is started.
	After []Predecessor
	// Request is a person's wish for a recovery, or nil.
	Request *fleet.Request
}

// Decision is one step, or a hold with its reason, and when to look again though
// nothing changes. A Decision with neither means that all is well.
type Decision struct {
	Step *fleet.Step `json:"step,omitempty"`
	Hold *Hold       `json:"hold,omitempty"`
	// Takes is what the step consumes; the store transaction that journals its
	// intent takes it by compare-and-set.
	Takes Takes `json:"takes"`
	// Proof covers the epoch before the step's, if the step needs one.
	Proof fence.Proof `json:"-"`
	// FromHost is where the epoch ran that the proof speaks of, if the step takes
	// the next one; empty if nobody knows.
	FromHost string `json:"-"`
	// Away is where the next epoch will be, if not where the spec says; it counts only
	// on a step that takes an epoch.
	Away *fleet.Away `json:"away,omitempty"`
	// Written is what the step's intent leaves as the status's list of that name; nil
	// leaves it as it is.
	Written []fleet.Written `json:"-"`
	// Begins is set on the first step of a recovery: what it claims.
	Begins *fleet.Recovery `json:"begins,omitempty"`
	// Gates lists every guard with its value, passed or not, for why.
	Gates []Gate `json:"gates,omitempty"`
	// Candidates lists every host with the reason for which it was refused.
	Candidates []Candidate `json:"candidates,omitempty"`
	// Waits is the domain whose budget alone holds the recovery, for want of units;
	// empty if none does, or anything else holds it too.
	Waits string `json:"waits,omitempty"`
	// Missing lists what a proof still needs.
	Missing []fence.Need `json:"missing,omitempty"`
	// Reason is one sentence for people, always set.
	Reason string `json:"reason"`
	// LookAgainAt is when the decision may change by the clock alone; zero if
	// only news can change it.
	LookAgainAt time.Time `json:"lookAgainAt"`
}

// Hold is work that is due and not done.
type Hold struct {
	// Gate names what holds; see the Gate constants.
	Gate   string `json:"gate"`
	Reason string `json:"reason"`
	// NeedsPerson is true if it does not clear by itself.
	NeedsPerson bool `json:"needsPerson"`
	// Plan is the hash of what an approval would be bound to.
	Plan string `json:"plan,omitempty"`
	// Of names what the gate waits for, where it may come to wait for something else:
	// a window, a budget, the next approval. It is for comparing, not for people.
	Of string `json:"-"`
}

// The gates, in the order in which they are asked.
const (
	GateAuthority   = "authority"   // our own lease and the store
	GateVerdict     = "verdict"     // is anything known to be wrong
	GateFreeze      = "freeze"      // the fleet-wide stop
	GateRestore     = "restore"     // a snapshot that is not on all volumes yet
	GatePause       = "pause"       // one server's stop
	GateMaintenance = "maintenance" // an open window
	GateMode        = "mode"        // observe, ask, auto
	GateApproval    = "approval"    // people's consent in mode ask
	GateStorm       = "storm"       // more than one host's failure
	GateOrder       = "order"       // servers that go first
	GateBudget      = "budget"      // blast radius of each domain
	GateLadder      = "ladder"      // rungs left, and their back-off
	GateProof       = "proof"       // the old epoch must be dead
	GatePlacement   = "placement"   // a place for the new epoch
	GateProgress    = "progress"    // an effect that is under way
)

// Gate is one guard with what it says now.
type Gate struct {
	Name string `json:"name"`
	Pass bool   `json:"pass"`
	// Value is what was found, in a few words.
	Value string `json:"value"`
	SetBy string `json:"setBy,omitempty"`
	// ClearsAt is when it clears by itself; zero if it does not.
	ClearsAt time.Time `json:"clearsAt"`
}

// Candidate is a host that was considered for the new epoch.
type Candidate struct {
	Host string `json:"host"`
	Site string `json:"site,omitempty"`
	// Refused is why not; empty if it would do.
	Refused string `json:"refused,omitempty"`
	Chosen  bool   `json:"chosen,omitempty"`
}

// Takes is what one step consumes.
type Takes struct {
	// Budgets lists the domains whose recovery budget gives one unit.
	Budgets []string `json:"budgets,omitempty"`
	// Lives lists the domains that must keep servers alive, and from which a working
	// one is taken away. The transaction counts them again.
	Lives []string `json:"lives,omitempty"`
	// Host and Units are the place that is taken.
	Host  string `json:"host,omitempty"`
	Units int    `json:"units,omitempty"`
}
