package controller

import (
	"context"
	"fmt"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// Move implements api.Backend: it records a person's wish that a working server runs
// on another host. What could never be is refused here, with the reason, so that
// nothing lies in wait until it can be done.
func (b *Backend) Move(ctx context.Context, by, name string, req client.MoveRequest) (client.HealAnswer, error) {
	now := b.Clock.Now()
	v := b.Viewer.View(name, now)
	if !v.known {
		return client.HealAnswer{}, noServer(name)
	}
	if r := v.Status.Recovery; r != nil {
		return client.HealAnswer{}, problem(client.CodeRefused, "a recovery of %s runs already: %s", name, r.Rung).WithNext("relight why %s", name)
	}
	host, err := moveGoal(v, req.To, req.Back)
	if err != nil {
		return client.HealAnswer{}, err
	}
	if why := decide.NoMove(v.View, host, req.Snapshot); why != "" {
		return client.HealAnswer{}, problem(client.CodeRefused, "%s cannot be moved to %s: %s", name, host, why).WithNext("relight move %s --to %s --dry-run", name, host)
	}
	request := moveRequest(v, host, by, req.Reason, now)
	request.Snapshot = req.Snapshot
	err = b.Journal.Do(ctx, now, func(tx *Tx) error {
		tx.Put(kindRequest, name, request)
		tx.Emit(event.Event{Kind: event.GuardSet, Server: name, By: by, Epoch: request.Epoch, Message: fmt.Sprintf("%s asks for a move to %s%s: %s", by, host, request.With(), req.Reason)})
		return nil
	})
	if err != nil {
		return client.HealAnswer{}, err
	}
	d := decide.Next(b.Viewer.View(name, b.Clock.Now()).View, b.Clock.Now())
	b.Loops.Wake(name)
	return client.HealAnswer{Request: request, Decision: d, Message: d.Reason}, nil
}

// moveGoal is the host that a planned move goes to.
func moveGoal(v viewed, to string, back bool) (string, error) {
	name := v.Server.Name
	switch {
	case back && to != "":
		return "", problem(client.CodeBadRequest, "a move goes to a host or back, not both").WithNext("relight move %s --back", name)
	case back && v.Status.CameFrom == "":
		return "", problem(client.CodeRefused, "%s has worked on no other host before %s", name, v.Status.Host).WithNext("relight move %s --to HOST", name)
	case back:
		return v.Status.CameFrom, nil
	case to == "":
		return "", problem(client.CodeBadRequest, "a move needs a host to go to").WithNext("relight get hosts")
	default:
		return to, nil
	}
}

func moveRequest(v viewed, host, by, reason string, now time.Time) fleet.Request {
	return fleet.Request{
		Server: v.Server.Name, Epoch: v.Status.Epoch, Rung: decide.MoveRung(v.View, host), Host: host, By: by, Reason: reason, At: now,
	}
}
