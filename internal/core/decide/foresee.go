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
	v.Around = fleet.Around{}
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
		v.Status = Record(v.Status, *d.Step, Result{State: fleet.StepDone, Evidence: expected(*d.Step, now)}, now)
		v.Finding.Verdict = fleet.Down
		if k := d.Step.Kind; k == fleet.StepLaunch || k == fleet.StepRecover {
			runs := fleet.Instance{Server: v.Server.Name, Epoch: d.Step.Epoch, Host: d.Step.Host, State: fleet.InstanceRunning, Since: now, At: now}
			v.Observed.Instances = append(slices.Clone(v.Observed.Instances), runs)
		}
	}
	return out
}

// expected is the evidence that a fencing step gives when it works.
func expected(s fleet.Step, now time.Time) []fleet.Evidence {
	e := fleet.Evidence{Server: s.Server, Epoch: s.Epoch, At: now, By: "plan"}
	switch s.Kind {
	case fleet.StepStop:
		e.Method = fleet.Reaped
	case fleet.StepSeal:
		e.Method, e.Volume = fleet.Sealed, s.Object.Volume
	case fleet.StepPowerOff:
		e.Method, e.Host = fleet.PoweredOff, s.Host
	default:
		return nil
	}
	return []fleet.Evidence{e}
}
