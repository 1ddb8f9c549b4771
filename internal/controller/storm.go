package controller

import (
	"context"
	"slices"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/store"
)

// stormRecord returns the storm that is recorded, or nil, with its revision. The
// state is locked by the caller.
func (w *Viewer) stormRecord() (*fleet.StormRecord, store.Revision) {
	r, ok := w.State.tables[kindStorm]["fleet"]
	if !ok {
		return nil, 0
	}
	rec := r.value.(fleet.StormRecord)
	return &rec, r.rev
}

// stormOver reports that the storm that is recorded was over at the last look.
func (w *Viewer) stormOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.storm.over
}

// noteStorm records the storm that holds a server, or one that has grown: from then
// on it does not shrink, whatever is healed of it (S5).
func (h *Healer) noteStorm(ctx context.Context, v viewed, d decide.Decision, now time.Time) error {
	t := v.Around.Storm
	holds := func(g decide.Gate) bool { return g.Name == decide.GateStorm && !g.Pass }
	if t == nil || len(t.Hosts) == 0 || !slices.ContainsFunc(d.Gates, holds) {
		return nil
	}
	if rec := v.Guards.Storm; rec != nil && rec.Hit(t.Hosts...) {
		return nil
	}
	return h.Journal.Do(ctx, now, func(tx *Tx) error {
		if old, ok := TxGet[fleet.StormRecord](tx, kindStorm, "fleet"); ok && old.Hit(t.Hosts...) {
			return nil
		}
		rec := fleet.StormRecord{ID: "storm-" + now.UTC().Format("20060102-150405.000"), Reason: t.Reason, Hosts: t.Hosts, At: now}
		tx.Put(kindStorm, "fleet", rec)
		tx.Emit(event.Event{Kind: event.GuardSet, Message: rec.ID + " holds every recovery until a person lets it go on: " + t.Reason})
		return nil
	})
}

// endStorm forgets the storm that is over, so that one of its hosts that fails again
// is not taken for what is left of it.
func (h *Healer) endStorm(ctx context.Context) error {
	if !h.Viewer.stormOver() {
		return nil
	}
	return h.Journal.Do(ctx, h.Clock.Now(), func(tx *Tx) error {
		rec, ok := TxGet[fleet.StormRecord](tx, kindStorm, "fleet")
		if !ok || !h.Viewer.stormOver() {
			return nil
		}
		tx.Delete(kindStorm, "fleet")
		tx.Emit(event.Event{Kind: event.GuardCleared, Message: rec.ID + " is over: no server is left on its hosts that does not work"})
		return nil
	})
}

// StormGoOn implements api.Backend: a person lets the storm go on that was looked at,
// and no larger one.
func (b *Backend) StormGoOn(ctx context.Context, by, id, reason string) (fleet.StormRecord, error) {
	now := b.Clock.Now()
	var rec fleet.StormRecord
	err := b.set(ctx, event.Event{Kind: event.GuardCleared, By: by, Message: by + " lets " + id + " go on: " + reason}, func(tx *Tx) error {
		var ok bool
		rec, ok = TxGet[fleet.StormRecord](tx, kindStorm, "fleet")
		switch {
		case !ok:
			return problemNoStorm()
		case rec.ID != id:
			return problemStormGrew(rec)
		case rec.GoOn != nil:
			return problemStormGoes(rec)
		}
		rec.GoOn = &fleet.GoOn{By: by, Reason: reason, At: now}
		tx.Put(kindStorm, "fleet", rec)
		return nil
	})
	return rec, err
}

// Storm implements api.Backend.
func (b *Backend) Storm(context.Context) (client.StormView, error) {
	rec, ok := Get[fleet.StormRecord](b.State, kindStorm, "fleet")
	if !ok {
		return client.StormView{}, nil
	}
	return client.StormView{Storm: &rec}, nil
}

func problemNoStorm() error {
	return problem(client.CodeNotFound, "no storm is recorded").WithNext("relight get servers")
}

func problemStormGrew(rec fleet.StormRecord) error {
	return problem(client.CodeConflict, "the storm is now %s: %s", rec.ID, rec.Reason).WithNext("relight storm go-on %s --reason ...", rec.ID)
}

func problemStormGoes(rec fleet.StormRecord) error {
	return problem(client.CodeConflict, "%s lets it go on since %s: %s", rec.GoOn.By, rec.GoOn.At.Format(time.TimeOnly), rec.GoOn.Reason).WithNext("relight get servers")
}
