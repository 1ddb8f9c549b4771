package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// source is one that can give missing evidence, through one step.
type source struct {
	step fleet.Step
	name string
	last fleet.FenceTry
	// due is when it may be asked; zero if it never was.
	due time.Time
}

// gaveEvidence reports that the source proved the epoch dead when it was last
// asked: what has aged is read back from there before anything else is tried. A
// seal, for one, would meet the lock of the very epoch that is being made.
func (s *source) gaveEvidence() bool { return s.last.Done > 0 && s.last.Failed == 0 }

// lastTry says what the source said when it was last asked.
func (s *source) lastTry() string {
	times := "once"
	if s.last.Failed > 1 {
		times = fmt.Sprintf("%d times", s.last.Failed)
	}
	if s.last.Failed == 0 {
		return s.name + " gave evidence that has aged"
	}
	return fmt.Sprintf("%s failed %s: %s", s.name, times, s.last.Error)
}

// newSource joins a step with what the recovery knows of its source. A call that
// reported its effect and yet left no proof is asked for anew, by a token of its
// own: whoever remembers the old one would only repeat the answer.
func newSource(v View, step fleet.Step, rest string) *source {
	r := v.Status.Recovery
	s := &source{name: sourceName(step)}
	s.last = fenceTry(r, s.name, step.Epoch)
	if n := s.last.Done; n > 0 {
		rest += fmt.Sprintf("/%d", n)
	}
	if rest != "" {
		step.Token = Token(step.Server, step.Epoch, step.Kind, step.Object, step.Host, tryKey(r)+rest)
	}
	s.step = step
	if !s.last.At.IsZero() {
		s.due = s.last.At.Add(fenceBackOff(v.Server.Spec.Ladder, s.last.Failed))
	}
	return s
}

// fenceBackOff is the wait after so many failures in a row of one source.
func fenceBackOff(l fleet.Ladder, failed int) time.Duration {
	return max(fencePause, backOff(l, failed))
}

// sourceName tells the sources of proof of one epoch apart, in words.
func sourceName(step fleet.Step) string {
	switch step.Kind {
	case fleet.StepStop:
		return "stop on " + orUnknown(step.Host)
	case fleet.StepSeal:
		if step.Via == "" {
			return "the array of volume " + step.Object.Volume
		}
		return "seal of volume " + step.Object.Volume + " via " + step.Via
	case fleet.StepPowerOff:
		return "power-off of " + step.Host
	case fleet.StepDetach:
		if step.Force {
			return "forced detach of " + step.Object.String()
		}
		return "detach of " + step.Object.String()
	default:
		return string(step.Kind)
	}
}

// fenceTry returns what is known of a source; its zero value if it was never asked.
func fenceTry(r *fleet.Recovery, name string, epoch fleet.Epoch) fleet.FenceTry {
	for _, t := range r.Fences {
		if t.Source == name && t.Epoch == epoch {
			return t
		}
	}
	return fleet.FenceTry{Source: name, Epoch: epoch}
}

// noteFence records how a fencing step ended, for the back-off of its source.
func noteFence(r *fleet.Recovery, step fleet.Step, res Result, now time.Time) {
	if phaseOf(step.Kind) != phaseFence && step.Kind != fleet.StepDetach {
		return
	}
	t := fenceTry(r, sourceName(step), step.Epoch)
	t.At, t.State, t.Class, t.Error, t.Away = now, res.State, res.Class, res.Error, res.Away
	t.Array, t.Shut = shuts(step), t.Shut || shuts(step) && res.State != fleet.StepFailed
	t.Failed++
	if res.State == fleet.StepDone {
		t.Done++
		t.Error = "it reported its effect, but that was not read back"
		for _, e := range res.Evidence {
			if e.Server == step.Server && e.Epoch == step.Epoch {
				t.Failed, t.Error = 0, ""
			}
		}
	}
	i := slices.IndexFunc(r.Fences, func(o fleet.FenceTry) bool { return o.Source == t.Source && o.Epoch == t.Epoch })
	if i < 0 {
		r.Fences = append(r.Fences, t)
		return
	}
	r.Fences[i] = t
}

// way is one means to get missing evidence: its source, or why there is none.
type way func(v View, epoch fleet.Epoch, host string, missing []fence.Need) (*source, string)

// ways lists the means of fencing, the gentlest first; or, where the spec wants no second
// holder of an address if that can be helped, power before the volumes.
func ways(s fleet.Server) []way {
	if s.Spec.Fence == fleet.FencePowerFirst {
		return []way{stopWay, powerWay, sealWay}
	}
	return []way{stopWay, sealWay, powerWay}
}

// stopWay ends the instance through whoever runs it.
func stopWay(v View, epoch fleet.Epoch, host string, missing []fence.Need) (*source, string) {
	if onlyVolumes(v, missing) {
		return nil, "the instance has ended"
	}
	if contactWith(v, host) != fleet.Yes {
		return nil, fmt.Sprintf("the agent of %s cannot be asked to stop it", orUnknown(host))
	}
	return newSource(v, stopStep(v, epoch, host), ""), ""
}

// onlyVolumes reports that of a proof that demands both, the end of the instance is there
// and only volumes are missing: to end it again would bring nothing.
func onlyVolumes(v View, missing []fence.Need) bool {
	instance := func(n fence.Need) bool { return n.Volume == "" }
	return v.Server.Spec.Fence == fleet.FenceBoth && !slices.ContainsFunc(missing, instance)
}

func stopStep(v View, epoch fleet.Epoch, host string) fleet.Step {
	step := newStep(v, fleet.StepStop, epoch, host, fleet.Object{}, fmt.Sprintf("end epoch %d on %s and wait for its last process", epoch, orUnknown(host)))
	step.Within = stopWithin(v.Server)
	if q, p := v.Server.Spec.Quiesce, v.Status.Recovery.Planned; q != nil && p != nil && p.Back == "" {
		step.Quiesce, step.Within = true, step.Within+q.Within
		step.Why = "quiesce it, then " + step.Why
	}
	return step
}

func stopWithin(s fleet.Server) fleet.Duration {
	within := callWithin
	switch t := s.Spec.Template; {
	case t.Process != nil:
		within += t.Process.StopGrace.Std()
	case t.VM != nil:
		within += t.VM.StopGrace.Std()
	}
	return fleet.Duration(within)
}

// sealWay has the first volume that still takes the epoch refuse it: by its epoch
// file, from any host that reaches it, or by its array.
func sealWay(v View, epoch fleet.Epoch, host string, missing []fence.Need) (*source, string) {
	var vol fleet.Volume
	if len(missing) > 0 {
		vol = volumeOf(v.Server, missing[0].Volume)
	}
	switch {
	case vol.OnArray() && (v.Traits.Seals || v.Traits.Arrays):
		return arrayWay(v, epoch, host, vol), ""
	case !v.Traits.Seals:
		return nil, "provider " + v.Traits.Provider + " has no seals"
	case len(missing) == 0:
		return nil, "nothing is left to seal"
	case missing[0].Volume == "":
		return nil, missing[0].Reason
	}
	return sealFrom(v, epoch, host, vol.Name)
}

func volumeOf(s fleet.Server, name string) fleet.Volume {
	for _, v := range s.Spec.Identity.Volumes {
		if v.Name == name {
			return v
		}
	}
	return fleet.Volume{}
}

// arrayWay has the volume's array shut the epoch out: the provider does that itself,
// through no host.
func arrayWay(v View, epoch fleet.Epoch, host string, vol fleet.Volume) *source {
	s := newSource(v, newStep(v, fleet.StepSeal, epoch, host, fleet.Object{Volume: vol.Name}, shutWhy(vol, epoch)), "")
	if s.last.Away && answersSince(v, vol.Name, s.last.At) {
		// What was in the way has gone: an array that was away for an hour must not keep
		// its servers down for as long again. That one which refuses answers looks as well
		// is no news (L2).
		s.due = s.last.At.Add(fencePause)
	}
	return s
}

// answersSince reports that the volume's array could be asked again after the time.
func answersSince(v View, volume string, since time.Time) bool {
	return slices.ContainsFunc(v.Observed.Volumes, func(o fleet.VolumeState) bool { return o.Volume == volume && o.At.After(since) })
}

func shutWhy(vol fleet.Volume, epoch fleet.Epoch) string {
	return fmt.Sprintf("have %s shut epoch %d out of volume %s", arrayOf(vol), epoch, vol.Name)
}

// sealersAtOnce is how many hosts may be asked for one seal with no wait between.
const sealersAtOnce = 4

// sealFrom asks the host that is due the earliest, one that was never asked first,
// so that one with a broken path to the volume does not keep the others from it. A
// lock that is held is held whoever asks: then only the next way helps.
func sealFrom(v View, epoch fleet.Epoch, host, volume string) (*source, string) {
	var (
		best  *source
		asked int
		last  time.Time
	)
	for _, via := range sealers(v, volume, host) {
		step := newStep(v, fleet.StepSeal, epoch, host, fleet.Object{Volume: volume}, fmt.Sprintf("seal volume %s against epoch %d from %s", volume, epoch, via))
		step.Via = via
		s := newSource(v, step, "/"+via)
		if s.last.Failed > 0 && s.last.Class == classConflict {
			return s, ""
		}
		if !s.last.At.IsZero() {
			asked++
			last = latest(last, s.last.At)
		}
		if best == nil || s.due.Before(best.due) {
			best = s
		}
	}
	if best == nil {
		return nil, "no host in contact reaches volume " + volume
	}
	if best.due.IsZero() && asked >= sealersAtOnce {
		// So many failed that it is hardly their path: the rest are asked one by one.
		best.last = fleet.FenceTry{Failed: asked, Error: fmt.Sprintf("%d other hosts could not", asked)}
		best.due = last.Add(fenceBackOff(v.Server.Spec.Ladder, asked-sealersAtOnce+1))
	}
	return best, ""
}

// sealers lists the hosts that can seal the volume, those last whose own heartbeat on
// the shared storage has stopped, and the failed one: its own agent may be sick too.
func sealers(v View, volume, host string) []string {
	var others, own, lost []string
	for _, h := range v.Hosts {
		switch {
		case h.InContact != fleet.Yes || !slices.Contains(h.Reaches, volume):
		case h.Name == host:
			own = append(own, h.Name)
		case h.StorageBeat == fleet.No:
			lost = append(lost, h.Name)
		default:
			others = append(others, h.Name)
		}
	}
	return append(append(others, lost...), own...)
}

// powerWay switches the host off. Never one that is in contact, and never one on
// which another server may still live that nobody has given up: it would die with
// the host (S5).
func powerWay(v View, epoch fleet.Epoch, host string, missing []fence.Need) (*source, string) {
	h := hostByName(v.Hosts, host)
	switch {
	case onlyVolumes(v, missing):
		return nil, "the instance has ended"
	case h == nil || !h.Power:
		return nil, fmt.Sprintf("no power device is declared for %s", orUnknown(host))
	case h.InContact == fleet.Yes:
		return nil, host + " is in contact and is not switched off"
	}
	if spare := spared(h.Neighbours, v.Server.Name); len(spare) > 0 {
		return nil, fmt.Sprintf("%s is not switched off, since others would die with it: %s; ask for their recovery too, or confirm that epoch %d is dead", host, strings.Join(spare, ", "), epoch)
	}
	step := newStep(v, fleet.StepPowerOff, epoch, host, fleet.Object{}, fmt.Sprintf("switch %s off and read its state back", host))
	// Cut short, a slow management controller never gets to the next level.
	step.Within = max(step.Within, h.PowerWithin)
	return newSource(v, step, ""), ""
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
