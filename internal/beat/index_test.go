package beat

import (
	"testing"

	"pgregory.net/rapid"
)

// Whatever comes and goes, a stripe finds exactly those that are there.
func TestIndexFindsWhatIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s stripe
		there := map[AgentID]bool{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			id := AgentID(rapid.Uint64Range(1, 40).Draw(t, "agent"))
			switch {
			case rapid.IntRange(0, 2).Draw(t, "remove") == 0:
				s.remove(id)
				delete(there, id)
			case !there[id]:
				if a := s.add(agentState{id: id}); a.id != id {
					t.Fatalf("added %d, got %d", id, a.id)
				}
				there[id] = true
			}
			for id := range AgentID(41) {
				if a := s.find(id); (a != nil) != there[id] || a != nil && a.id != id {
					t.Fatalf("agent %d: found %v, there %t", id, a, there[id])
				}
			}
			if len(s.agents) != len(there) || 2*len(s.agents) > len(s.index.slots) {
				t.Fatalf("%d agents of %d in %d slots", len(s.agents), len(there), len(s.index.slots))
			}
		}
	})
}
