package array

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"relight/internal/array/iscsi"
)

// Contents names what the LUNs of a map hold, by unit, read as its epoch; a unit
// with nothing is empty at both ends. It writes nothing. Whoever gives a LUN to a
// server for the first time tells people what is on it: nothing of ours ever
// formats it, and another's data must be seen before a guest writes over it.
func Contents(ctx context.Context, t Target, m Map) (map[int][]string, error) {
	s, err := iscsi.Dial(ctx, m.Config(t))
	if err != nil {
		return nil, fmt.Errorf("look at the LUNs of %s epoch %d: %w", m.Server, m.Epoch, err)
	}
	defer func() { _ = s.Close() }()
	out := map[int][]string{}
	for _, unit := range slices.Sorted(maps.Keys(m.Units)) {
		size, err := iscsi.Capacity(ctx, s, unit)
		if err != nil {
			return nil, fmt.Errorf("size of unit %d: %w", unit, err)
		}
		if out[unit], err = Scan(iscsi.Unit{Ctx: ctx, Path: s, LUN: unit, Size: size}, size); err != nil {
			return nil, fmt.Errorf("unit %d: %w", unit, err)
		}
	}
	return out, nil
}

// Told says for people what Contents found: "data is empty; log holds xfs".
func (m Map) Told(found map[int][]string) string {
	var words []string
	for _, unit := range slices.Sorted(maps.Keys(m.Units)) {
		text := m.Units[unit] + " is empty"
		if len(found[unit]) > 0 {
			text = m.Units[unit] + " holds " + strings.Join(found[unit], ", ")
		}
		words = append(words, text)
	}
	return strings.Join(words, "; ")
}
