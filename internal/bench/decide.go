package bench

import (
	"context"
	"fmt"
	"time"

	"relight/internal/core/decide"
	"relight/internal/store/mem"
)

// decideFor is how long each view is decided again and again.
const decideFor = 2 * time.Second

// decideRows counts decisions a second on one core, over views as a controller of
// 250 servers on 10 hosts makes them.
func decideRows(ctx context.Context, _ Options) ([]Row, error) {
	r, err := newRig(ctx, mem.New(mem.Options{Now: time.Now}), 10*perHost)
	if err != nil {
		return nil, err
	}
	name := serverName(0)
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	if _, err := r.healer.Pass(ctx, name); err != nil {
		return nil, err
	}
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	if _, err := r.healer.Pass(ctx, name); err != nil {
		return nil, err
	}
	well := r.viewer.View(name, time.Now()).View
	if err := r.crash(name); err != nil {
		return nil, err
	}
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	down := r.viewer.View(name, time.Now()).View
	first := decide.Next(down, time.Now())
	if first.Step == nil {
		return nil, fmt.Errorf("%s is not recovered: %s", name, first.Reason)
	}
	if d := decide.Next(well, time.Now()); d.Step != nil {
		return nil, fmt.Errorf("%s does not rest: %s", name, d.Reason)
	}
	return []Row{
		{Name: "decide, healthy", Value: perSecond(well), Unit: "decisions/s"},
		{Name: "decide, down and about to " + string(first.Step.Kind), Value: perSecond(down), Unit: "decisions/s"},
	}, nil
}

// look observes everything once.
func (r *rig) look(ctx context.Context) error {
	sweep, err := r.provider.Observe(ctx, r.state.Servers())
	if err != nil {
		return err
	}
	r.collector.Tick(time.Now())
	r.collector.Take(sweep)
	return nil
}

func (r *rig) crash(name string) error {
	r.world.Lock()
	defer r.world.Unlock()
	i := r.world.Find(name, r.state.Status(name).Epoch)
	if i == nil {
		return fmt.Errorf("%s does not run", name)
	}
	return r.world.Kill(i)
}

// perSecond decides one view on one core for decideFor. The time is that of the
// view: a decision must not lapse while it is measured.
func perSecond(v decide.View) float64 {
	at := time.Now()
	n := 0
	for time.Since(at) < decideFor {
		for range 64 {
			decide.Next(v, at)
		}
		n += 64
	}
	return float64(n) / time.Since(at).Seconds()
}
