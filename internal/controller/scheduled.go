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
// people want to have it over before, at a time of their own.
func (h *Healer) noteScheduled(ctx context.Context, v viewed, now time.Time) error {
	if len(v.Observed.Scheduled) == 0 {
		return nil
	}
	name := v.Server.Name
	if told, _ := Get[[]fleet.Scheduled](h.Viewer.State, kindScheduled, name); len(decide.Unheard(told, v.Observed.Scheduled)) == 0 {
		return nil
	}
	return h.Journal.Do(ctx, now, func(tx *Tx) error {
		told, _ := TxGet[[]fleet.Scheduled](tx, kindScheduled, name)
		for _, s := range decide.Unheard(told, v.Observed.Scheduled) {
			tx.Emit(event.Event{
				Kind: event.PlatformPlans, Server: name, Host: v.Status.Host, Epoch: v.Status.Epoch,
				Message: "its platform announces " + s.String() + "; to have it over before: relight heal " + name + " --rung recover",
			})
		}
		tx.Put(kindScheduled, name, slices.Clone(v.Observed.Scheduled)) // a look's memory is used again
		return nil
	})
}
