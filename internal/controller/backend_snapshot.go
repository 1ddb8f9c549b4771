package controller

import (
	"context"
	"fmt"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// Snapshots implements api.Backend.
func (b *Backend) Snapshots(ctx context.Context, server string) (client.List[client.KeptSnapshot], error) {
	list := client.List[client.KeptSnapshot]{Items: []client.KeptSnapshot{}}
	servers := b.State.Servers()
	if server != "" {
		s, ok := b.State.Server(server)
		if !ok {
			return list, noServer(server)
		}
		servers = []fleet.Server{s}
	}
	for _, k := range b.kept(ctx, servers...) {
		row := client.KeptSnapshot{Server: k.Server, Volume: k.Volume, Array: k.Array, LUN: k.LUN}
		if k.Err != nil {
			row.Error = k.Err.Error()
			list.Items = append(list.Items, row)
		}
		for _, snap := range k.Snapshots {
			row.Name, row.Bytes, row.At = snap.Name, snap.Bytes, snap.At
			list.Items = append(list.Items, row)
		}
	}
	return list, nil
}

func (b *Backend) kept(ctx context.Context, servers ...fleet.Server) []provider.Kept {
	if b.Kept == nil {
		return nil
	}
	return b.Kept(ctx, servers...)
}

// RestoreSnapshot implements api.Backend. Each volume's intent is journaled before its
// array is asked; a controller that dies in the middle leaves a server that nothing
// starts until a person has put the snapshot back again.
func (b *Backend) RestoreSnapshot(ctx context.Context, by, server, snapshot, reason string) (client.SnapshotAnswer, error) {
	if !b.restoring.TryLock() {
		// Two that put different snapshots back would leave volumes of two moments.
		return client.SnapshotAnswer{}, problem(client.CodeConflict, "another snapshot is being put back").WithNext("relight snapshots list %s", server)
	}
	defer b.restoring.Unlock()
	v := b.Viewer.View(server, b.Clock.Now())
	if !v.known {
		return client.SnapshotAnswer{}, noServer(server)
	}
	if _, no := decide.NoRestore(v.View, b.Clock.Now()); no != nil {
		return client.SnapshotAnswer{}, noRestore(server, no)
	}
	with, without, err := b.volumesOf(ctx, v.Server, snapshot)
	if err != nil {
		return client.SnapshotAnswer{}, err
	}
	if len(without) > 0 {
		return client.SnapshotAnswer{}, problem(client.CodeRefused, "there is no snapshot %s of volume %s: with the others put back, the volumes would be of two moments", snapshot, without[0]).WithNext("relight snapshots list %s", server)
	}
	answer := client.SnapshotAnswer{Server: server, Snapshot: snapshot, Volumes: with}
	for _, volume := range with {
		step, proof, v, err := b.intendRestore(ctx, by, server, volume, snapshot, reason)
		if err != nil {
			return answer, err
		}
		answer.Epoch = step.Epoch
		out, failed := b.perform(ctx, v, step, proof)
		if err := b.endRestore(ctx, by, step, out, failed, with); err != nil {
			return answer, err
		}
		if failed != nil {
			return answer, problem(client.CodeRefused, "snapshot %s was not put back on volume %s: %v", snapshot, volume, failed).WithNext("relight why %s", server)
		}
	}
	b.Loops.Wake(server)
	answer.Message = fmt.Sprintf("snapshot %s is back; the next epoch starts from it once the pause ends", snapshot)
	return answer, nil
}

func noRestore(server string, no *decide.Refusal) error {
	return problem(client.CodeRefused, "no snapshot of %s can be put back now: %s", server, no.Why).WithNext("%s", no.Next)
}

// volumesOf names the LUNs of a server of which arrays keep the snapshot, and the others.
func (b *Backend) volumesOf(ctx context.Context, s fleet.Server, snapshot string) (with, without []string, err error) {
	for _, k := range b.kept(ctx, s) {
		if k.Err != nil {
			return nil, nil, problem(client.CodeUnavailable, "array %s cannot say what it keeps of volume %s: %v", k.Array, k.Volume, k.Err).WithNext("relight doctor")
		}
		has := false
		for _, snap := range k.Snapshots {
			has = has || snap.Name == snapshot
		}
		if has {
			with = append(with, k.Volume)
		} else {
			without = append(without, k.Volume)
		}
	}
	if len(with) == 0 {
		return nil, nil, problem(client.CodeNotFound, "no array keeps a snapshot %q of %s", snapshot, s.Name).WithNext("relight snapshots list %s", s.Name)
	}
	return with, without, nil
}

// intendRestore journals the restore of one volume, if it still may be.
func (b *Backend) intendRestore(ctx context.Context, by, server, volume, snapshot, reason string) (step fleet.Step, proof fence.Proof, v viewed, err error) {
	now := b.Clock.Now()
	v = b.Viewer.View(server, now)
	proof, no := decide.NoRestore(v.View, now)
	if no != nil {
		return step, proof, v, noRestore(server, no)
	}
	step = decide.RestoreStep(v.View, proof, volume, snapshot, by, now)
	err = b.Journal.Do(ctx, now, func(tx *Tx) error {
		status, _ := TxGet[fleet.Status](tx, kindStatus, server)
		_, paused := TxGet[fleet.Pause](tx, kindPause, server)
		if !paused || tx.state.Revision(kindStatus, server) != v.statusRev || tx.touched(kindStatus, server) {
			return problem(client.CodeConflict, "%s has changed meanwhile", server).WithNext("relight why %s", server)
		}
		status.Server = server
		tx.Put(kindStatus, server, decide.Restoring(status, proof, step, by, reason, now))
		tx.Emit(event.Event{
			Kind: event.StepIntended, Server: server, By: by, Epoch: step.Epoch, Destructive: true, Evidence: proof.Evidence(),
			Step:    &fleet.StepRecord{Step: step, State: fleet.StepIntended, Begun: now, Tries: 1},
			Message: fmt.Sprintf("%s asks: %s (%s)", by, step.Why, reason),
		})
		return nil
	})
	return step, proof, v, err
}

// perform does a step that a person asked for. Its context ends with the controller.
func (b *Backend) perform(ctx context.Context, v viewed, step fleet.Step, proof fence.Proof) (provider.Outcome, error) {
	call := provider.Call{Step: step, Server: v.Server, Term: v.Guards.Authority.Term, Proof: proof}
	return b.Healer.Perform(ctx, &Work{Name: step.Server, Call: call})
}

// endRestore records what came of a volume's restore; whoever asked may have gone by then.
func (b *Backend) endRestore(ctx context.Context, by string, step fleet.Step, out provider.Outcome, failed error, all []string) error {
	now, res := b.Clock.Now(), resultOf(out, failed)
	return b.Journal.Do(context.WithoutCancel(ctx), now, func(tx *Tx) error {
		status, ok := TxGet[fleet.Status](tx, kindStatus, step.Server)
		if ok {
			tx.Put(kindStatus, step.Server, decide.Restored(status, step, res, all))
		}
		tx.Emit(deedEnded(by, step, res))
		return nil
	})
}

func deedEnded(by string, step fleet.Step, res decide.Result) event.Event {
	record := fleet.StepRecord{Step: step, State: res.State, Class: res.Class, Error: res.Error, Tries: 1}
	return event.Event{
		Kind: event.StepEnded, Server: step.Server, By: by, Epoch: step.Epoch, Destructive: true, Step: &record,
		Evidence: res.Evidence, Message: endSentence(record, ""),
	}
}

// DeleteSnapshot implements api.Backend.
func (b *Backend) DeleteSnapshot(ctx context.Context, by, server, snapshot string) (client.SnapshotAnswer, error) {
	now := b.Clock.Now()
	v := b.Viewer.View(server, now)
	if !v.known {
		return client.SnapshotAnswer{}, noServer(server)
	}
	if no := decide.NoDrop(v.View, snapshot); no != nil {
		return client.SnapshotAnswer{}, problem(client.CodeRefused, "no snapshot of %s can be deleted now: %s", server, no.Why).WithNext("%s", no.Next)
	}
	with, _, err := b.volumesOf(ctx, v.Server, snapshot)
	if err != nil {
		return client.SnapshotAnswer{}, err
	}
	answer := client.SnapshotAnswer{Server: server, Snapshot: snapshot, Epoch: v.Status.Epoch, Volumes: with, Message: "snapshot " + snapshot + " is deleted"}
	for _, volume := range with {
		step := decide.DropStep(v.View, volume, snapshot, by, now)
		intent := event.Event{
			Kind: event.StepIntended, Server: server, By: by, Epoch: step.Epoch, Destructive: true,
			Step: &fleet.StepRecord{Step: step, State: fleet.StepIntended, Begun: now, Tries: 1}, Message: fmt.Sprintf("%s asks: %s", by, step.Why),
		}
		if err := b.tell(ctx, intent); err != nil {
			return answer, err
		}
		out, failed := b.perform(ctx, v, step, fence.Proof{})
		if err := b.tell(context.WithoutCancel(ctx), deedEnded(by, step, resultOf(out, failed))); err != nil {
			return answer, err
		}
		if failed != nil {
			return answer, problem(client.CodeRefused, "snapshot %s of volume %s was not deleted: %v", snapshot, volume, failed).WithNext("relight snapshots list %s", server)
		}
	}
	return answer, nil
}

// tell journals an event alone.
func (b *Backend) tell(ctx context.Context, e event.Event) error {
	return b.Journal.Do(ctx, b.Clock.Now(), func(tx *Tx) error {
		tx.Emit(e)
		return nil
	})
}
