package drill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// await looks at the server until done, and ends at once if anything happens that was
// not planned.
func (r *Runner) await(ctx context.Context, d fleet.Drill, what string, done func(fleet.Status) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Within, fmt.Errorf("%w: not within %s: %s", ErrNotAsExpected, r.Within, what))
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for looks := 0; ; looks++ {
		view, err := r.Engine.Server(ctx, d.Server)
		if err == nil && done(view.Status) {
			return nil
		}
		if err == nil && view.Status.Phase == fleet.PhaseNeedsPerson {
			return fmt.Errorf("%w: %s needs a person: %s", ErrNotAsExpected, d.Server, view.Status.Message)
		}
		if looks%10 == 0 { // a look at all of a fleet costs more than one at a server
			if why := r.surprise(ctx, d); why != "" {
				return fmt.Errorf("%w: %s", ErrSurprise, why)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// surprise says what happens that the drill has not planned, or is empty. That the
// engine does not answer for a moment is none: drills are also held while it restarts.
func (r *Runner) surprise(ctx context.Context, d fleet.Drill) string {
	if v, err := r.Engine.Storm(ctx); err == nil && v.Storm != nil {
		return "there is a storm: " + v.Storm.Reason
	}
	if f, err := r.Engine.Freeze(ctx); err == nil && f.Freeze != nil {
		return "the fleet was frozen: " + f.Freeze.Reason
	}
	list, err := r.Engine.Servers(ctx, client.ListQuery{})
	if err != nil {
		return ""
	}
	for _, row := range list.Items {
		failed := slices.Contains([]fleet.Verdict{fleet.Down, fleet.Impaired, fleet.Isolated}, row.Verdict)
		planned := row.Name == d.Server || d.Name == fleet.DrillHostLoss && (row.Host == d.Host || row.Phase == fleet.PhaseRecovering)
		if failed && !planned {
			return fmt.Sprintf("%s, which is not drilled, is %s: %s", row.Name, row.Verdict, row.Message)
		}
	}
	return ""
}

// Settled waits until all servers work and all hosts are in contact, so that one drill
// is not blamed for what another one did.
func (r *Runner) Settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Within, fmt.Errorf("%w: the fleet did not settle within %s", ErrNotAsExpected, r.Within))
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !r.settled(ctx) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

func (r *Runner) settled(ctx context.Context) bool {
	servers, err := r.Engine.Servers(ctx, client.ListQuery{})
	if err != nil {
		return false
	}
	for _, row := range servers.Items {
		if row.Verdict != fleet.Healthy || row.Phase != fleet.PhaseRunning || row.Incident != "" {
			return false
		}
	}
	hosts, err := r.Engine.Hosts(ctx)
	for _, h := range hosts.Items {
		if h.InContact != fleet.Yes.String() {
			return false
		}
	}
	return err == nil
}
