package decide

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Foresight is what a recovery would do if each of its steps did what it should.
type Foresight struct {
	Steps      []fleet.Step
	Candidates []Candidate
	// Epoch is the one that would be made, 0 if the present one would stay.
	Epoch fleet.Epoch
}

// Foresee runs the decider forward over a copy of the view, guards aside, at
// most limit steps. It is what plan and the approval page show.
func Foresee(v View, now time.Time, limit int) Foresight {
	var out Foresight
	v.Guards = fleet.Guards{
		Modes:     []fleet.ModeSetting{{Scope: "plan", Mode: fleet.Auto}},
		Authority: fleet.Authority{Until: now.Add(24 * time.Hour)},
	}
	v.Around, v.After = fleet.Around{}, nil
	v.Status.Attempts = nil
	for range limit {
		d := Next(v, now)
		if len(out.Candidates) == 0 {
			out.Candidates = d.Candidates
		}
		if d.Step == nil || d.Step.Kind.Record() {
			return out
		}
		out.Steps = append(out.Steps, *d.Step)
		if d.Step.Kind.NeedsProof() {
			out.Epoch = d.Step.Epoch
		}
		v.Status = Intend(v.Status, d, now)
		v.Status = Record(v.Status, *d.Step, Result{State: fleet.StepDone, Evidence: expected(v.Server, *d.Step, now)}, now)
		v.Finding.Verdict = fleet.Down
		if k := d.Step.Kind; k == fleet.StepLaunch || k == fleet.StepRecover {
			runs := fleet.Instance{Server: v.Server.Name, Epoch: d.Step.Epoch, Host: d.Step.Host, State: fleet.InstanceRunning, Since: now, At: now}
			v.Observed.Instances = append(slices.Clone(v.Observed.Instances), runs)
		}
	}
	return out
}

// expected is the evidence that a fencing step gives when it works.
func expected(server fleet.Server, s fleet.Step, now time.Time) []fleet.Evidence {
	e := fleet.Evidence{Server: s.Server, Epoch: s.Epoch, At: now, By: "plan"}
	switch s.Kind {
	case fleet.StepStop:
		e.Method = fleet.Reaped
	case fleet.StepSeal:
		e.Method, e.Volume = fleet.Sealed, s.Object.Volume
		if vol := volumeOf(server, s.Object.Volume); vol.OnArray() {
			return shutOut(server, vol, e)
		}
	case fleet.StepPowerOff:
		e.Method, e.Host = fleet.PoweredOff, s.Host
	default:
		return nil
	}
	return []fleet.Evidence{e}
}

// shutOut is the evidence of an array, about all that the epoch has there.
func shutOut(server fleet.Server, vol fleet.Volume, e fleet.Evidence) []fleet.Evidence {
	var out []fleet.Evidence
	e.Method = fleet.InitiatorRemoved
	for _, other := range server.Spec.Identity.Volumes {
		if other.Name == vol.Name || vol.LUN != nil && other.LUN != nil && other.LUN.Array == vol.LUN.Array {
			e.Volume = other.Name
			out = append(out, e)
		}
	}
	return out
}
