package agent

import (
	"context"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/core/lease"
)

// guard runs the isolation machine.
func (a *Agent) guard(ctx context.Context) {
	m := lease.NewIsolation(a.opt.Clock())
	type told struct {
		q      lease.Question
		answer fleet.Answer
	}
	answers := make(chan told)
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer func() { a.watchdog.close(len(a.selfFencing()) == 0) }()
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-answers:
			m.Answered(a.opt.Clock(), t.q, t.answer)
		case <-timer.C:
		}
		now := a.opt.Clock()
		lent, running := a.lease(), a.selfFencing()
		v := m.Step(now, a.watchdog.until(lent), running)
		a.watchdog.tend(m.Care(running))
		for _, q := range v.Ask {
			a.tasks.Go(func() {
				answer := a.askHeirs(ctx, q.Server, q.Epoch)
				select {
				case answers <- told{q, answer}:
				case <-ctx.Done():
				}
			})
		}
		for _, i := range v.Stop {
			a.opt.Log.Warn("self-fence: no lease, and a host that could take the server over has it or cannot be asked", "server", i.Server, "epoch", i.Epoch)
			a.tasks.Go(func() {
				if err := a.opt.Driver.End(ctx, i.Server, i.Epoch); err != nil {
					a.opt.Log.Error("self-fence failed", "server", i.Server, "epoch", i.Epoch, "error", err)
				}
			})
		}
		timer.Reset(max(time.Duration(v.Next-a.opt.Clock()), time.Millisecond))
	}
}

// selfFencing lists the running instances whose servers ask to be stopped when the
// host is cut off.
func (a *Agent) selfFencing() []lease.Instance {
	policy := map[string]fleet.OnIsolation{}
	for _, s := range a.memory.watched().Servers {
		policy[s.Server] = s.OnIsolation
	}
	var out []lease.Instance
	for _, i := range a.opt.Driver.Instances() {
		if lease.SelfFences(policy[i.Server], i.State, i.Alive) {
			out = append(out, lease.Instance{Server: i.Server, Epoch: i.Epoch})
		}
	}
	return out
}
