package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/lab/check"
)

// Result is what one case came to.
type Result struct {
	Name string `json:"name"`
	// Outcome says in words what became of the server.
	Outcome string `json:"outcome"`
	// From and To are hosts, EpochFrom and EpochTo the server's epochs.
	From      string      `json:"from,omitempty"`
	To        string      `json:"to,omitempty"`
	EpochFrom fleet.Epoch `json:"epochFrom,omitempty"`
	EpochTo   fleet.Epoch `json:"epochTo,omitempty"`
	Split
	Findings check.Findings `json:"findings"`
}

// Split is where the time went, from the fault on. Boot is from the launch to the
// first record of the new epoch on the LUN; Verify from there until the server
// counted as healed. Write is from the fault to that record, Total to the end. Process is
// from the fault until the process of the next machine ran, 0 where it ran before: Launch
// ends later, when that machine answers its monitor.
type Split struct {
	Detect  time.Duration `json:"detect_ns"`
	Fence   time.Duration `json:"fence_ns"`
	Launch  time.Duration `json:"launch_ns"`
	Process time.Duration `json:"process_ns,omitempty"`
	Boot    time.Duration `json:"boot_ns"`
	Verify  time.Duration `json:"verify_ns"`
	Write   time.Duration `json:"write_ns"`
	Total   time.Duration `json:"total_ns"`
}

// String is the result in one line.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-18s %-34s", r.Name, r.Outcome)
	if r.Total > 0 {
		for _, p := range []struct {
			name string
			d    time.Duration
		}{{"detect", r.Detect}, {"fence", r.Fence}, {"launch", r.Launch}, {"boot", r.Boot}, {"verify", r.Verify}, {"total", r.Total}} {
			fmt.Fprintf(&b, " %s %.2fs", p.name, p.d.Seconds())
		}
	}
	fmt.Fprintf(&b, "  acked=%d lost=%d stale=%d", r.Findings.Acked, r.Findings.Lost, r.Findings.Stale)
	return b.String()
}

// OK reports whether nothing was lost and nothing stale landed.
func (r Result) OK() bool { return r.Findings.OK() }

// split works out where the time went from what the controller recorded and from
// what the watcher saw on the LUN.
func (s *Stage) split(events []event.Event, fault time.Time, epoch fleet.Epoch) Split {
	var begun, proved, launched, healed time.Time
	first := func(t *time.Time, e event.Event) {
		if t.IsZero() {
			*t = e.At
		}
	}
	for _, e := range events {
		switch {
		case e.At.Before(fault):
		case e.Kind == event.RecoveryBegun:
			first(&begun, e)
		case e.Kind == event.EpochProved:
			first(&proved, e)
		case e.Kind == event.StepEnded && e.Step != nil && e.Step.State == fleet.StepDone &&
			(e.Step.Step.Kind == fleet.StepLaunch || e.Step.Step.Kind == fleet.StepReboot):
			launched = e.At
		case e.Kind == event.RecoveryHealed:
			healed = e.At
		}
	}
	out := Split{Detect: between(fault, begun), Fence: between(begun, proved), Total: between(fault, healed)}
	if proved.IsZero() {
		proved = begun
	}
	out.Launch = between(proved, launched)
	if at, err := s.Lab.StartedVM(fault, launched); err == nil { // else it is not told
		out.Process = between(fault, at)
	}
	if at, _ := s.watch.First(uint64(epoch)); at.After(fault) {
		out.Boot, out.Write, out.Verify = between(launched, at), between(fault, at), between(at, healed)
	} else {
		out.Verify = between(launched, healed)
	}
	return out
}

func between(a, b time.Time) time.Duration {
	if a.IsZero() || b.Before(a) {
		return 0
	}
	return b.Sub(a)
}

// healed waits until the server was healed after a fault and writes again.
func (s *Stage) healed(ctx context.Context, before fleet.Status, fault time.Time, wanted func(fleet.Status) error) (Result, error) {
	var events []event.Event
	var now fleet.Status
	err := s.await(ctx, func() (bool, error) {
		var err error
		if now, err = s.status(ctx); err != nil {
			return false, err
		}
		if events, err = s.events(ctx, fault); err != nil {
			return false, err
		}
		over := false
		for _, e := range events {
			over = over || e.Kind == event.RecoveryHealed && e.At.After(fault)
		}
		switch {
		case now.Phase != fleet.PhaseRunning || now.Verdict != fleet.Healthy:
			return false, fmt.Errorf("%s is %s, %s: %s", s.server, now.Phase, now.Verdict, now.Message)
		case !over:
			return false, fmt.Errorf("no recovery of %s has ended; epoch %d", s.server, now.Epoch)
		case now.Incident != "":
			return false, fmt.Errorf("incident %s of %s is open", now.Incident, s.server)
		}
		return true, nil
	})
	if err != nil {
		return Result{}, err
	}
	if err := wanted(now); err != nil {
		return Result{}, err
	}
	if err := s.writes(ctx, 5); err != nil {
		return Result{}, err
	}
	r := Result{From: before.Host, To: now.Host, EpochFrom: before.Epoch, EpochTo: now.Epoch, Split: s.split(events, fault, now.Epoch)}
	r.Outcome = fmt.Sprintf("%s -> %s, epoch %d -> %d", r.From, r.To, r.EpochFrom, r.EpochTo)
	if r.EpochFrom == r.EpochTo {
		r.Outcome = fmt.Sprintf("rebooted on %s, epoch %d", r.To, r.EpochTo)
	}
	return r, nil
}
