package beat

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// Sealed content is fuzzed by sealing the fuzzer's bytes: whoever has a key may
// still send anything.

func FuzzBeat(f *testing.F) {
	seed := Beat{Kind: HostAgent, Session: 1, SentAt: 2, Items: []Item{{Server: "db", Epoch: 1, Alive: fleet.Yes}, {Server: "web"}}}
	f.Add(appendBeat(nil, &seed)[headerSize:])
	f.Add([]byte{})
	k := testKey(1)
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) > maxPlain {
			return
		}
		b := make([]byte, headerSize, MaxDatagram)
		putHeader(b, typeBeat, 1)
		sealed := new(sealer).seal(newAEAD(&k), append(b, plain...))
		got, err := OpenBeat(&k, sealed)
		if err != nil {
			return
		}
		if again := appendBeat(nil, &got)[headerSize:]; !bytes.Equal(again, plain) {
			t.Fatalf("two spellings of one beat:\n%x\n%x", plain, again)
		}
	})
}

func FuzzDatagram(f *testing.F) {
	k := testKey(1)
	keys := &Keys{}
	keys.Set(1, k)
	good, _ := SealBeat(nil, &k, &Beat{Agent: 1, Counter: 1, Kind: HostAgent, Items: []Item{{Server: "db"}}})
	f.Add(good)
	f.Add(sealAck(Ack{Agent: 1, Counter: 1, Lease: time.Second}))
	f.Fuzz(func(t *testing.T, d []byte) {
		table, err := NewTable(TableConfig{Keys: keys, Allowed: func(AgentID, string) bool { return true }, Rand: rand.Reader}, 0)
		if err != nil {
			t.Fatal(err)
		}
		out, err := table.Handle(1, nil, append([]byte(nil), d...))
		if (err == nil) != (len(out) > 0) {
			t.Fatalf("answer %x with error %v", out, err)
		}
		if err == nil && len(out) > MaxDatagram {
			t.Fatalf("answer of %d bytes", len(out))
		}
		_, _ = OpenBeat(&k, d)
		_, _ = OpenAck(&k, d)
		p := Peer{Self: 2, Keys: SiteKey(k), Rand: rand.Reader}
		_, _ = p.Reply(d, func(AgentID, PeerAsk) Answer { return fleet.No })
	})
}

func FuzzAck(f *testing.F) {
	f.Add(appendAck(nil, &Ack{Counter: 1, Lease: time.Second, Work: true}, &[nonceTail]byte{})[headerSize:])
	f.Fuzz(func(t *testing.T, plain []byte) {
		got, err := parseAck(1, plain)
		if err != nil {
			return
		}
		if again := appendAck(nil, &got, &[nonceTail]byte{})[headerSize:]; !bytes.Equal(again, plain) {
			t.Fatalf("two spellings of one ack:\n%x\n%x", plain, again)
		}
	})
}

func FuzzPeer(f *testing.F) {
	f.Add(appendAsk(nil, PeerAsk{Server: "db", Epoch: 3}))
	f.Add(make([]byte, nonceTail+1))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if ask, err := parseAsk(plain); err == nil && !bytes.Equal(appendAsk(nil, ask), plain) {
			t.Fatalf("two spellings of %+v", ask)
		}
		if _, a, err := parseReply(typeAnswer, plain); err == nil && (a < fleet.CannotTell || a > fleet.No) {
			t.Fatalf("answer %d", a)
		}
	})
}
