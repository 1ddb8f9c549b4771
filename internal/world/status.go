package world

import (
	"time"

	"relight/internal/core/fleet"
)

// Checks say when a platform looks at its machines: every so often (at a moment
// of the period that differs by machine), and how long until a result is told.
// The zero Checks tell the truth at once.
type Checks struct{ Every, Delay time.Duration }

// CheckState is a platform's summary of one kind of status check.
type CheckState string

// The states of a status check, by EC2's names.
const (
	CheckOK            CheckState = "ok"
	CheckImpaired      CheckState = "impaired"
	CheckInitializing  CheckState = "initializing"
	CheckNotApplicable CheckState = "not-applicable" // the machine is not running
	CheckInsufficient  CheckState = "insufficient-data"
)

// Status is what the status checks of a machine say.
type Status struct {
	// System is about its host: power, hardware, network. Guest is about what
	// runs on it: it fails with its host. Disks is about its volumes.
	System, Guest, Disks CheckState
	// At is when the checks were made.
	At time.Time
}

// StatusOf returns what the platform tells now of its last checks of a machine.
func (w *World) StatusOf(i *Instance) Status {
	at := w.Now()
	if c := w.cfg.Checks; c.Every > 0 {
		phase := time.Duration(uint64(digestStart.text(i.ID)) % uint64(c.Every))
		at = at.Add(-c.Delay - phase).Truncate(c.Every).Add(phase)
	}
	switch {
	case i.State != fleet.InstanceRunning:
		return Status{System: CheckNotApplicable, Guest: CheckNotApplicable, Disks: CheckNotApplicable, At: at}
	case w.linkless(i.Host):
		return Status{System: CheckInsufficient, Guest: CheckInsufficient, Disks: CheckInsufficient, At: at}
	case at.Before(i.Since):
		return Status{System: CheckInitializing, Guest: CheckInitializing, Disks: CheckInitializing, At: at}
	}
	was := w.present(i)
	if i.past != nil {
		if then, known := i.past.at(at); known {
			was = then
		}
	}
	return Status{System: checkState(was.system), Guest: checkState(was.guest), Disks: checkState(was.disks), At: at}
}

func checkState(ok bool) CheckState {
	if ok {
		return CheckOK
	}
	return CheckImpaired
}
