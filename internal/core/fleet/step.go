package fleet

import "time"

// StepKind is one kind of work in a recovery.
type StepKind string

// The kinds of steps. Those marked "record" touch only the store.
const (
	StepRestartApp StepKind = "restartApp" // restart the application in place; epoch stays
	StepReboot     StepKind = "reboot"     // reset the instance in place; epoch stays
	StepStop       StepKind = "stop"       // end the old instance through its provider or agent
	StepSeal       StepKind = "seal"       // raise a volume's epoch file under its lock
	StepPowerOff   StepKind = "powerOff"   // switch the old instance's host off
	StepDetach     StepKind = "detach"     // take a volume or address from the old instance
	StepRecover    StepKind = "recover"    // start the same instance on other hardware, new epoch
	StepLaunch     StepKind = "launch"     // start a new instance
	StepAttach     StepKind = "attach"     // give a volume or address to the new instance
	StepSnapshot   StepKind = "snapshot"   // have an array keep a volume's data as the old epoch left it
	StepRestore    StepKind = "restore"    // have an array put a snapshot of a volume back; a person asks for it
	StepDrop       StepKind = "drop"       // have an array delete a snapshot of a volume; a person asks for it
	StepClimb      StepKind = "climb"      // record: this rung failed, take the next
	StepClose      StepKind = "close"      // record: verified healthy, the recovery ends
	StepGiveUp     StepKind = "giveUp"     // record: a person is needed
	StepAdopt      StepKind = "adopt"      // record: the resources know a later epoch than the store
	StepCallOff    StepKind = "callOff"    // record: a planned move ends before anything was ended
)

// Destructive reports whether the step can harm a working server, or give life
// to a second copy: these obey guards, budgets and the lease.
func (k StepKind) Destructive() bool { return !k.Record() }

// Record reports whether the step touches only the store.
func (k StepKind) Record() bool {
	return k == StepClimb || k == StepClose || k == StepGiveUp || k == StepAdopt || k == StepCallOff
}

// NeedsProof reports whether the step starts or attaches, so that a proof for
// the epoch before must exist (invariant S2).
func (k StepKind) NeedsProof() bool {
	return k == StepLaunch || k == StepAttach || k == StepRecover
}

// Object is what a step acts on besides the instance.
type Object struct {
	Volume    string `json:"volume,omitempty"`
	Address   string `json:"address,omitempty"`
	Interface string `json:"interface,omitempty"`
	Group     string `json:"group,omitempty"`
	Name      string `json:"name,omitempty"`
	// Snapshot is that of the volume which is put back or deleted.
	Snapshot string `json:"snapshot,omitempty"`
}

// String names the object, or is empty.
func (o Object) String() string {
	switch {
	case o.Snapshot != "":
		return "snapshot " + o.Snapshot + " of volume " + o.Volume
	case o.Volume != "":
		return "volume " + o.Volume
	case o.Address != "":
		return "address " + o.Address
	case o.Interface != "":
		return "interface " + o.Interface
	case o.Group != "":
		return "target group " + o.Group
	case o.Name != "":
		return "name " + o.Name
	default:
		return ""
	}
}

// Step is one piece of work, as data: it is journaled before it is done.
type Step struct {
	Kind   StepKind `json:"kind"`
	Server string   `json:"server"`
	// Epoch is the instance that the step acts on: the old one for stop, seal,
	// powerOff, detach, snapshot and restore, the new one for launch, attach and recover.
	Epoch  Epoch  `json:"epoch"`
	Host   string `json:"host,omitempty"`
	Object Object `json:"object"`
	// Via is the host whose agent carries the step out if it is not Host itself.
	Via  string `json:"via,omitempty"`
	Rung Rung   `json:"rung,omitempty"`
	// Force is set for a detach that does not wait for the instance: what it had not
	// flushed is lost. It takes a proof of the instance's epoch.
	Force bool `json:"force,omitempty"`
	// Quiesce is set for the stop of a planned move: the server's own program for it is
	// run before.
	Quiesce bool `json:"quiesce,omitempty"`
	// Create is set for an attach that may make the LUNs of its volume's array which are
	// not there: nothing of the server was ever started, so there is no data that an
	// empty one would stand in for.
	Create bool `json:"create,omitempty"`
	// Fresh is set for an attach of a directory that may lack the record which each epoch
	// leaves there: no instance that had this volume was ever started. Else what is found
	// empty is not the volume, such as a mount point whose disk is not mounted.
	Fresh bool `json:"fresh,omitempty"`
	// Token makes a replay leave one effect (invariant S7).
	Token string `json:"token,omitempty"`
	// Within is how long the call may take before its outcome counts as unknown.
	Within Duration `json:"within"`
	// Pause is how long a climb waits before the rung's first step.
	Pause Duration `json:"pause,omitempty"`
	// Why is one sentence for people.
	Why string `json:"why"`
}

// StepState is how far a journaled step has come.
type StepState string

// The states of a step.
const (
	// StepIntended: journaled; the effect may or may not have happened.
	StepIntended StepState = "intended"
	// StepDone: the call reported its effect.
	StepDone StepState = "done"
	// StepFailed: the call reported that it had no effect, and why.
	StepFailed StepState = "failed"
	// StepUnknown: no answer; only an observation can tell.
	StepUnknown StepState = "unknown"
)

// StepRecord is a step in the journal of a recovery.
type StepRecord struct {
	Step  Step      `json:"step"`
	State StepState `json:"state"`
	// Begun and Ended are the controller's clock.
	Begun time.Time `json:"begun"`
	Ended time.Time `json:"ended"`
	// Since is when the first call with this same token began.
	Since time.Time `json:"since,omitzero"`
	// Tries counts the calls made with this same token.
	Tries int    `json:"tries"`
	Class string `json:"class,omitempty"`
	Error string `json:"error,omitempty"`
}
