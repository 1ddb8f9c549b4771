package massheal

import (
	"fmt"
	"math/rand/v2"

	"relight/internal/core/pace"
)

// Scenario is one mass failure.
type Scenario struct {
	Servers int
	Waves   int
	Seed    uint64
	// Errors is the share of calls that fail for no reason of the caller's.
	Errors float64
	// Shortages lists the times in which types have no capacity.
	Shortages []Shortage
	// Strict holds a launch back until the waves below are verified. Without it,
	// launches go ahead and only what gives the server its identity waits: the
	// volumes and the interface.
	Strict bool
}

// priorities is the number of priorities, types that of instance types.
const (
	priorities = 5
	types      = 8
	volumes    = 2 // besides the root, which comes with the launch
)

// server is one of the zone's.
type server struct {
	name           string
	priority, wave int
	kind           int // instance type
	after          []int
}

// zone makes the servers: as many waves as asked for, each depending on some of
// the wave below, in an order that neither names nor priorities give away.
func zone(s Scenario) []server {
	rng := rand.New(rand.NewPCG(s.Seed, 1)) //nolint:gosec // a seed that repeats
	fleet := make([]server, s.Servers)
	byWave := make([][]int, s.Waves+1)
	for place, i := range rng.Perm(s.Servers) {
		wave := 1 + place*s.Waves/s.Servers
		// What others wait for is at least as important as they are.
		fleet[i] = server{
			name: fmt.Sprintf("server-%06d", i), wave: wave, kind: rng.IntN(types),
			priority: priorities - 1 - (wave-1)*priorities/s.Waves,
		}
		byWave[wave] = append(byWave[wave], i)
	}
	for i := range fleet {
		below := byWave[fleet[i].wave-1]
		for range min(3, len(below)) {
			fleet[i].after = append(fleet[i].after, below[rng.IntN(len(below))])
		}
	}
	return fleet
}

// nodes are the servers as a plan is made from.
func nodes(fleet []server) []pace.Node {
	out := make([]pace.Node, len(fleet))
	for i, s := range fleet {
		out[i] = pace.Node{Server: s.name, Priority: s.priority}
		for _, a := range s.after {
			out[i].After = append(out[i].After, fleet[a].name)
		}
	}
	return out
}
