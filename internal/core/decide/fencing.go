package decide

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// workFence proves the old epoch dead and then takes the next one.
func workFence(v View, now time.Time) Decision {
	r := v.Status.Recovery
	epoch, host := lastEpoch(v)
	proof, missing := fence.Prove(v.Server, epoch, host, evidenceFor(v, epoch), now)
	if len(missing) > 0 {
		return nextFence(v, now, epoch, host, missing)
	}
	next := v
	taken := *r
	next.Status.Recovery = &taken
	var candidates []Candidate
	if v.Traits.Places {
		taken.Host, candidates = place(v)
		if d, onward := noPlace(v, now, taken.Host, candidates); onward {
			d.Candidates = candidates
			return d
		}
		if taken.Host == "" {
			d := held(GatePlacement, "no host can take it", false)
			d.Reason = "no host can take it: " + refusals(candidates)
			d.Hold.Reason = d.Reason
			d.Candidates = candidates
			d.LookAgainAt = now.Add(progressPause)
			return d
		}
	}
	taken.From, taken.FromHost, taken.To = epoch, host, epoch+1
	steps := buildSteps(next)
	first := steps[0]
	return Decision{
		Step: &first, Proof: proof, FromHost: host, Reason: first.Why, Candidates: candidates,
		Takes: Takes{Host: taken.Host, Units: max(v.Server.Spec.Placement.Units, 1)},
		Gates: []Gate{{Name: GateProof, Pass: true, Value: proof.String()}},
	}
}

// lastEpoch is the highest epoch that the store or any resource has seen, and
// where it ran. A store restored from an old backup knows less than the volumes
// themselves (S3).
func lastEpoch(v View) (fleet.Epoch, string) {
	epoch, host := v.Status.Epoch, v.Status.Host
	for _, i := range v.Observed.Instances {
		if i.Epoch > epoch {
			epoch, host = i.Epoch, i.Host
		}
	}
	for _, vol := range v.Observed.Volumes {
		// The volume tells which epoch it has seen, not where that one ran.
		if seen := max(vol.Epoch, vol.Holder, vol.Sealed); seen > epoch {
			epoch, host = seen, ""
		}
	}
	return epoch, host
}

// evidenceFor joins the stored evidence about an epoch with what the last look shows.
func evidenceFor(v View, epoch fleet.Epoch) []fleet.Evidence {
	out := slices.Clone(v.Status.Evidence)
	for _, i := range v.Observed.Instances {
		if i.Epoch != epoch {
			continue
		}
		e := fleet.Evidence{Server: v.Server.Name, Epoch: epoch, By: byHost(i.Host, v.Traits), At: i.At, Detail: i.Detail}
		switch i.State {
		case fleet.InstanceReaped:
			e.Method = fleet.Reaped
		case fleet.InstanceTerminated:
			e.Method = fleet.Terminated
		case fleet.InstanceStopped:
			e.Method = fleet.Stopped
		default:
			continue
		}
		out = append(out, e)
	}
	for _, vol := range v.Observed.Volumes {
		if vol.Sealed >= epoch && epoch > 0 {
			out = append(out, fleet.Evidence{Method: fleet.Sealed, Server: v.Server.Name, Epoch: epoch, Volume: vol.Volume, By: byHost(vol.Host, v.Traits), At: vol.At})
		}
	}
	return out
}

func byHost(host string, t fleet.Traits) string {
	if host == "" {
		return t.Provider
	}
	return "the agent of " + host
}

// nextFence chooses the gentlest way that can still give the missing proof: end
// the instance through its own host, seal its volumes from another, switch its
// host off. Where none is left it holds and says what a person can do.
func nextFence(v View, now time.Time, epoch fleet.Epoch, host string, missing []fence.Need) Decision {
	if at, waiting := stopping(v, now, epoch, host); waiting {
		d := pending(fmt.Sprintf("epoch %d was told to stop; it waits until that is seen", epoch), at)
		d.Missing = missing
		return d
	}
	var tried []string
	for _, way := range ways() {
		step, why := way(v, epoch, host, missing)
		if step == nil {
			tried = append(tried, why)
			continue
		}
		failed, _ := failures(v.Status.Recovery, step.Token)
		if failed == nil {
			return Decision{Step: step, Reason: step.Why, Missing: missing}
		}
		tried = append(tried, fmt.Sprintf("%s failed: %s", step.Kind, failed.Error))
	}
	return fenceAgain(v, now, epoch, host, missing, tried)
}

// way is one means to get missing evidence: the step, or why it cannot be taken.
type way func(v View, epoch fleet.Epoch, host string, missing []fence.Need) (*fleet.Step, string)

// ways lists the means of fencing, the gentlest first.
func ways() []way { return []way{stopWay, sealWay, powerWay} }

// stopping reports that a stop was accepted a moment ago: a cloud takes its time
// until the instance is seen as stopped, and nothing harsher helps meanwhile.
func stopping(v View, now time.Time, epoch fleet.Epoch, host string) (time.Time, bool) {
	r := v.Status.Recovery
	step := stopStep(v, epoch, host)
	if !done(r, step.Token) {
		return time.Time{}, false
	}
	due := r.EffectAt.Add(step.Within.Std())
	if !now.Before(due) {
		return time.Time{}, false
	}
	next := now.Add(progressPause)
	if due.Before(next) {
		next = due
	}
	return next, true
}

// fenceAgain holds until the pause is over and then tries the ways once more,
// from the gentlest: a cut may have healed, a lock may be free.
func fenceAgain(v View, now time.Time, epoch fleet.Epoch, host string, missing []fence.Need, tried []string) Decision {
	r := v.Status.Recovery
	due := now.Add(fencePause)
	if n := len(r.Failed); n > 0 {
		due = r.Failed[n-1].Ended.Add(fencePause)
		if !now.Before(due) {
			if step := oldestFailed(v, epoch, host, missing); step != nil {
				return Decision{Step: step, Reason: step.Why, Missing: missing}
			}
			due = now.Add(fencePause)
		}
	}
	reason := fmt.Sprintf("epoch %d cannot be proved dead yet: %s", epoch, join(tried))
	d := held(GateProof, reason, len(r.Failed) > 0 || len(tried) == 3)
	d.Missing = missing
	d.LookAgainAt = due
	return d
}

// oldestFailed returns the possible step whose last failure is the longest ago.
func oldestFailed(v View, epoch fleet.Epoch, host string, missing []fence.Need) *fleet.Step {
	var (
		best   *fleet.Step
		bestAt time.Time
	)
	for _, way := range ways() {
		step, _ := way(v, epoch, host, missing)
		if step == nil {
			continue
		}
		if _, at := failures(v.Status.Recovery, step.Token); best == nil || at.Before(bestAt) {
			best, bestAt = step, at
		}
	}
	return best
}

// failures returns the last failure of a step in this try, or nil.
func failures(r *fleet.Recovery, token string) (*fleet.StepRecord, time.Time) {
	for i := len(r.Failed) - 1; i >= 0; i-- {
		if r.Failed[i].Step.Token == token {
			return &r.Failed[i], r.Failed[i].Ended
		}
	}
	return nil, time.Time{}
}

// stopWay ends the instance through whoever runs it.
func stopWay(v View, epoch fleet.Epoch, host string, _ []fence.Need) (*fleet.Step, string) {
	if contactWith(v, host) != fleet.Yes {
		return nil, fmt.Sprintf("the agent of %s cannot be asked to stop it", orUnknown(host))
	}
	step := stopStep(v, epoch, host)
	if done(v.Status.Recovery, step.Token) {
		return nil, "it was told to stop and has not been seen to"
	}
	return &step, ""
}

func stopStep(v View, epoch fleet.Epoch, host string) fleet.Step {
	step := newStep(v, fleet.StepStop, epoch, host, fleet.Object{}, fmt.Sprintf("end epoch %d on %s and wait for its last process", epoch, orUnknown(host)))
	step.Within = stopWithin(v.Server)
	return step
}

func stopWithin(s fleet.Server) fleet.Duration {
	within := callWithin
	if s.Spec.Template.Process != nil {
		within += s.Spec.Template.Process.StopGrace.Std()
	}
	return fleet.Duration(within)
}

// sealWay raises the epoch file of the first unsealed volume, from any host that
// reaches it.
func sealWay(v View, epoch fleet.Epoch, host string, missing []fence.Need) (*fleet.Step, string) {
	if !v.Traits.Seals {
		return nil, "provider " + v.Traits.Provider + " has no seals"
	}
	for _, need := range missing {
		if need.Volume == "" {
			return nil, need.Reason
		}
		return sealFrom(v, epoch, host, need.Volume)
	}
	return nil, "nothing is left to seal"
}

// sealFrom asks the host that failed to seal the longest ago, so that one with a
// broken path to the volume does not keep the others from it. A lock that is held
// is held whoever asks: then only the next way helps.
func sealFrom(v View, epoch fleet.Epoch, host, volume string) (*fleet.Step, string) {
	var (
		best   *fleet.Step
		bestAt time.Time
	)
	r := v.Status.Recovery
	why := "no host in contact reaches volume " + volume
	for _, via := range sealers(v, volume, host) {
		step := newStep(v, fleet.StepSeal, epoch, host, fleet.Object{Volume: volume}, fmt.Sprintf("seal volume %s against epoch %d from %s", volume, epoch, via))
		step.Via = via
		step.Token = Token(step.Server, epoch, step.Kind, step.Object, host, tryKey(r)+"/"+via)
		if done(r, step.Token) {
			why = "volume " + volume + " was sealed, but it was not read back"
			continue
		}
		failed, at := failures(r, step.Token)
		if failed != nil && failed.Class == classConflict {
			return &step, ""
		}
		if best == nil || at.Before(bestAt) {
			best, bestAt = &step, at
		}
	}
	return best, why
}

// sealers lists the hosts that can seal the volume, the failed one last: its own
// agent may be sick too.
func sealers(v View, volume, host string) []string {
	var others, own []string
	for _, h := range v.Hosts {
		switch {
		case h.InContact != fleet.Yes || !slices.Contains(h.Reaches, volume):
		case h.Name == host:
			own = append(own, h.Name)
		default:
			others = append(others, h.Name)
		}
	}
	return append(others, own...)
}

// powerWay switches the host off. Never one that is in contact, and never one on
// which other servers are known to work: they would die with it (S5).
func powerWay(v View, epoch fleet.Epoch, host string, _ []fence.Need) (*fleet.Step, string) {
	h := hostByName(v.Hosts, host)
	switch {
	case h == nil || !h.Power:
		return nil, fmt.Sprintf("no power device is declared for %s", orUnknown(host))
	case h.InContact == fleet.Yes:
		return nil, host + " is in contact and is not switched off"
	}
	for _, d := range v.Around.Domains {
		if d.Name == host && d.Healthy > 0 {
			return nil, fmt.Sprintf("%d other servers still work on %s", d.Healthy, host)
		}
	}
	step := newStep(v, fleet.StepPowerOff, epoch, host, fleet.Object{}, fmt.Sprintf("switch %s off and read its state back", host))
	// Evidence that has aged must be read back again; that is a call of its own, or
	// a slow start would leave the proof beyond reach for ever.
	if read := lastPowerOff(v, epoch, host); !read.IsZero() {
		step.Token = Token(step.Server, epoch, step.Kind, step.Object, host, tryKey(v.Status.Recovery)+"/"+read.UTC().Format(time.RFC3339Nano))
	}
	if done(v.Status.Recovery, step.Token) {
		return nil, host + " was switched off, but its state was not read back"
	}
	return &step, ""
}

// lastPowerOff is when the host was last read back as off, zero if it never was.
func lastPowerOff(v View, epoch fleet.Epoch, host string) time.Time {
	var last time.Time
	for _, e := range v.Status.Evidence {
		if e.Method == fleet.PoweredOff && e.Epoch == epoch && e.Host == host && e.At.After(last) {
			last = e.At
		}
	}
	return last
}

func orUnknown(host string) string {
	if host == "" {
		return "an unknown host"
	}
	return host
}

func refusals(list []Candidate) string {
	if len(list) == 0 {
		return "no host is known"
	}
	var parts []string
	for _, c := range list {
		parts = append(parts, c.Host+": "+c.Refused)
	}
	return join(parts)
}
