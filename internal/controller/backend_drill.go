package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

const (
	// keepDrills bounds the drills that are remembered.
	keepDrills = 100
	// drillFor is how long a drill may take: one that was never ended, because whoever
	// ran it died, keeps nobody from the next after that.
	drillFor = time.Hour
)

// BeginDrill implements api.Backend. It breaks nothing itself: it says whether now is
// the time, and lets the record show who did it before it is done.
func (b *Backend) BeginDrill(ctx context.Context, by string, req client.DrillRequest) (fleet.Drill, error) {
	now := b.Clock.Now()
	v := b.Viewer.View(req.Server, now)
	switch {
	case !v.known:
		return fleet.Drill{}, noServer(req.Server)
	case !slices.Contains(fleet.DrillNames(), req.Name):
		return fleet.Drill{}, problem(client.CodeBadRequest, "%q is no drill; there are %v", req.Name, fleet.DrillNames()).WithNext("relight drill list")
	}
	if why, until := b.noDrill(v, req.Name, now); why != "" {
		return fleet.Drill{}, problem(client.CodeRefused, "%s may not be drilled now: %s", req.Server, why).WithNext("relight why %s", req.Server).WithNotBefore(until)
	}
	d := fleet.Drill{
		ID: "D-" + now.UTC().Format("20060102-150405.000"), Name: req.Name, Server: req.Server, Host: v.Status.Host, Epoch: v.Status.Epoch,
		By: by, Reason: req.Reason, Begun: now, Expected: req.Name.Expectation(),
	}
	err := b.Journal.Do(ctx, now, func(tx *Tx) error {
		if other := b.running(now); other != "" {
			return problem(client.CodeRefused, "drill %s runs", other).WithNext("relight drill list")
		}
		for _, old := range b.oldest(keepDrills - 1) {
			tx.Delete(kindDrill, old)
		}
		tx.Put(kindDrill, d.ID, d)
		tx.Emit(event.Event{
			Kind: event.DrillBegun, Server: d.Server, Host: d.Host, By: by, Epoch: d.Epoch,
			Message: fmt.Sprintf("%s begins drill %s (%s): %s", by, d.ID, d.Name, cmp.Or(req.Reason, "no reason given")),
		})
		return nil
	})
	if err != nil {
		return fleet.Drill{}, err
	}
	return d, nil
}

// noDrill asks for the server, and for the loss of a whole host for all on it; see
// decide.NoDrill.
func (b *Backend) noDrill(v viewed, name fleet.DrillName, now time.Time) (why string, until time.Time) {
	if why, until = decide.NoDrill(v.View, now); why != "" || name != fleet.DrillHostLoss {
		return why, until
	}
	for _, other := range b.State.ServerNames() {
		if other == v.Server.Name || b.State.Status(other).Host != v.Status.Host {
			continue
		}
		if why, until = decide.NoDrill(b.Viewer.View(other, now).View, now); why != "" {
			return fmt.Sprintf("%s is on the same host: %s", other, why), until
		}
	}
	for _, h := range b.Spares.Now().Hosts {
		if h.Host == v.Status.Host && len(h.Homeless) > 0 {
			return fmt.Sprintf("%s would find no place: %s", h.Homeless[0].Server, h.Homeless[0].Reason), time.Time{}
		}
	}
	return "", time.Time{}
}

// running names a drill that has begun and not ended, or is empty.
func (b *Backend) running(now time.Time) string {
	for _, d := range All[fleet.Drill](b.State, kindDrill) {
		if d.Ended.IsZero() && now.Sub(d.Begun) < drillFor {
			return d.ID
		}
	}
	return ""
}

// oldest lists the drills that are too many, beyond the newest that are kept.
func (b *Backend) oldest(keep int) []string {
	names := b.State.Names(kindDrill) // by time: the name begins with it
	return names[:max(len(names)-keep, 0)]
}

// EndDrill implements api.Backend.
func (b *Backend) EndDrill(ctx context.Context, by, id string, result fleet.DrillResult) (fleet.Drill, error) {
	now := b.Clock.Now()
	d, ok := Get[fleet.Drill](b.State, kindDrill, id)
	switch {
	case !ok:
		return d, problem(client.CodeNotFound, "there is no drill %q", id).WithNext("relight drill list")
	case !d.Ended.IsZero():
		return d, problem(client.CodeConflict, "drill %s has ended already", id).WithNext("relight drill list")
	}
	d.Ended, d.Result = now, result
	err := b.Journal.Do(ctx, now, func(tx *Tx) error {
		tx.Put(kindDrill, id, d)
		what := fmt.Sprintf("passed, RTO %s, %d of %d acknowledged writes lost", result.RTO, result.Lost, result.Acked)
		if !result.Passed {
			what = "failed: " + result.Failure
		}
		tx.Emit(event.Event{Kind: event.DrillEnded, Server: d.Server, Host: d.Host, By: by, Epoch: result.Epoch, Message: fmt.Sprintf("drill %s (%s) %s", id, d.Name, what)})
		return nil
	})
	return d, err
}

// Drills implements api.Backend.
func (b *Backend) Drills(context.Context) (client.List[fleet.Drill], error) {
	list := All[fleet.Drill](b.State, kindDrill)
	slices.SortFunc(list, func(x, y fleet.Drill) int { return cmp.Compare(y.ID, x.ID) })
	return client.List[fleet.Drill]{Items: list}, nil
}
