package controller

import (
	"context"
	"slices"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// noteScheduled journals what the platform has announced for a server's instance, once:
// people want to have it over before, at a time of their own. So is that it was called off:
// who has planned a night for it wants to know.
func (h *Healer) noteScheduled(ctx context.Context, v viewed, now time.Time) error {
	name := v.Server.Name
	told, _ := Get[[]fleet.Scheduled](h.Viewer.State, kindScheduled, name)
	if len(decide.Unheard(told, v.Observed.Scheduled)) == 0 && len(decide.CalledOff(told, v.Observed, now)) == 0 {
		return nil
	}
	return h.Journal.Do(ctx, now, func(tx *Tx) error {
		told, _ := TxGet[[]fleet.Scheduled](tx, kindScheduled, name)
		tell := func(message string) {
			tx.Emit(event.Event{Kind: event.PlatformPlans, Server: name, Host: v.Status.Host, Epoch: v.Status.Epoch, Message: message})
		}
		for _, s := range decide.Unheard(told, v.Observed.Scheduled) {
			tell("its platform announces " + s.String() + "; to have it over before: relight heal " + name + " --rung recover")
		}
		for _, s := range decide.CalledOff(told, v.Observed, now) {
			tell("its platform no longer announces " + s.String() + ": it was called off, or is over")
		}
		tx.Put(kindScheduled, name, slices.Clone(v.Observed.Scheduled)) // a look's memory is used again
		return nil
	})
}
