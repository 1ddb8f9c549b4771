package lio

import (
	"context"
	"fmt"

	"relight/internal/array"
)

// Offline implements array.Array. It takes the LUNs out of the epoch's portal group: the
// kernel waits for the commands that are inside one before the link is gone.
func (a *Array) Offline(ctx context.Context, r array.Ref, _ []string) error {
	return a.do(ctx, func() error { return a.takeOff(r) })
}

func (a *Array) takeOff(r array.Ref) error {
	_, group, err := a.group(r)
	if err != nil {
		return err
	}
	units, err := a.list(group + "/lun")
	if err != nil {
		return fmt.Errorf("LUNs of %s epoch %d off line: %w", r.Server, r.Epoch, err)
	}
	for _, u := range units {
		if err := a.unlink(group + "/lun/" + u); err != nil {
			return fmt.Errorf("LUNs of %s epoch %d off line: %w", r.Server, r.Epoch, err)
		}
	}
	return nil
}

// unlink takes the backing store out of a unit.
func (a *Array) unlink(dir string) error {
	links, err := a.list(dir)
	if err != nil {
		return err
	}
	for _, l := range links {
		if _, err := a.tree.List(store + "/" + l); err == nil { // the others are the kernel's
			if err := gone(a.tree.Unlink(dir + "/" + l)); err != nil {
				return err
			}
		}
	}
	return nil
}
