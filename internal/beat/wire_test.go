package beat

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"relight/internal/core/fleet"
)

func testKey(b byte) (k Key) {
	for i := range k {
		k[i] = b
	}
	return k
}

func TestBeatFormatIsStable(t *testing.T) {
	b := Beat{
		Agent: 7, Counter: 3, Salt: 0x010203, Session: 9, SentAt: 100, Kind: HostAgent,
		Items: []Item{{Server: "db", Epoch: 2, Progress: 5, Since: 50, Alive: fleet.Yes, Works: fleet.No, CannotLie: true}},
	}
	got := hex.EncodeToString(appendBeat(nil, &b))
	want := "01" + "01" + "0000000000000007" + "010203" + "0000000000000003" +
		"0000000000000009" + "0000000000000064" + "01" + "01" +
		"02" + "19" + "0000000000000002" + "0000000000000005" + "0000000000000032" + hex.EncodeToString([]byte("db"))
	if got != want {
		t.Errorf("beat on the wire\n got %s\nwant %s", got, want)
	}
	ack := Ack{Agent: 7, Counter: 3, Session: 9, Highest: 3, Term: 4, Lease: 5, Work: true, Hello: false}
	got = hex.EncodeToString(appendAck(nil, &ack, &[nonceTail]byte{1}))
	want = "01" + "02" + "0000000000000007" + "0100000000000000000000" +
		"0000000000000003" + "0000000000000009" + "0000000000000003" + "0000000000000004" + "0000000000000005" + "01"
	if got != want {
		t.Errorf("ack on the wire\n got %s\nwant %s", got, want)
	}
}

func itemGen() *rapid.Generator[Item] {
	return rapid.Custom(func(t *rapid.T) Item {
		return Item{
			Server: rapid.StringMatching(`[!-~]{1,63}`).Draw(t, "server"),
			Epoch:  fleet.Epoch(rapid.Uint64().Draw(t, "epoch")), Progress: rapid.Uint64().Draw(t, "progress"),
			Since: rapid.Int64().Draw(t, "since"),
			Alive: Answer(rapid.IntRange(0, 2).Draw(t, "alive")), Works: Answer(rapid.IntRange(0, 2).Draw(t, "works")),
			CannotLie: rapid.Bool().Draw(t, "cannotLie"),
		}
	})
}

func TestBeatRoundTrip(t *testing.T) {
	k := testKey(1)
	rapid.Check(t, func(t *rapid.T) {
		in := Beat{
			Agent: AgentID(rapid.Uint64().Draw(t, "agent")), Counter: rapid.Uint64().Draw(t, "counter"),
			Salt: rapid.Uint32Range(0, 0xffffff).Draw(t, "salt"), Session: rapid.Uint64().Draw(t, "session"),
			SentAt: rapid.Int64().Draw(t, "sentAt"), Kind: Kind(rapid.IntRange(1, 2).Draw(t, "kind")),
			Items: rapid.SliceOfN(itemGen(), 1, 60).Draw(t, "items"),
		}
		in.Items = in.Items[:fit(in.Items)]
		sealed, err := SealBeat(nil, &k, &in)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) > MaxDatagram {
			t.Fatalf("datagram has %d bytes", len(sealed))
		}
		out, err := OpenBeat(&k, sealed)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(in, out); d != "" {
			t.Fatal(d)
		}
	})
}

func TestTamperedBytesAreRefused(t *testing.T) {
	k := testKey(1)
	b := Beat{Agent: 7, Counter: 3, Kind: HostAgent, Items: []Item{{Server: "db"}}}
	sealed, err := SealBeat(nil, &k, &b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		bad := append([]byte(nil), sealed...)
		bad[i] ^= 0x80
		if _, err := OpenBeat(&k, bad); !errors.Is(err, ErrTag) && !errors.Is(err, ErrVersion) {
			t.Errorf("byte %d flipped: error %v", i, err)
		}
		if _, err := OpenBeat(&k, sealed[:i]); err == nil {
			t.Errorf("cut to %d bytes: taken", i)
		}
	}
	other := testKey(2)
	if _, err := OpenBeat(&other, sealed); !errors.Is(err, ErrTag) {
		t.Errorf("other key: error %v", err)
	}
	if _, err := OpenAck(&k, sealed); !errors.Is(err, ErrVersion) {
		t.Errorf("beat taken as ack: error %v", err)
	}
}

func TestSealBeatRefusesWhatDoesNotFit(t *testing.T) {
	k := testKey(1)
	for _, name := range []string{"", "a b", "ü", "x\n", strings.Repeat("x", MaxName+1)} {
		_, err := SealBeat(nil, &k, &Beat{Kind: HostAgent, Items: []Item{{Server: name}}})
		if !errors.Is(err, ErrName) {
			t.Errorf("name %q: error %v", name, err)
		}
	}
	many := make([]Item, 100)
	for i := range many {
		many[i].Server = fmt.Sprintf("server-%d", i)
	}
	if _, err := SealBeat(nil, &k, &Beat{Kind: HostAgent, Items: many}); !errors.Is(err, ErrShort) {
		t.Errorf("100 items in one datagram: error %v", err)
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	k := testKey('s')
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %#v %s", k, k, SiteKey(k)), fmt.Sprintf("%#v", SiteKey(k))} {
		if strings.Contains(s, "sss") || strings.Contains(s, "115") || strings.Contains(s, "0x73") {
			t.Errorf("key shown: %s", s)
		}
	}
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []uint64
		want []bool
	}{
		{"rising", []uint64{1, 2, 3}, []bool{true, true, true}},
		{"repeated", []uint64{5, 5, 6, 5, 6}, []bool{true, false, true, false, false}},
		{"reordered", []uint64{10, 8, 9, 8, 9}, []bool{true, true, true, false, false}},
		{"edge of the window", []uint64{100, 37, 36, 37}, []bool{true, true, false, false}},
		{"far ahead", []uint64{1, 1 << 60, 1<<60 - 1, 1}, []bool{true, true, true, false}},
		{"ahead by 63, 64, 65", []uint64{1, 64, 1, 128, 64, 193, 128}, []bool{true, true, false, true, false, true, false}},
		{"zero", []uint64{0, 1, 0}, []bool{false, true, false}},
		{"the last", []uint64{math.MaxUint64, math.MaxUint64 - 1, math.MaxUint64}, []bool{true, true, false}},
	} {
		var w window
		for i, n := range c.in {
			got := w.fresh(n)
			if got {
				w.take(n)
			}
			if got != c.want[i] {
				t.Errorf("%s: %d (step %d) fresh = %v", c.name, n, i, got)
			}
		}
	}
}

func TestWindowTakesNothingTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		taken := map[uint64]bool{}
		var highest uint64
		for _, n := range rapid.SliceOf(rapid.Uint64Range(0, 300)).Draw(t, "counters") {
			want := n > 0 && !taken[n] && n+64 > highest
			if got := w.fresh(n); got != want {
				t.Fatalf("%d after highest %d: fresh = %v", n, highest, got)
			}
			if want {
				w.take(n)
				taken[n] = true
				highest = max(highest, n)
			}
		}
	})
}
