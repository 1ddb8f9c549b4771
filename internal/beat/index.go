package beat

// agentHash spreads agents over stripes, by its highest bits, and within them, by
// those below.
func agentHash(id AgentID) uint64 { return uint64(id) * 0x9e3779b97f4a7c15 }

// stripeBits is the number of agentHash's bits that choose the stripe.
const stripeBits = 6

// index finds an agent's place in its stripe's list. It is an open table of places
// alone, at most half full: the whole index of 100,000 agents is 1 MB and stays in
// the processor's cache, where a map with its keys does not.
type index struct {
	slots []int32 // place + 1, 0 if free; the length is a power of two
}

// home is the slot at which the search for an agent begins.
func (x *index) home(id AgentID) int {
	return int(agentHash(id)<<stripeBits>>32) & (len(x.slots) - 1)
}

// find returns the agent's slot and place, or the free slot where it belongs.
func (x *index) find(id AgentID, agents []agentState) (slot int, place int32, ok bool) {
	if len(x.slots) == 0 {
		return 0, 0, false
	}
	for slot = x.home(id); x.slots[slot] != 0; slot = (slot + 1) & (len(x.slots) - 1) {
		place = x.slots[slot] - 1
		if agents[place].id == id {
			return slot, place, true
		}
	}
	return slot, 0, false
}

// grow makes room for one agent more than there are.
func (x *index) grow(agents []agentState) {
	if 2*(len(agents)+1) <= len(x.slots) {
		return
	}
	x.slots = make([]int32, max(2*len(x.slots), 8))
	for i := range agents {
		slot, _, _ := x.find(agents[i].id, agents)
		x.slots[slot] = int32(i) + 1
	}
}

// free empties a slot and moves up those that were pushed past it, so that no
// search ends early.
func (x *index) free(slot int, agents []agentState) {
	mask := len(x.slots) - 1
	hole := slot
	for next := (hole + 1) & mask; x.slots[next] != 0; next = (next + 1) & mask {
		home := x.home(agents[x.slots[next]-1].id)
		if (next-home)&mask >= (next-hole)&mask {
			x.slots[hole] = x.slots[next]
			hole = next
		}
	}
	x.slots[hole] = 0
}

// find returns the agent's state, or nil.
func (s *stripe) find(id AgentID) *agentState {
	if _, place, ok := s.index.find(id, s.agents); ok {
		return &s.agents[place]
	}
	return nil
}

// add adds an agent that is not there.
func (s *stripe) add(a agentState) *agentState {
	s.index.grow(s.agents)
	slot, _, _ := s.index.find(a.id, s.agents)
	s.agents = append(s.agents, a)
	s.index.slots[slot] = int32(len(s.agents))
	return &s.agents[len(s.agents)-1]
}

// remove removes an agent; the last one takes its place.
func (s *stripe) remove(id AgentID) {
	slot, place, ok := s.index.find(id, s.agents)
	if !ok {
		return
	}
	s.index.free(slot, s.agents)
	last := int32(len(s.agents) - 1)
	if place != last {
		moved, _, _ := s.index.find(s.agents[last].id, s.agents)
		s.agents[place] = s.agents[last]
		s.index.slots[moved] = place + 1
	}
	s.agents[last] = agentState{}
	s.agents = s.agents[:last]
}
