package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// Engine is what a drill asks of the engine.
type Engine interface {
	BeginDrill(ctx context.Context, req client.DrillRequest) (fleet.Drill, error)
	EndDrill(ctx context.Context, id string, result fleet.DrillResult) (fleet.Drill, error)
	Server(ctx context.Context, name string) (client.ServerView, error)
	Servers(ctx context.Context, q client.ListQuery) (client.List[client.ServerRow], error)
	Hosts(ctx context.Context) (client.List[client.HostRow], error)
	Move(ctx context.Context, name string, req client.MoveRequest) (client.HealAnswer, error)
	Storm(ctx context.Context) (client.StormView, error)
	Freeze(ctx context.Context) (client.FreezeView, error)
}

// Runner runs drills, one at a time.
type Runner struct {
	Engine  Engine
	Breaker Breaker
	// Within is how long a server may take to work again.
	Within time.Duration
	// Say is told what is going on; may be nil.
	Say func(format string, args ...any)
}

// lookEvery is how often a running drill looks at the fleet.
const lookEvery = 100 * time.Millisecond

// ErrSurprise means that something happened that the drill did not plan: it was ended
// at once.
var ErrSurprise = errors.New("something happened that was not planned")

// ErrNotAsExpected means that the outcome was another one than expected.
var ErrNotAsExpected = errors.New("the outcome is not as expected")

func (r *Runner) say(format string, args ...any) {
	if r.Say != nil {
		r.Say(format, args...)
	}
}

// Run runs one drill. An error means that it did not begin; what came of one that did
// is in its result.
func (r *Runner) Run(ctx context.Context, name fleet.DrillName, server, reason string) (fleet.Drill, error) {
	d, err := r.begin(ctx, client.DrillRequest{Name: name, Server: server, Reason: reason})
	if err != nil {
		return d, err
	}
	r.say("%s on %s (%s): expected: %s", name, d.Server, d.Host, d.Expected)
	result := r.play(ctx, d)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	ended, err := r.Engine.EndDrill(ending, d.ID, result)
	if err != nil {
		d.Result = result
		return d, fmt.Errorf("record the end of drill %s: %w", d.ID, err)
	}
	return ended, nil
}

// begin begins a drill. One that is refused only for a moment, such as for the back-off
// after another drill, waits for that moment.
func (r *Runner) begin(ctx context.Context, req client.DrillRequest) (fleet.Drill, error) {
	limit := time.Now().Add(r.Within)
	for {
		d, err := r.Engine.BeginDrill(ctx, req)
		var no *client.Problem
		if !errors.As(err, &no) || no.NotBefore.IsZero() || no.NotBefore.After(limit) {
			return d, err
		}
		r.say("%s waits: %s", req.Name, no.Detail)
		soon := time.NewTimer(max(time.Until(no.NotBefore), lookEvery))
		select {
		case <-soon.C:
		case <-ctx.Done():
			soon.Stop()
			return d, err
		}
	}
}

// play breaks, waits, mends and checks.
func (r *Runner) play(ctx context.Context, d fleet.Drill) fleet.DrillResult {
	w := begin(ctx, r.Breaker, d.Server, uint64(d.Begun.UnixMilli())<<16)
	var out fleet.DrillResult
	err := r.strike(ctx, d, w, &out)
	var acked []uint64
	var pause time.Duration
	acked, pause = w.end()
	out.Acked, out.Pause = len(acked), fleet.Duration(pause)
	if err == nil {
		err = r.check(ctx, d, w, acked, &out)
	}
	if err != nil {
		out.Failure = err.Error()
	}
	out.Passed = err == nil
	return out
}

func (r *Runner) strike(ctx context.Context, d fleet.Drill, w *writer, out *fleet.DrillResult) error {
	if err := r.await(ctx, d, "a first write was acknowledged", func(fleet.Status) bool { return w.since(time.Time{}) }); err != nil {
		return err
	}
	at := time.Now()
	if d.Name == fleet.DrillFailback {
		if err := r.thereAndBack(ctx, d); err != nil {
			return err
		}
	} else if err := r.breakAndAwait(ctx, d); err != nil {
		return err
	}
	out.RTO = fleet.Duration(time.Since(at))
	healed := time.Now()
	view, err := r.Engine.Server(ctx, d.Server)
	if err != nil {
		return err
	}
	out.To, out.Epoch = view.Status.Host, view.Status.Epoch
	return r.await(ctx, d, "a write was acknowledged after that", func(fleet.Status) bool { return w.since(healed) })
}

// breakAndAwait breaks it, waits until all that is hit works again, and mends what is
// the drill's to mend.
func (r *Runner) breakAndAwait(ctx context.Context, d fleet.Drill) (err error) {
	hit, err := r.hit(ctx, d)
	if err != nil {
		return err
	}
	defer func() {
		mending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, r.Breaker.Mend(mending, d.Name, d.Server, d.Host))
	}()
	if err := r.Breaker.Break(ctx, d.Name, d.Server, d.Host); err != nil {
		return err
	}
	r.say("it is broken; now waiting for %d servers", len(hit))
	for _, server := range hit {
		one := d
		one.Server = server
		err := r.await(ctx, one, "it works again", func(st fleet.Status) bool {
			return st.VerifiedAt.After(d.Begun) && st.Phase == fleet.PhaseRunning && st.Recovery == nil && st.Incident == ""
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// hit lists the servers that the drill hits.
func (r *Runner) hit(ctx context.Context, d fleet.Drill) ([]string, error) {
	if d.Name != fleet.DrillHostLoss {
		return []string{d.Server}, nil
	}
	list, err := r.Engine.Servers(ctx, client.ListQuery{})
	var out []string
	for _, row := range list.Items {
		if row.Host == d.Host {
			out = append(out, row.Name)
		}
	}
	return out, err
}

// thereAndBack moves the server to a host that takes it, and back.
func (r *Runner) thereAndBack(ctx context.Context, d fleet.Drill) error {
	hosts, err := r.Engine.Hosts(ctx)
	if err != nil {
		return err
	}
	refused := errors.New("there is no other host")
	for _, h := range hosts.Items {
		if h.Name == d.Host {
			continue
		}
		if _, refused = r.Engine.Move(ctx, d.Server, client.MoveRequest{To: h.Name, Reason: "drill " + d.ID}); refused != nil {
			continue
		}
		there := func(host string, above fleet.Epoch) error {
			return r.await(ctx, d, "it works on "+host, func(st fleet.Status) bool {
				return st.Host == host && st.Epoch > above && st.Phase == fleet.PhaseRunning && st.Recovery == nil && !st.VerifiedAt.IsZero()
			})
		}
		if err := there(h.Name, d.Epoch); err != nil {
			return err
		}
		r.say("it works on %s; now back", h.Name)
		if _, err := r.Engine.Move(ctx, d.Server, client.MoveRequest{Back: true, Reason: "drill " + d.ID}); err != nil {
			return err
		}
		return there(d.Host, d.Epoch+1)
	}
	return refused
}

// check holds the data against what was acknowledged.
func (r *Runner) check(ctx context.Context, d fleet.Drill, w *writer, acked []uint64, out *fleet.DrillResult) error {
	if w.mute {
		if d.Name == fleet.DrillData {
			return fmt.Errorf("%w: nobody wrote, so nothing is known of the data", ErrNotAsExpected)
		}
		return nil
	}
	f, err := r.Breaker.Check(ctx, d.Server, acked)
	if errors.Is(err, ErrCannot) && d.Name != fleet.DrillData {
		return nil
	}
	if err != nil {
		return err
	}
	out.Lost, out.TwoWriters = f.Lost, f.TwoWriters
	if f.Lost > 0 || f.TwoWriters > 0 {
		return fmt.Errorf("%w: %d of %d acknowledged writes are lost, %d moments with two writers", ErrNotAsExpected, f.Lost, len(acked), f.TwoWriters)
	}
	return nil
}
