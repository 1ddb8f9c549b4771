package tgt

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"relight/internal/array"
)

// Offline implements array.Array. It takes the units out of the epoch's target, which
// tgtd refuses while it has a command for one. What tgtd calls offline (the parameter
// online=0 of a unit) is no use: disks go on taking writes.
func (a *Array) Offline(ctx context.Context, r array.Ref, _ []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, err := a.find(ctx, r)
	if err != nil || t == nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(t.units)) {
		// Without --force, which would not look for commands.
		_, failed := a.run(ctx, "--op", "delete", "--mode", "logicalunit", "--tid", t.id(), "--lun", strconv.Itoa(n))
		if failed == nil {
			continue
		}
		left, err := a.find(ctx, r)
		if err != nil {
			return err
		}
		if left != nil && left.units[n] != "" {
			return fmt.Errorf("take unit %d out of %s: %w: %w", n, t.iqn, array.ErrInside, failed)
		}
	}
	if t, err = a.find(ctx, r); err == nil && t != nil && len(t.units) > 0 {
		err = fmt.Errorf("%s still has units: %w", t.iqn, array.ErrInside)
	}
	return err
}
