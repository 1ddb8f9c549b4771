package beat

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relight/internal/core/fleet"
)

const second = int64(time.Second)

// rig is a table with one or more enrolled agents and what it reports.
type rig struct {
	t       *testing.T
	table   *Table
	keys    *Keys
	changes []Change
	denied  map[string]bool
	asked   int
}

func newRig(t *testing.T, agents ...AgentID) *rig {
	r := &rig{t: t, keys: &Keys{}, denied: map[string]bool{}}
	for _, id := range agents {
		r.keys.Set(id, testKey(byte(id)))
	}
	table, err := NewTable(TableConfig{
		Keys:    r.keys,
		Allowed: func(_ AgentID, server string) bool { r.asked++; return !r.denied[server] },
		Changes: func(c Change) { r.changes = append(r.changes, c) },
		Rand:    rand.Reader, MaxItems: 100,
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	table.SetGrant(Grant{Term: 5, Lease: 10 * time.Second, NotAfter: 1000 * second})
	r.table = table
	return r
}

// beat hands a beat in the table's session to the table.
func (r *rig) beat(now int64, id AgentID, counter uint64, items ...Item) (Ack, error) {
	b := Beat{Agent: id, Counter: counter, Session: r.table.Session(), SentAt: now - second, Kind: HostAgent, Items: items}
	return r.send(now, testKey(byte(id)), b)
}

func (r *rig) send(now int64, k Key, b Beat) (Ack, error) {
	r.t.Helper()
	sealed, err := SealBeat(nil, &k, &b)
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := r.table.Handle(now, nil, sealed)
	if err != nil {
		if len(out) != 0 {
			r.t.Errorf("a refused beat is answered with %d bytes", len(out))
		}
		return Ack{}, err
	}
	ack, err := OpenAck(&k, out)
	if err != nil {
		r.t.Fatal(err)
	}
	return ack, nil
}

func (r *rig) wantDropped(want map[Reason]uint64) {
	r.t.Helper()
	got := map[Reason]uint64{}
	for reason, n := range r.table.Stats().Dropped {
		if n > 0 {
			got[Reason(reason)] = n
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		r.t.Errorf("dropped: %s", d)
	}
}

func TestBeatIsTakenAndAcked(t *testing.T) {
	r := newRig(t, 1)
	ack, err := r.beat(100*second, 1, 42, Item{Server: "db", Epoch: 3, Progress: 7, Since: 90 * second, Alive: fleet.Yes})
	if err != nil {
		t.Fatal(err)
	}
	want := Ack{Agent: 1, Counter: 42, Session: r.table.Session(), Highest: 42, Term: 5, Lease: 10 * time.Second}
	if d := cmp.Diff(want, ack); d != "" {
		t.Error(d)
	}
	seen, ok := r.table.Last(1)
	wantSeen := Seen{At: 100 * second, SentAt: 99 * second, Counter: 42, Kind: HostAgent, GrantedUntil: 110 * second}
	if d := cmp.Diff(wantSeen, seen); !ok || d != "" {
		t.Error(ok, d)
	}
	// Since comes on the controller's clock: 9 s before the beat was sent.
	item := ItemState{
		Item: Item{Server: "db", Epoch: 3, Progress: 7, Since: 91 * second, Alive: fleet.Yes},
		At:   100 * second, ProgressAt: 100 * second,
	}
	if d := cmp.Diff([]ItemState{item}, r.table.Items(1, nil)); d != "" {
		t.Error(d)
	}
	if got, ok := r.table.Item(1, "db"); !ok || got != item {
		t.Error("item:", ok, got)
	}
	if d := cmp.Diff([]Change{{Agent: 1, ItemState: item, SentAt: 99 * second, First: true}}, r.changes); d != "" {
		t.Error(d)
	}
	n := 0
	r.table.Each(func(id AgentID, s Seen, items []ItemState) {
		n++
		if id != 1 || s != wantSeen || len(items) != 1 {
			t.Error("each:", id, s, items)
		}
	})
	if n != 1 {
		t.Errorf("each saw %d agents", n)
	}
}

func TestReplayAndReorder(t *testing.T) {
	r := newRig(t, 1)
	for i, c := range []struct {
		counter uint64
		err     error
	}{{100, nil}, {100, ErrReplay}, {102, nil}, {101, nil}, {101, ErrReplay}, {36, ErrReplay}, {0, ErrReplay}, {1 << 62, nil}} {
		if _, err := r.beat(100*second, 1, c.counter); !errors.Is(err, c.err) {
			t.Errorf("step %d, counter %d: error %v, want %v", i, c.counter, err, c.err)
		}
	}
	r.wantDropped(map[Reason]uint64{Replay: 4})
}

func TestOvertakenBeatDoesNotOverwrite(t *testing.T) {
	r := newRig(t, 1)
	for _, b := range []struct {
		counter uint64
		epoch   fleet.Epoch
	}{{10, 2}, {9, 1}} {
		if _, err := r.beat(int64(b.counter)*second, 1, b.counter, Item{Server: "db", Epoch: b.epoch}); err != nil {
			t.Fatal(err)
		}
	}
	if it, _ := r.table.Item(1, "db"); it.Epoch != 2 {
		t.Errorf("epoch %d after an overtaken beat", it.Epoch)
	}
	if s, _ := r.table.Last(1); s.At != 10*second || s.Counter != 10 {
		t.Errorf("last seen %+v", s)
	}
	r.wantDropped(map[Reason]uint64{StaleItem: 1})
}

// A datagram that was recorded before the controller started is genuine and fits
// the empty window; only the session shows that it is old.
func TestBeatFromAnotherSessionProvesNothing(t *testing.T) {
	r := newRig(t, 1)
	k := testKey(1)
	old := Beat{
		Agent: 1, Counter: 1 << 62, Session: r.table.Session() + 1, Kind: HostAgent,
		Items: []Item{{Server: "db", Alive: fleet.No, CannotLie: true}},
	}
	for range 2 {
		ack, err := r.send(50*second, k, old)
		if err != nil {
			t.Fatal(err)
		}
		want := Ack{Agent: 1, Counter: 1 << 62, Session: r.table.Session(), Term: 5, Hello: true}
		if d := cmp.Diff(want, ack); d != "" {
			t.Error(d)
		}
	}
	if s, _ := r.table.Last(1); s.At != 0 || s.Counter != 0 || s.GrantedUntil != 0 {
		t.Errorf("a hello moved the state: %+v", s)
	}
	if len(r.changes) != 0 || len(r.table.Items(1, nil)) != 0 {
		t.Error("a hello's items were taken")
	}
	if st := r.table.Stats(); st.Hellos != 2 || st.Accepted != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestBadDatagramsAreCountedByReason(t *testing.T) {
	r := newRig(t, 1)
	k := testKey(1)
	good, err := SealBeat(nil, &k, &Beat{Agent: 1, Counter: 1, Session: r.table.Session(), Kind: HostAgent})
	if err != nil {
		t.Fatal(err)
	}
	mutate := func(f func([]byte) []byte) []byte { return f(append([]byte(nil), good...)) }
	seal := func(typ byte, plain []byte) []byte {
		b := make([]byte, headerSize)
		putHeader(b, typ, 1)
		b[headerSize-1] = 9
		return new(sealer).seal(newAEAD(&k), append(b, plain...))
	}
	odd := appendBeat(nil, &Beat{Session: r.table.Session(), Kind: HostAgent, Items: []Item{{Server: "db"}}})[headerSize:]
	for _, c := range []struct {
		name string
		in   []byte
		want Reason
	}{
		{"empty", nil, Short},
		{"header only", good[:headerSize], Short},
		{"too long", make([]byte, MaxDatagram+1), Short},
		{"version", mutate(func(b []byte) []byte { b[0]++; return b }), WrongVersion},
		{"type", mutate(func(b []byte) []byte { b[1] = typeAck; return b }), WrongVersion},
		{"agent", mutate(func(b []byte) []byte { b[9]++; return b }), UnknownAgent},
		{"counter", mutate(func(b []byte) []byte { b[headerSize-1]++; return b }), BadTag},
		{"tag", mutate(func(b []byte) []byte { b[len(b)-1]++; return b }), BadTag},
		{"no content", seal(typeBeat, nil), Malformed},
		{"bad kind", seal(typeBeat, append(make([]byte, 17), 0)), Malformed},
		{"item cut", seal(typeBeat, odd[:len(odd)-1]), Malformed},
		{"tail", seal(typeBeat, append(append([]byte(nil), odd...), 0)), Malformed},
	} {
		before := r.table.Stats().Dropped
		out, err := r.table.Handle(second, nil, append([]byte(nil), c.in...))
		if err == nil || len(out) > 0 {
			t.Errorf("%s: answered, error %v", c.name, err)
		}
		before[c.want]++
		if d := cmp.Diff(before, r.table.Stats().Dropped); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if _, err := r.table.Handle(second, nil, good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestAgentSpeaksOnlyOfItsServers(t *testing.T) {
	r := newRig(t, 1, 2)
	r.denied["other"] = true
	for counter := uint64(1); counter <= 3; counter++ {
		if _, err := r.beat(second, 1, counter, Item{Server: "db"}, Item{Server: "other"}, Item{Server: "web"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.table.Items(1, nil); len(got) != 2 || got[0].Server != "db" || got[1].Server != "web" {
		t.Errorf("items %+v", got)
	}
	r.wantDropped(map[Reason]uint64{ForeignItem: 3})
	if r.asked != 5 {
		t.Errorf("asked %d times, want 2 for the allowed and 3 for the denied", r.asked)
	}
	r.denied["db"] = true
	r.table.Recheck()
	if _, err := r.beat(second, 1, 4, Item{Server: "db"}, Item{Server: "web"}); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.table.Item(1, "db"); ok {
		t.Error("an item that is no longer allowed stayed")
	}
	if _, ok := r.table.Item(1, "web"); !ok {
		t.Error("an item that is still allowed went")
	}
	r.table.Forget(1, "web")
	if got := r.table.Items(1, nil); len(got) != 0 {
		t.Errorf("after Forget: %+v", got)
	}
}

func TestItemsOfOneAgentAreBounded(t *testing.T) {
	r := newRig(t, 1)
	for i := range 120 {
		if _, err := r.beat(second, 1, uint64(i+1), Item{Server: fmt.Sprint("s", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.table.Items(1, nil)); n != 100 {
		t.Errorf("%d items, want MaxItems = 100", n)
	}
	r.wantDropped(map[Reason]uint64{ForeignItem: 20})
}

func TestChangesAreToldOnce(t *testing.T) {
	r := newRig(t, 1)
	base := Item{Server: "db", Epoch: 1, Alive: fleet.Yes, Works: fleet.Yes}
	progress, epoch, works, lie := base, base, base, base
	progress.Progress = 9
	epoch.Epoch = 2
	works.Works = fleet.CannotTell
	lie.CannotLie = true
	for i, c := range []struct {
		item Item
		want bool
	}{{base, true}, {base, false}, {progress, false}, {epoch, true}, {base, true}, {works, true}, {base, true}, {lie, true}, {lie, false}} {
		r.changes = nil
		if _, err := r.beat(int64(i+1)*second, 1, uint64(i+1), c.item); err != nil {
			t.Fatal(err)
		}
		if got := len(r.changes) == 1; got != c.want {
			t.Errorf("step %d: told %v", i, r.changes)
		}
		if it, _ := r.table.Item(1, "db"); i == 2 && it.ProgressAt != 3*second || i == 1 && it.ProgressAt != second {
			t.Errorf("step %d: progress at %d", i, it.ProgressAt)
		}
	}
}

func TestNoncesOfAcksNeverRepeat(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		r := newRig(t, 1)
		k := testKey(1)
		for counter := uint64(1); counter <= 50; counter++ {
			sealed, _ := SealBeat(nil, &k, &Beat{Agent: 1, Counter: counter, Session: r.table.Session(), Kind: HostAgent})
			out, err := r.table.Handle(second, nil, sealed)
			if err != nil {
				t.Fatal(err)
			}
			nonce := string(out[1:2]) + string(out[10:headerSize])
			if seen[nonce] {
				t.Fatalf("nonce %x was used before", nonce)
			}
			seen[nonce] = true
		}
	}
}

func TestHandleDoesNotAllocate(t *testing.T) {
	r := newRig(t, 1)
	k := testKey(1)
	var w worker
	const runs = 200
	sealed := make([][]byte, runs+2)
	for i := range sealed {
		sealed[i], _ = SealBeat(nil, &k, &Beat{
			Agent: 1, Counter: uint64(i + 1), Session: r.table.Session(), Kind: HostAgent,
			Items: []Item{{Server: "web"}, {Server: "db"}, {Server: "app"}},
		})
	}
	dst := make([]byte, 0, MaxDatagram)
	i := 0
	handle := func() {
		if _, err := r.table.handle(&w, second, dst, sealed[i]); err != nil {
			t.Fatal(err)
		}
		i++
	}
	handle()
	if n := testing.AllocsPerRun(runs, handle); n != 0 {
		t.Errorf("%v allocations a beat", n)
	}
}

func TestStateIsSmall(t *testing.T) {
	if n := StateBytes(20); n > 256 {
		t.Errorf("the detector holds %d bytes for a server, want at most 256", n)
	}
}

// Readers and control calls run beside the receiver; the race detector judges.
func TestTableIsSafeForConcurrentUse(t *testing.T) {
	r := newRig(t, 1, 2, 3, 4)
	var wg sync.WaitGroup
	k := []Key{{}, testKey(1), testKey(2), testKey(3), testKey(4)}
	r.table.cfg.Changes = nil
	r.table.cfg.Allowed = func(AgentID, string) bool { return true }
	for id := AgentID(1); id <= 4; id++ {
		wg.Go(func() {
			for c := uint64(1); c <= 200; c++ {
				sealed, _ := SealBeat(nil, &k[id], &Beat{
					Agent: id, Counter: c, Session: r.table.Session(), Kind: HostAgent, Items: []Item{{Server: "db", Progress: c}},
				})
				if _, err := r.table.Handle(int64(c), nil, sealed); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				r.table.Withhold(id)
				r.table.Release(id)
				r.table.Items(id, nil)
				r.table.SetGrant(Grant{Term: 7})
				r.table.Each(func(AgentID, Seen, []ItemState) {})
				r.table.Recheck()
			}
		})
	}
	wg.Wait()
	if st := r.table.Stats(); st.Accepted != 800 {
		t.Errorf("accepted %d of 800", st.Accepted)
	}
}
