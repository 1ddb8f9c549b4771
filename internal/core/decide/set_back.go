package decide

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// known holds a server's first start by a store that was set back to a backup, until
// something of it is seen: it may run where nobody who looks now can see it, and its epoch
// would be taken twice (S3).
func (g *gatekeeper) known() {
	if st := g.v.Status; !st.SetBack || !firstStart(g.v) || g.v.Request != nil {
		return
	}
	g.stop(Gate{Name: GateProof, Value: "the store was set back to a backup of before its first start"}, Hold{
		NeedsPerson: true,
		Reason: fmt.Sprintf("the store was set back to a backup of before its first start, and it may have been started since where nobody sees it; "+
			"if it was not: relight heal %s --rung relaunch", g.v.Server.Name),
	})
}

// unsureOfLast holds a recovery by a store that was set back to a backup while neither a
// whole look nor the volumes themselves tell which epoch was the last: a later one may run
// where no look reaches, and its number would be taken once more (S3).
func unsureOfLast(v View, now time.Time) (Decision, bool) {
	r := v.Status.Recovery
	asked := r.Requested != "" && !r.SetBack
	if !v.Status.SetBack || v.Observed.Complete || asked || volumesTell(v, now) {
		return Decision{}, false
	}
	return held(GateProof, fmt.Sprintf("the store was set back to a backup, and the last look at the server's hosts, volumes and instances was not a whole one, so that an epoch after %d may run unseen; if none does: relight heal %s --rung relaunch", v.Status.Epoch, v.Server.Name), true), true
}

// volumesTell reports that all volumes were seen lately and remember the epochs that had
// them. An array does not: what it shut out it lists no more. Where an epoch is started
// before it is given anything, the volumes know nothing of one that got no further.
func volumesTell(v View, now time.Time) bool {
	if !v.Traits.AttachFirst {
		return false
	}
	volumes := v.Server.Spec.Identity.Volumes
	silent := func(vol fleet.Volume) bool {
		seen := volumeSeen(v, vol.Name)
		return vol.OnArray() || seen == nil || seen.Fresh || now.Sub(seen.At) > staleAfter(v)
	}
	return len(volumes) > 0 && !slices.ContainsFunc(volumes, silent)
}

// knownLast takes the present epoch over once more when a whole look shows that no later one
// was started, and this one not shut out, by what a store that was set back has lost.
func knownLast(v View, now time.Time) (Decision, bool) {
	st := v.Status
	if !st.SetBack || v.Finding.Verdict != fleet.Healthy || st.Recovery != nil || st.Phase != fleet.PhaseRunning || !v.Observed.Complete {
		return Decision{}, false
	}
	if last, _ := lastEpoch(v); last != st.Epoch || !runsNow(v, now) || overtaken(v, st.Epoch) || forgottenBy(v, now) != "" {
		return Decision{}, false
	}
	return record(v, fleet.StepAdopt, fmt.Sprintf("epoch %d runs on %s, and a whole look shows no later one that the store lost when it was set back", st.Epoch, orUnknown(st.Host))), true
}
