package world

import (
	"fmt"
	"slices"
	"time"
)

// Group is a load balancer's target group.
type Group struct {
	Name string
	// Drain is how long a deregistered target keeps the connections that it has.
	Drain time.Duration
	// Every, Rise and Fall are the health check: its period, and after how many
	// successes or failures in a row it changes its mind.
	Every      time.Duration
	Rise, Fall int

	members []*Member
	next    int // of its healthy members
	ticking bool
	dirty   bool
}

// MemberState is a target's state in its group, by a load balancer's names.
type MemberState string

// The states of a target.
const (
	MemberInitial   MemberState = "initial"
	MemberHealthy   MemberState = "healthy"
	MemberUnhealthy MemberState = "unhealthy"
	MemberDraining  MemberState = "draining"
)

// Member is a target of a group.
type Member struct {
	Instance string
	// Port is the one that it was registered with, 0 without one: the group's own.
	Port  int
	State MemberState

	streak int // checks in a row that contradict the state
	turn   int // counts registrations, so that an old drain ends no new one
}

// AddGroup adds a target group without members. Zero Rise and Fall mean 1.
func (w *World) AddGroup(g Group) {
	g.Rise, g.Fall = max(g.Rise, 1), max(g.Fall, 1)
	w.groups[g.Name] = &g
}

// Members returns the targets of a group in the order in which they came.
// Callers read them only. Errors: ErrNotFound.
func (w *World) Members(group string) ([]*Member, error) {
	g := w.groups[group]
	if g == nil {
		return nil, fmt.Errorf("target group %s: %w", group, ErrNotFound)
	}
	return g.members, nil
}

// Register makes an instance a target of a group on the group's own port.
func (w *World) Register(group string, i *Instance) error { return w.RegisterOn(group, i, 0) }

// RegisterOn makes an instance a target of a group; a draining one comes back. A
// load balancer does not ask whether another epoch is there already.
// Errors: ErrNotFound; ErrInstanceState of one that is gone.
func (w *World) RegisterOn(group string, i *Instance, port int) error {
	g := w.groups[group]
	switch {
	case g == nil:
		return fmt.Errorf("target group %s: %w", group, ErrNotFound)
	case i.State.Gone():
		return fmt.Errorf("%s is %s: %w", i.name(), i.PlatformState(), ErrInstanceState)
	}
	w.tookEpoch(i)
	m := g.member(i.ID, port)
	if m == nil {
		m = &Member{Instance: i.ID, Port: port, State: MemberDraining}
		g.members = append(g.members, m)
		i.net().groups = insert(i.net().groups, group)
	}
	if m.State == MemberDraining {
		m.State, m.streak = MemberInitial, 0
		m.turn++
	}
	w.note("register", group, i.Server, i.name())
	w.touch(g)
	w.checkLater(g)
	return nil
}

// Deregister is DeregisterFrom of the group's own port.
func (w *World) Deregister(group string, i *Instance) error { return w.DeregisterFrom(group, i, 0) }

// DeregisterFrom lets a target drain, then removes it; one that is no target on that very
// port is left alone. Errors: ErrNotFound (the group).
func (w *World) DeregisterFrom(group string, i *Instance, port int) error {
	g := w.groups[group]
	if g == nil {
		return fmt.Errorf("target group %s: %w", group, ErrNotFound)
	}
	m := g.member(i.ID, port)
	if m == nil || m.State == MemberDraining {
		return nil
	}
	m.State = MemberDraining
	turn := m.turn
	w.note("deregister", group, i.Server, i.name())
	w.touch(g)
	w.afterSpan(Span{Min: g.Drain}, func() {
		if m.State == MemberDraining && m.turn == turn {
			g.members = slices.DeleteFunc(g.members, func(o *Member) bool { return o == m })
			if !slices.ContainsFunc(g.members, func(o *Member) bool { return o.Instance == i.ID }) {
				i.net().groups = remove(i.net().groups, group)
			}
			w.touch(g)
		}
	})
	return nil
}

func (g *Group) member(instance string, port int) *Member {
	for _, m := range g.members {
		if m.Instance == instance && m.Port == port {
			return m
		}
	}
	return nil
}

// checkLater keeps a group with targets checking their health.
func (w *World) checkLater(g *Group) {
	if g.ticking {
		return
	}
	g.ticking = true
	w.After(max(g.Every, time.Second), func() {
		g.ticking = false
		for _, m := range g.members {
			g.judge(m, w.serves(w.instances[m.Instance]))
		}
		if len(g.members) > 0 {
			w.checkLater(g)
		}
	})
}

// judge takes the result of one health check of a target.
func (g *Group) judge(m *Member, good bool) {
	want, after := MemberUnhealthy, g.Fall
	if good {
		want, after = MemberHealthy, g.Rise
	}
	if m.State == want || m.State == MemberDraining {
		m.streak = 0
		return
	}
	m.streak++
	if m.streak >= after {
		m.State, m.streak = want, 0
	}
}

// pick returns the target for a new connection: the healthy ones in turn, or, if
// there is none, any that is not draining, as load balancers do.
func (g *Group) pick() string {
	for _, wanted := range [][]MemberState{{MemberHealthy}, {MemberInitial, MemberUnhealthy}} {
		for range g.members {
			m := g.members[g.next%len(g.members)]
			g.next++
			if slices.Contains(wanted, m.State) {
				return m.Instance
			}
		}
	}
	return ""
}

func (g *Group) soil() bool    { return soil(&g.dirty) }
func (g *Group) record(*World) {}

// check reports two epochs of one server that both take new connections.
func (g *Group) check(w *World) {
	g.dirty = false
	var first *Instance
	for _, m := range g.members {
		i := w.instances[m.Instance]
		if m.State == MemberDraining || !w.able(i) {
			continue
		}
		if first != nil && first.Server == i.Server && first.Epoch != i.Epoch {
			w.violate("S1", g.Name, fmt.Sprintf("%s and %s both have the place", first.name(), i.name()))
		}
		first = i
	}
}
