package metric

// The names of all metrics of ours, in the order of the alphabet.
const (
	nameBeats            = "relight_beats_total"
	nameBeatsDropped     = "relight_beats_dropped_total"
	nameBuildInfo        = "relight_build_info"
	nameEvents           = "relight_events_total"
	nameFenceAttempts    = "relight_fence_attempts_total"
	nameHolds            = "relight_holds_total"
	nameIncidents        = "relight_incidents_total"
	nameLeader           = "relight_leader"
	nameProviderRequests = "relight_provider_requests_total"
	nameRecoveries       = "relight_recoveries_total"
	nameRecoveryDuration = "relight_recovery_duration_seconds"
	nameServers          = "relight_servers"
	nameShardsOwned      = "relight_shards_owned"
	nameSpare            = "relight_spare"
	nameSteps            = "relight_steps_total"
	nameStoreRevision    = "relight_store_revision"
	nameTerm             = "relight_term"
)

// The labels.
const (
	labelClass    = "class"
	labelGate     = "gate"
	labelKind     = "kind"
	labelMethod   = "method"
	labelOp       = "op"
	labelPhase    = "phase"
	labelProvider = "provider"
	labelReason   = "reason"
	labelResult   = "result"
	labelRung     = "rung"
	labelSite     = "site"
	labelVerdict  = "verdict"
)

// unknown stands for a label's value that an event does not tell.
const unknown = "unknown"

// The phases of a recovery. They follow each other without a gap; total covers
// them all.
const (
	phaseDetect = "detect" // from the cause to the recovery's claim of the server
	phaseFence  = "fence"  // to the proof that the old epoch is dead; absent where the epoch stays
	phaseStart  = "start"  // to the end of the last step
	phaseVerify = "verify" // until the server's own checks passed
	phaseTotal  = "total"  // from the cause to the last check
)

// The results of a recovery's rung.
const (
	resultHealed    = "healed"
	resultClimbed   = "climbed"    // this rung failed, the next was taken
	resultGaveUp    = "gave_up"    // a person is needed
	resultCalledOff = "called_off" // a planned move ended before it ended anything
)
