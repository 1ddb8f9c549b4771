package simulate

import (
	"fmt"
	"strconv"
)

// onMember makes a fault of something that is done to a member of the store: by its name,
// or "leader" for the one that leads. Without a leader nothing happens.
func onMember(do func(q *quorum, m *member, f Fault) (end func(), err error)) func(*engine, Fault) (func(), error) {
	return func(e *engine, f Fault) (func(), error) {
		q := e.quorum
		if q == nil {
			return nil, fmt.Errorf("the store has no members; write \"members 3\" into the world")
		}
		m := q.named(f.Object)
		if m == nil && f.Object != "leader" {
			return nil, fmt.Errorf("there is no member %q: they are called m1, m2 ..., or leader", f.Object)
		}
		if m == nil {
			return nil, nil
		}
		return do(q, m, f)
	}
}

// memberKinds are the faults of a store's members.
func memberKinds() []kind {
	return []kind{
		{class: "member", verb: "dies", lasts: true, apply: onMember(func(q *quorum, m *member, _ Fault) (func(), error) {
			return q.fall(m, nil), nil
		})},
		{class: "member", verb: "dies-halfway", args: "COPIES", min: 1, max: 1, lasts: true, apply: onMember(diesHalfway)},
		{class: "member", verb: "cut", lasts: true, apply: onMember(func(q *quorum, m *member, _ Fault) (func(), error) {
			return q.part(m), nil
		})},
		{class: "member", verb: "torn", args: "RECORDS", min: 1, max: 1, lasts: true, apply: onMember(func(q *quorum, m *member, f Fault) (func(), error) {
			n, err := records(f)
			if err != nil {
				return nil, err
			}
			return q.fall(m, func(log []*logged) []*logged { return log[:max(0, len(log)-n):max(0, len(log)-n)] }), nil
		})},
		{class: "member", verb: "emptied", lasts: true, apply: onMember(func(q *quorum, m *member, _ Fault) (func(), error) {
			return q.fall(m, func([]*logged) []*logged { return nil }), nil
		})},
	}
}

func records(f Fault) (int, error) {
	n, err := strconv.Atoi(f.Args[0])
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no number of records", f.Args[0])
	}
	return n, nil
}

// diesHalfway has the leader die in the middle of its next write, when so many others
// have its record: nobody can tell yet whether it will count.
func diesHalfway(q *quorum, _ *member, f Fault) (func(), error) {
	n, err := records(f)
	switch {
	case err != nil:
		return nil, err
	case f.Object != "leader":
		return nil, fmt.Errorf("only the leader hands records out")
	}
	var back func()
	q.halfway, q.fell = n, func(m *member) {
		q.e.line("store", "member "+m.name+" dies in the middle of a write")
		back = q.riseWith(m, nil)
	}
	return func() {
		if back == nil {
			q.halfway = -1
			return
		}
		back()
	}, nil
}
