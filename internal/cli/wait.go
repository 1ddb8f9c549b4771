package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// pollEvery is how often a waiting command looks again.
const pollEvery = 250 * time.Millisecond

// until looks again and again until done, the timeout or the end of ctx. A
// timeout ends only the waiting; pending says what it was waiting for.
func (a *app) until(ctx context.Context, timeout time.Duration, look func(context.Context) (done bool, pending string, err error)) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		done, pending, err := look(ctx)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return client.NewProblem(client.CodeTimeout, "gave up waiting after %s: %s; the work goes on", timeout, pending).
				WithNext("relight events --watch")
		case <-tick.C:
		}
	}
}

// waitHealthy waits until all named servers run verified.
func (a *app) waitHealthy(ctx context.Context, c *client.Client, names []string, timeout time.Duration) error {
	return a.until(ctx, timeout, func(ctx context.Context) (bool, string, error) {
		var pending []string
		for _, n := range names {
			v, err := c.Server(ctx, n)
			if err != nil {
				return false, "", err
			}
			switch {
			case v.Status.Phase == fleet.PhaseNeedsPerson:
				return false, "", client.NewProblem(client.CodeRefused, "%s needs a person: %s", n, v.Status.Message).WithNext("relight why %s", n)
			case v.Finding.Verdict != fleet.Healthy || v.Status.Phase != fleet.PhaseRunning:
				pending = append(pending, fmt.Sprintf("%s is %s", n, v.Finding.Verdict))
			}
		}
		return len(pending) == 0, strings.Join(pending, ", "), nil
	})
}

// waitHealed waits for the end of a recovery that was asked for at a moment.
func (a *app) waitHealed(ctx context.Context, c *client.Client, name string, since time.Time, timeout time.Duration) error {
	return a.until(ctx, timeout, func(ctx context.Context) (bool, string, error) {
		got, err := c.Events(ctx, client.EventQuery{Server: name, Since: since, Limit: 1000})
		if err != nil {
			return false, "", err
		}
		pending := name + " is not healed"
		for _, r := range got.Items {
			switch r.Event.Kind {
			case event.RecoveryHealed:
				fmt.Fprintln(a.Err, r.Event.Message)
				return true, "", nil
			case event.RecoveryGaveUp, event.MoveCalledOff:
				return false, "", client.NewProblem(client.CodeRefused, "%s: %s", name, r.Event.Message).WithNext("relight why %s", name)
			default:
				pending = r.Event.Message
			}
		}
		return false, pending, nil
	})
}
