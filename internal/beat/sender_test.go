package beat

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

func newTestSender(targets int, start uint64) *Sender {
	return NewSender(SenderConfig{
		Agent: 1, Key: testKey(1), Kind: HostAgent, Every: time.Second, Targets: targets, Start: start,
		Margin: time.Second, Rand: rand.New(rand.NewPCG(1, 2)),
	})
}

// step runs Step and opens what it sends.
func step(t *testing.T, s *Sender, now int64, items ...Item) []Beat {
	t.Helper()
	out, err := s.Step(now, items)
	if err != nil {
		t.Fatal(err)
	}
	k := testKey(1)
	var beats []Beat
	for _, d := range out.Sealed {
		b, err := OpenBeat(&k, d)
		if err != nil {
			t.Fatal(err)
		}
		beats = append(beats, b)
	}
	return beats
}

// sealAck makes an ack as a receiver with this agent's key would.
func sealAck(a Ack) []byte {
	k := testKey(1)
	nonce := [nonceTail]byte{byte(a.Counter), byte(a.Term)}
	return new(sealer).seal(newAEAD(&k), appendAck(nil, &a, &nonce))
}

// greeted returns a sender that knows session 77 of its first target at time 1 s.
func greeted(t *testing.T, targets int) *Sender {
	t.Helper()
	s := newTestSender(targets, 1000)
	hello := step(t, s, second, Item{Server: "db"})
	if len(hello) != 1 || hello[0].Session != 0 || len(hello[0].Items) != 0 || hello[0].Counter != 1000 {
		t.Fatalf("hello %+v", hello)
	}
	if err := s.Acked(second, sealAck(Ack{Agent: 1, Counter: 1000, Session: 77, Term: 5, Hello: true})); err != nil {
		t.Fatal(err)
	}
	if l := s.Lease(); l.Until != 0 || l.Term != 5 {
		t.Fatalf("lease %+v from a hello", l)
	}
	return s
}

func TestSenderGreetsThenBeats(t *testing.T) {
	s := greeted(t, 1)
	if due := s.Due(); due != second+minGap {
		t.Fatalf("due at %d after the hello", due)
	}
	if early := step(t, s, second+minGap-1); len(early) != 0 {
		t.Errorf("sent %d beats before due", len(early))
	}
	now := s.Due()
	b := step(t, s, now, Item{Server: "db", Epoch: 4})
	if len(b) != 1 || b[0].Session != 77 || b[0].Counter != 1001 || b[0].SentAt != now || b[0].Items[0].Epoch != 4 {
		t.Fatalf("beat %+v", b)
	}
	// The ack comes 3 s later; the lease is counted from the send all the same.
	ack := Ack{Agent: 1, Counter: 1001, Session: 77, Term: 5, Lease: 10 * time.Second, Work: true}
	if err := s.Acked(now+3*second, sealAck(ack)); err != nil {
		t.Fatal(err)
	}
	if l := s.Lease(); l.Until != now+9*second || l.Term != 5 {
		t.Errorf("lease %+v, want until %d", l, now+9*second)
	}
	if !s.Work() {
		t.Error("the work bit was lost")
	}
}

func TestSenderRefusesAcks(t *testing.T) {
	s := greeted(t, 1)
	now := s.Due()
	step(t, s, now)
	good := Ack{Agent: 1, Counter: 1001, Session: 77, Term: 5, Lease: 10 * time.Second}
	with := func(f func(*Ack)) []byte { a := good; f(&a); return sealAck(a) }
	tampered := sealAck(good)
	tampered[30] ^= 1
	k := testKey(1)
	echo, _ := SealBeat(nil, &k, &Beat{Agent: 1, Counter: 1001, Kind: HostAgent})
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"tampered", tampered, ErrTag},
		{"our own beat sent back", echo, ErrVersion},
		{"older term", with(func(a *Ack) { a.Term = 4 }), ErrOldTerm},
		{"another agent", with(func(a *Ack) { a.Agent = 2 }), ErrUnknownAgent},
		{"counter never sent", with(func(a *Ack) { a.Counter = 1002 }), ErrUnasked},
		{"counter acked before", with(func(a *Ack) { a.Counter = 1000 }), ErrUnasked},
		{"counter 0", with(func(a *Ack) { a.Counter = 0 }), ErrUnasked},
		{"hello with a lease", with(func(a *Ack) { a.Hello = true }), ErrMalformed},
		{"negative lease", with(func(a *Ack) { a.Lease = -1 }), ErrMalformed},
		{"short", []byte{1, 2}, ErrShort},
	} {
		if err := s.Acked(now, c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
		if s.Lease() != (Lease{Term: 5}) {
			t.Errorf("%s: lease %+v", c.name, s.Lease())
		}
	}
	if err := s.Acked(now, sealAck(good)); err != nil {
		t.Fatal(err)
	}
	if err := s.Acked(now, sealAck(good)); !errors.Is(err, ErrUnasked) {
		t.Errorf("the same ack again: error %v", err)
	}
}

func TestSenderKeepsLongestLeaseAndNewestSession(t *testing.T) {
	s := greeted(t, 1)
	first := s.Due()
	step(t, s, first)
	second := s.Due()
	step(t, s, second)
	newer := Ack{Agent: 1, Counter: 1002, Session: 88, Term: 6, Lease: 10 * time.Second}
	older := Ack{Agent: 1, Counter: 1001, Session: 77, Term: 6, Lease: 10 * time.Second, Work: true}
	for _, a := range []Ack{newer, older} {
		if err := s.Acked(second, sealAck(a)); err != nil {
			t.Fatal(err)
		}
	}
	if l := s.Lease(); l.Until != second+int64(9*time.Second) || l.Term != 6 {
		t.Errorf("lease %+v", l)
	}
	if s.Work() {
		t.Error("an overtaken ack set the work bit")
	}
	if b := step(t, s, s.Due()); b[0].Session != 88 {
		t.Errorf("session %d", b[0].Session)
	}
	// The longest is that of the present term: a new controller may grant less.
	for _, c := range []struct {
		term          fleet.Term
		grants, wants time.Duration
	}{{6, time.Second, 10 * time.Second}, {7, 3 * time.Second, 3 * time.Second}, {7, time.Second, 3 * time.Second}} {
		at := s.Due()
		b := step(t, s, at)
		if err := s.Acked(at, sealAck(Ack{Agent: 1, Counter: b[0].Counter, Session: 88, Term: c.term, Lease: c.grants})); err != nil {
			t.Fatal(err)
		}
		if l := s.Lease(); l.Longest != c.wants {
			t.Errorf("term %d grants %s: the longest is %s", c.term, c.grants, l.Longest)
		}
	}
}

func TestSenderCatchesUpWithItsEarlierCounter(t *testing.T) {
	s := newTestSender(1, 10)
	step(t, s, second)
	// The wall clock was set back: the receiver has seen 5000 before.
	if err := s.Acked(second, sealAck(Ack{Agent: 1, Counter: 10, Session: 77, Highest: 5000, Hello: true})); err != nil {
		t.Fatal(err)
	}
	if b := step(t, s, s.Due()); b[0].Counter != 5001 {
		t.Errorf("counter %d", b[0].Counter)
	}
}

func TestSenderSplitsManyItems(t *testing.T) {
	s := greeted(t, 1)
	var items []Item
	for i := range 200 {
		items = append(items, Item{Server: fmt.Sprintf("server-%03d", i), Epoch: fleet.Epoch(i)})
	}
	n := 0
	for _, b := range step(t, s, s.Due(), items...) {
		if b.Counter != 1001+uint64(n/len(b.Items)) && len(b.Items) > 30 {
			t.Errorf("counter %d", b.Counter)
		}
		for _, it := range b.Items {
			if it != items[n] {
				t.Errorf("item %d is %+v", n, it)
			}
			n++
		}
	}
	if n != len(items) {
		t.Errorf("%d of %d items sent", n, len(items))
	}
}

func TestSenderLeavesOutBadNames(t *testing.T) {
	s := greeted(t, 1)
	out, err := s.Step(s.Due(), []Item{{Server: "db"}, {Server: "no good"}, {Server: ""}, {Server: "web"}})
	if !errors.Is(err, ErrName) {
		t.Errorf("error %v", err)
	}
	k := testKey(1)
	b, err := OpenBeat(&k, out.Sealed[0])
	if err != nil || len(b.Items) != 2 || b.Items[1].Server != "web" {
		t.Errorf("beat %+v, %v", b, err)
	}
}

func TestSenderPacesWithJitter(t *testing.T) {
	s := newTestSender(1, 1)
	now := second
	gaps := map[int64]bool{}
	for range 200 {
		step(t, s, now)
		gap := s.Due() - now
		if gap < second*9/10 || gap > second*11/10 {
			t.Fatalf("gap of %d ns", gap)
		}
		gaps[gap] = true
		now = s.Due()
	}
	if len(gaps) < 100 {
		t.Errorf("only %d different gaps", len(gaps))
	}
}

func TestNudgesAreNoFlood(t *testing.T) {
	s := greeted(t, 1)
	now := s.Due()
	end := now + second
	sent := 0
	for ; now < end; now += int64(time.Millisecond) {
		s.Nudge(now)
		sent += len(step(t, s, now))
	}
	if sent < 40 || sent > 50 {
		t.Errorf("%d beats in a second of constant nudges, want one each 20 ms", sent)
	}
}

func TestSenderTriesTheNextController(t *testing.T) {
	s := greeted(t, 3)
	var targets []int
	for range 8 {
		out, err := s.Step(s.Due(), nil)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, out.Target)
	}
	if got := fmt.Sprint(targets); got != "[0 0 0 1 1 1 2 2]" {
		t.Errorf("targets %s", got)
	}
	// A late ack of another controller does not keep this one.
	if err := s.Acked(0, sealAck(Ack{Agent: 1, Counter: 1006, Session: 8, Term: 5, Hello: true})); err != nil {
		t.Fatal(err)
	}
	if s.misses != 2 {
		t.Errorf("%d misses of controller 2 after an ack of controller 1", s.misses)
	}
	// An ack of the one that is spoken to does.
	if err := s.Acked(0, sealAck(Ack{Agent: 1, Counter: 1008, Session: 9, Term: 5, Hello: true})); err != nil {
		t.Fatal(err)
	}
	b := step(t, s, s.Due())
	if b[0].Session != 9 || s.target != 2 || s.misses != 1 {
		t.Errorf("beat %+v to %d after %d misses", b[0], s.target, s.misses)
	}
}

// A sender and a table, with loss and reordering: the holder's lease never lasts
// longer than what the grantor recorded.
func TestSenderAndTableAgreeOnLeases(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	r := newRig(t, 1)
	s := newTestSender(1, 1)
	var wire [][]byte
	now := second
	for range 3000 {
		now += rng.Int64N(second / 2)
		out, err := s.Step(now, []Item{{Server: "db"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range out.Sealed {
			wire = append(wire, append([]byte(nil), d...))
		}
		for len(wire) > 0 && rng.IntN(3) > 0 {
			i := rng.IntN(len(wire))
			d := append([]byte(nil), wire[i]...)
			if rng.IntN(4) > 0 {
				wire = append(wire[:i], wire[i+1:]...) // else it comes twice
			}
			if rng.IntN(10) == 0 {
				continue
			}
			if rng.IntN(20) == 0 {
				r.table.Withhold(1)
			} else {
				r.table.Release(1)
			}
			if ack, err := r.table.Handle(now, nil, d); err == nil {
				_ = s.Acked(now, ack)
			}
			seen, _ := r.table.Last(1)
			if s.Lease().Until > seen.GrantedUntil {
				t.Fatalf("holder has it until %d, grantor thinks %d", s.Lease().Until, seen.GrantedUntil)
			}
		}
		r.table.SetGrant(Grant{Term: 5, Lease: 10 * time.Second, NotAfter: now + second})
	}
	if s.Lease().Until == 0 {
		t.Error("no lease was ever granted")
	}
}
