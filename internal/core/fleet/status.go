package fleet

import "time"

// Phase is where a server stands in its life.
type Phase string

// The phases.
const (
	PhaseNew         Phase = ""            // declared; no instance was ever started
	PhaseRunning     Phase = "running"     // verified, watched
	PhaseRecovering  Phase = "recovering"  // a recovery runs
	PhaseNeedsPerson Phase = "needsPerson" // the ladder is exhausted or a proof cannot be had
)

// Status is what Relight has recorded about a server. It is the only thing about
// a server that outlives a controller besides its spec and the journal.
type Status struct {
	Server string `json:"server"`
	Phase  Phase  `json:"phase"`
	// Epoch is the highest epoch ever taken; Host is where it was started.
	Epoch      Epoch     `json:"epoch"`
	Host       string    `json:"host,omitempty"`
	LaunchedAt time.Time `json:"launchedAt"`
	// VerifiedAt is when the current epoch passed its own checks; zero before.
	VerifiedAt time.Time `json:"verifiedAt"`
	// CameFrom is the host on which the server last worked before it came to this one;
	// empty if it never left. It is where a move back goes.
	CameFrom string `json:"cameFrom,omitempty"`
	// SetBack is true if the store was set back to a backup and no epoch was taken since:
	// later ones may have been started, and this one fenced, by what was lost.
	SetBack bool `json:"setBack,omitempty"`
	// Skip is the last of the numbers of epochs that may have been used since the backup to
	// which the store was set back; zero once a later one was taken.
	Skip Epoch `json:"skip,omitempty"`
	// AskedFor is the newest epoch that was taken because a person asked for it: that the
	// ones before it end was part of their wish.
	AskedFor Epoch `json:"askedFor,omitempty"`
	// Away is set while it runs in another zone, with copies of its volumes.
	Away *Away `json:"away,omitempty"`
	// Unused are volumes that were made for a start in another zone that came to
	// nothing. They are left to a person.
	Unused []Copy `json:"unused,omitempty"`
	// UnusedInterfaces are interfaces that were made for such a start.
	UnusedInterfaces []Swap `json:"unusedInterfaces,omitempty"`
	// Formatted are the volumes of which guest agents made the file system, oldest first.
	Formatted []Formatted `json:"formatted,omitempty"`
	// Notes are what steps that start or attach have found besides, oldest first: what lay
	// on a LUN that is used for the first time, a machine that could not be announced.
	Notes []Note `json:"notes,omitempty"`
	// Written lists the directory volumes with which an instance was started, or may have
	// been: from then on a directory without a record is not that volume.
	Written []Written `json:"written,omitempty"`
	// Given lists what steps gave to the current epoch, until it is verified: from
	// then on that it was says VerifiedAt.
	Given []Object `json:"given,omitempty"`
	// Evidence holds the evidence about the current epoch and the one before it.
	Evidence []Evidence `json:"evidence,omitempty"`
	Recovery *Recovery  `json:"recovery,omitempty"`
	// Leftovers are the last stops of replaced epochs that were found running
	// again, one for each epoch and host, so that they back off.
	Leftovers []StepRecord `json:"leftovers,omitempty"`
	// Attempts are those of the ladder's window, oldest first.
	Attempts []Attempt `json:"attempts,omitempty"`
	// Verdict is the last one recorded, with its time; the live one may be newer.
	Verdict      Verdict   `json:"verdict"`
	VerdictSince time.Time `json:"verdictSince"`
	// AilingSince is since when it has not been healthy, whatever was the matter with it
	// from one moment to the next; zero while it is.
	AilingSince time.Time `json:"ailingSince,omitzero"`
	// WellUntil is when its recorded verdict last ceased to be healthy, or, unless it was
	// down, to be known; zero if it never did. What fails since then failed later, however long one of the sources has been
	// silent: an agent may have died long before its host.
	WellUntil time.Time `json:"wellUntil,omitzero"`
	// Cause is the recorded verdict's shared cause, for the storm classifier.
	Cause    string `json:"cause,omitempty"`
	Incident string `json:"incident,omitempty"`
	// Restore is the snapshot that is being put back. Until all volumes are as it has
	// them they may be of two moments, and nothing may start.
	Restore *Restore `json:"restore,omitempty"`
	// Message is the last sentence for people about this server.
	Message string `json:"message,omitempty"`
}

// Written is a directory volume that may hold data of the server.
type Written struct {
	Volume string `json:"volume"`
	// Epoch is the first epoch that may have written there.
	Epoch Epoch `json:"epoch"`
}

// Formatted is a volume of which the guest agent of an epoch made the file system, or
// began to: nothing else that an agent does cannot be undone.
type Formatted struct {
	Volume string `json:"volume"`
	// ID is the provider's name of the volume that the spec names, Serial that of the
	// disk that the agent wrote to.
	ID     string    `json:"id,omitempty"`
	Serial string    `json:"serial"`
	Epoch  Epoch     `json:"epoch"`
	At     time.Time `json:"at"`
}

// Note is what a step has found that hinders nothing and that a person must know.
type Note struct {
	Step   StepKind  `json:"step"`
	Object Object    `json:"object,omitzero"`
	Epoch  Epoch     `json:"epoch"`
	At     time.Time `json:"at"`
	Text   string    `json:"text"`
}

// Restore is the work of putting a snapshot of a server's LUNs back.
type Restore struct {
	Snapshot string    `json:"snapshot"`
	By       string    `json:"by"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
	// Done names the volumes that are as the snapshot has them.
	Done []string `json:"done,omitempty"`
	// Mixed is true once a volume was changed, or may have been: from then on only the
	// end of the restore lets anything start.
	Mixed bool `json:"mixed,omitempty"`
}

// Attempt is one rung that was tried.
type Attempt struct {
	Rung Rung      `json:"rung"`
	At   time.Time `json:"at"`
	// Healed tells whether it ended verified.
	Healed bool `json:"healed"`
}

// Recovery is the work that brings one server back.
type Recovery struct {
	// SetBack is true if it had begun by a backup to which the store was set back: that a
	// person asked for it says nothing of what came after.
	SetBack  bool   `json:"setBack,omitempty"`
	ID       string `json:"id"`
	Incident string `json:"incident"`
	Rung     Rung   `json:"rung"`
	// From is the epoch that failed; To is the one being made, 0 until taken.
	From Epoch `json:"from"`
	To   Epoch `json:"to,omitempty"`
	// FromHost is where the failed epoch ran; Host where the new one goes.
	FromHost string `json:"fromHost,omitempty"`
	Host     string `json:"host,omitempty"`
	// Ran is where the server last ran: a place that refused to start it is none, also
	// if it was given the volumes already. Empty if nobody knows.
	Ran string `json:"ran,omitempty"`
	// ToSite limits the new place to one site, if a person asked for that.
	ToSite string `json:"toSite,omitempty"`
	// Cause is the finding's sentence that opened it.
	Cause   string    `json:"cause"`
	Verdict Verdict   `json:"verdict"`
	Begun   time.Time `json:"begun"`
	// DownSince is when the finding says that it began.
	DownSince time.Time `json:"downSince"`
	// RungBegun is when the present rung was taken up; EffectAt is when its last
	// effect ended, from which VerifyWithin counts.
	RungBegun time.Time `json:"rungBegun"`
	// NotBefore is the end of the back-off before the rung's first step.
	NotBefore time.Time `json:"notBefore"`
	EffectAt  time.Time `json:"effectAt"`
	// Last is the step in hand, or the last one done.
	Last *StepRecord `json:"last,omitempty"`
	// Failed lists the steps of this rung that failed, so that the next decision
	// does not repeat what was refused.
	Failed []StepRecord `json:"failed,omitempty"`
	// Fences tells, of each source of proof that was asked in this recovery, how it
	// went, so that each is asked again after a back-off of its own.
	Fences []FenceTry `json:"fences,omitempty"`
	// ActedAt is when a step first ended or replaced an instance, or may have; zero
	// before. From then on a storm no longer holds: half a recovery is worse than
	// either end.
	ActedAt time.Time `json:"actedAt"`
	// MayLive is true once a call that carries To had its effect, or may have. As
	// long as it is false nothing was ever started or attached for that epoch.
	MayLive bool `json:"mayLive,omitempty"`
	// Refused lists the hosts that refused or lacked capacity in this round over all
	// places. A round ends with a pause, or with a try for which there was room.
	Refused []string `json:"refused,omitempty"`
	// Lack tells that there was no room for the new epoch; nil if there was.
	Lack *Lack `json:"lack,omitempty"`
	// Done lists the tokens of the steps of the present try that reported their
	// effect, so that a slow observation does not make us repeat them.
	Done []string `json:"done,omitempty"`
	// Requested names the person who asked for it; empty if Relight decided.
	Requested string `json:"requested,omitempty"`
	Marks     []Mark `json:"marks,omitempty"`
	// Before is where the server was away before this recovery took To.
	Before *Away `json:"before,omitempty"`
	// Lost states the data that was given up with this recovery: snapshots, their times
	// and ages; empty if none was.
	Lost string `json:"lost,omitempty"`
	// Planned is set while a planned move is under way: where it may go is decided.
	Planned *Planned `json:"planned,omitempty"`
}

// Planned is a move of a working server that a person asked for.
type Planned struct {
	// To is the host that it goes to, Home the one that it leaves.
	To   string `json:"to"`
	Home string `json:"home"`
	// Back is why the try at To was given up, so that it goes back to Home; empty
	// before that.
	Back string `json:"back,omitempty"`
	// CameFrom is the status's own of before the move.
	CameFrom string `json:"cameFrom,omitempty"`
	// Snapshot is true if the arrays are to keep the LUNs as the old epoch left them
	// before the next one starts at To. On the way back none is taken.
	Snapshot bool `json:"snapshot,omitempty"`
}

// Goal is the only host that may be chosen; empty if any may.
func (p *Planned) Goal() string {
	switch {
	case p == nil:
		return ""
	case p.Back != "":
		return p.Home
	default:
		return p.To
	}
}

// Bound is the host that a planned move under way has not placed the server on yet, and
// on which nothing else may take its place; empty if there is none.
func (s Status) Bound() string {
	if s.Recovery == nil || s.Recovery.Planned.Goal() == s.Host {
		return ""
	}
	return s.Recovery.Planned.Goal()
}

// Lack is how a recovery was refused for want of room since the last start that
// succeeded.
type Lack struct {
	Refusals int `json:"refusals"`
	// Rounds is how often all places were asked, or begun to be: the back-off doubles
	// with it. Asked are the places of the round under way, each as its rung and host.
	Rounds int      `json:"rounds"`
	Asked  []string `json:"asked"`
	// Since is when the first refusal came, At when the last one did.
	Since time.Time `json:"since"`
	At    time.Time `json:"at"`
	Error string    `json:"error"`
	// Quota is true if the last refusal was for what the account may have as a whole.
	Quota bool `json:"quota,omitempty"`
}

// FenceTry is how the tries of one source of proof went.
type FenceTry struct {
	// Source names it in words, such as "seal of volume data via host-2"; with the
	// epoch that it was asked about it is unique in a recovery.
	Source string `json:"source"`
	Epoch  Epoch  `json:"epoch"`
	// Array is true where it is a SAN array. Shut is whether one of the calls had its
	// effect, or may have: from then on the epoch is out, or half out.
	Array bool `json:"array,omitempty"`
	Shut  bool `json:"shut,omitempty"`
	// Done counts the calls that reported their effect, Failed those in a row that
	// gave no evidence.
	Done   int `json:"done,omitempty"`
	Failed int `json:"failed,omitempty"`
	// State, Class and Error are the last call's, At is when it ended.
	State StepState `json:"state"`
	Class string    `json:"class,omitempty"`
	Error string    `json:"error,omitempty"`
	At    time.Time `json:"at"`
	// Away is true if the source could not be asked at all then.
	Away bool `json:"away,omitempty"`
}

// Mark is a moment of a recovery's waterfall.
type Mark struct {
	Name  string    `json:"name"`
	Begun time.Time `json:"begun"`
	Ended time.Time `json:"ended"`
}
