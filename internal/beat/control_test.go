package beat

import (
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestLeaseIsGrantedAndWithheld(t *testing.T) {
	r := newRig(t, 1)
	lease := func(now int64, counter uint64) time.Duration {
		t.Helper()
		ack, err := r.beat(now, 1, counter)
		if err != nil {
			t.Fatal(err)
		}
		return ack.Lease
	}
	if got := lease(100*second, 1); got != 10*time.Second {
		t.Errorf("granted %v", got)
	}
	if until := r.table.Withhold(1); until != 110*second {
		t.Errorf("withheld: lease ends at %d", until)
	}
	if got := lease(105*second, 2); got != 0 {
		t.Errorf("granted %v though withheld", got)
	}
	if s, _ := r.table.Last(1); s.GrantedUntil != 110*second || !s.Withheld {
		t.Errorf("a withheld ack moved the deadline: %+v", s)
	}
	r.table.Release(1)
	if got := lease(106*second, 3); got != 10*time.Second {
		t.Errorf("granted %v after release", got)
	}
	r.table.SetGrant(Grant{Term: 6, Lease: time.Second, NotAfter: 200 * second})
	if got := lease(107*second, 4); got != time.Second {
		t.Errorf("granted %v", got)
	}
	if s, _ := r.table.Last(1); s.GrantedUntil != 116*second {
		t.Errorf("a shorter lease took back the longer one: %+v", s)
	}
	if got := lease(200*second, 5); got != 0 {
		t.Errorf("granted %v after the controller's own authority had ended", got)
	}
}

func TestNewOwnerAssumesEarlierGrants(t *testing.T) {
	keys := &Keys{}
	keys.Set(1, testKey(1))
	table, err := NewTable(TableConfig{
		Keys: keys, Allowed: func(AgentID, string) bool { return true },
		Rand: rand.Reader, AssumeLease: 10 * time.Second, Margin: time.Second,
	}, 100*second)
	if err != nil {
		t.Fatal(err)
	}
	if got := table.Withhold(1); got != 111*second {
		t.Errorf("a silent agent's lease is taken to end at %d", got)
	}
	if s, ok := table.Last(2); ok || s.GrantedUntil != 111*second {
		t.Errorf("an unknown agent: %v %+v", ok, s)
	}
	table.Assume(120 * second)
	table.Assume(90 * second)
	if s, _ := table.Last(1); s.GrantedUntil != 120*second {
		t.Errorf("after a later takeover: %+v", s)
	}
}

func TestWorkBit(t *testing.T) {
	r := newRig(t, 1)
	r.table.SetWork(1, true)
	if ack, err := r.beat(second, 1, 1); err != nil || !ack.Work {
		t.Errorf("work waits: %+v, %v", ack, err)
	}
	r.table.SetWork(1, false)
	if ack, err := r.beat(second, 1, 2); err != nil || ack.Work {
		t.Errorf("no work waits: %+v, %v", ack, err)
	}
}

func TestKeyIsChangedWithoutLosingABeat(t *testing.T) {
	r := newRig(t, 1)
	oldKey, newKey := testKey(1), testKey(99)
	b := Beat{Agent: 1, Session: r.table.Session(), Kind: GuestAgent}
	send := func(k Key, want error) {
		t.Helper()
		b.Counter++
		if _, err := r.send(second, k, b); !errors.Is(err, want) {
			t.Errorf("counter %d: error %v, want %v", b.Counter, err, want)
		}
	}
	send(oldKey, nil)
	send(newKey, ErrTag)
	r.keys.Set(1, newKey, oldKey)
	r.table.Rekey(1)
	send(oldKey, nil)
	send(oldKey, nil)
	send(newKey, nil)
	send(newKey, nil)
	send(oldKey, ErrTag)
	r.keys.Set(1)
	r.table.Drop(1)
	send(newKey, ErrUnknownAgent)
}

func TestDropKeepsTheOthers(t *testing.T) {
	var ids []AgentID
	for id := AgentID(1); id < 200; id++ {
		ids = append(ids, id)
	}
	r := newRig(t, ids...)
	for _, id := range ids {
		if _, err := r.beat(second, id, 1, Item{Server: fmt.Sprint("s", id)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		if id%3 == 0 {
			r.table.Drop(id)
		}
	}
	for _, id := range ids {
		_, ok := r.table.Item(id, fmt.Sprint("s", id))
		if ok != (id%3 != 0) {
			t.Errorf("agent %d: known = %v", id, ok)
		}
	}
}
