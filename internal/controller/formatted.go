package controller

import (
	"context"
	"fmt"
	"slices"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/core/mount"
)

// keepFormatted bounds the formats that a status carries with it: a volume is formatted
// at epoch 1, so that more than one for each volume is somebody's lie.
const keepFormatted = 64

// Formatted journals that a guest's agent made the file system of one of its server's
// volumes, once for each epoch and volume, and returns once that is durable. What the
// spec has no volume for is passed over: a guest speaks of its own server's alone (S13).
func (j *Journal) Formatted(ctx context.Context, server string, f fleet.Formatted) error {
	spec, _ := j.State.Server(server)
	at := slices.IndexFunc(spec.Spec.Identity.Volumes, func(v fleet.Volume) bool { return v.Name == f.Volume && v.Mount != nil })
	if at < 0 {
		return nil
	}
	f.ID = spec.Spec.Identity.Volumes[at].ID
	if f.Serial == "" {
		f.Serial = mount.Serial(f.ID) // an agent that is older than this tells none
	}
	told := func(s fleet.Status) bool {
		same := func(o fleet.Formatted) bool { return o.Volume == f.Volume && o.Epoch == f.Epoch }
		return slices.ContainsFunc(s.Formatted, same) || len(s.Formatted) >= keepFormatted
	}
	if told(j.State.Status(server)) {
		return nil // each report says it again
	}
	return j.Do(ctx, f.At, func(tx *Tx) error {
		status, _ := TxGet[fleet.Status](tx, kindStatus, server)
		if told(status) {
			return nil
		}
		status.Server = server
		status.Formatted = append(slices.Clone(status.Formatted), f)
		tx.Put(kindStatus, server, status)
		message := fmt.Sprintf("its guest agent made the file system of volume %s (%s, serial %s), as epoch %d", f.Volume, f.ID, f.Serial, f.Epoch)
		if f.Epoch != 1 {
			message += ", which only epoch 1 may: find out who runs there"
		}
		tx.Emit(event.Event{
			Kind: event.VolumeFormatted, Server: server, By: fmt.Sprintf("the guest agent of %s.%d", server, f.Epoch), Epoch: f.Epoch,
			Volume: f.Volume, Serial: f.Serial, Message: message,
		})
		return nil
	})
}
