package mem

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestKeySetIsASortedSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set keySet
		model := map[string]bool{}
		for _, key := range rapid.SliceOfN(rapid.StringMatching(`[ab]{1,12}`), 0, 3000).Draw(t, "keys") {
			if model[key] && len(key)%2 == 0 {
				set.remove(key)
				delete(model, key)
			} else {
				set.add(key)
				model[key] = true
			}
		}
		start := rapid.StringMatching(`[ab]{0,3}`).Draw(t, "start")
		var want []string
		for key := range model {
			if key >= start {
				want = append(want, key)
			}
		}
		slices.Sort(want)
		if got := slices.Collect(set.from(start)); !slices.Equal(got, want) {
			t.Fatalf("from %q: %d keys %v, want %d keys %v", start, len(got), got, len(want), want)
		}
	})
}
