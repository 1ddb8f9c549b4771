package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"relight/internal/audit"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// chain makes n entries of a shard, with the heads after each; heads[0] is the
// head before the first.
func chain(t testing.TB, shard, n int) (entries []audit.Entry, heads []audit.Head) {
	t.Helper()
	head := audit.Genesis(shard)
	heads = append(heads, head)
	for i := range n {
		ev := event.Event{
			Version: event.Version, Kind: event.VerdictChanged, At: start.Add(time.Duration(i) * time.Second),
			Server: fmt.Sprintf("lic-%d-%d", shard, i), By: "relight", Verdict: fleet.Down, Message: "silent <3 times> & more",
		}
		e, next, err := audit.Append(head, ev)
		if err != nil {
			t.Fatal(err)
		}
		entries, heads, head = append(entries, e), append(heads, next), next
	}
	return entries, heads
}

func TestEntryHasOneForm(t *testing.T) {
	entries, _ := chain(t, 7, 3)
	for _, e := range entries {
		data := e.Encode()
		// Who stores the entry with the JSON encoder must store the same bytes.
		if std, err := json.Marshal(e); err != nil || string(std) != string(data) {
			t.Errorf("json.Marshal: %v\n%s\nEncode:\n%s", err, std, data)
		}
		back, err := audit.DecodeEntry(data)
		if err != nil || string(back.Encode()) != string(data) {
			t.Errorf("decode: %v\n%s\n%s", err, data, back.Encode())
		}
		ev, err := back.Event()
		if err != nil || ev.Message != "silent <3 times> & more" {
			t.Errorf("event: %v %+v", err, ev)
		}
	}
	spaced := append([]byte(" "), entries[0].Encode()...)
	if _, err := audit.DecodeEntry(spaced); !errors.Is(err, audit.ErrMalformed) {
		t.Errorf("an entry in another form was read: %v", err)
	}
}

// The hashed form is for ever: a change of it would turn every old journal into
// a tampered one. These lines were hashed by another program.
func TestHashedFormIsFrozen(t *testing.T) {
	e, err := audit.DecodeEntry([]byte(oldEntry))
	if err != nil {
		t.Fatal(err)
	}
	before := audit.Head{Shard: 7, Seq: 41, Hash: e.Prev}
	if err := audit.Verify(audit.Each([]audit.Entry{e}), before, e.Head()); err != nil {
		t.Errorf("an old entry no longer verifies: %v", err)
	}
	c, err := audit.DecodeCheckpoint([]byte(oldCheckpoint))
	if err != nil {
		t.Fatal(err)
	}
	if err := audit.VerifyCheckpoints([]audit.Checkpoint{c}, audit.Checkpoint{N: 4, Hash: c.Prev}); err != nil {
		t.Errorf("an old checkpoint no longer verifies: %v", err)
	}
}

const (
	oldEntry      = `{"v":1,"shard":7,"seq":42,"prev":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","hash":"13f95e3b71d0f1ff0979dfef02f942027d336902459f70f3bc905ad963f94462","event":{"v":1,"kind":"held","at":"2026-03-01T12:00:00Z","by":"relight","message":"a \u003c b"}}`
	oldCheckpoint = `{"v":1,"n":5,"at":"2026-03-01T12:00:00.5Z","heads":[{"shard":7,"seq":42,"hash":"13f95e3b71d0f1ff0979dfef02f942027d336902459f70f3bc905ad963f94462"}],"prev":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","hash":"41799ff362af2125119f78b716e018c48f8a192137ed0b064a831fb1463b8749"}`
)

func TestAppendRefusesWhatCannotBeEncoded(t *testing.T) {
	head := audit.Genesis(1)
	_, after, err := audit.Append(head, event.Event{At: start.AddDate(9000, 0, 0)})
	if err == nil || after != head {
		t.Errorf("got head %+v, error %v", after, err)
	}
}

func TestVerifyNamesTheFault(t *testing.T) {
	entries, heads := chain(t, 1, 6)
	others, _ := chain(t, 2, 6)
	forged, _, err := audit.Append(heads[2], event.Event{Message: "another history"})
	if err != nil {
		t.Fatal(err)
	}
	edited := entries[2]
	edited.Raw = append(json.RawMessage(nil), edited.Raw...)
	edited.Raw[len(edited.Raw)-3] ^= 1
	newer := entries[2]
	newer.V++
	with := func(list ...any) []audit.Entry {
		var out []audit.Entry
		for _, x := range list {
			switch x := x.(type) {
			case audit.Entry:
				out = append(out, x)
			case []audit.Entry:
				out = append(out, x...)
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		entries []audit.Entry
		to      audit.Head
		anchors []audit.Head
		seq     uint64
		fault   audit.Fault
	}{
		"whole":            {entries: entries, to: heads[6]},
		"passes anchors":   {entries: entries, to: heads[6], anchors: heads},
		"edited":           {entries: with(entries[:2], edited, entries[3:]), to: heads[6], seq: 3, fault: audit.Edited},
		"unknown version":  {entries: with(entries[:2], newer, entries[3:]), to: heads[6], seq: 3, fault: audit.Edited},
		"dropped":          {entries: with(entries[:2], entries[3:]), to: heads[6], seq: 3, fault: audit.Dropped},
		"reordered":        {entries: with(entries[:2], entries[3], entries[2], entries[4:]), to: heads[6], seq: 3, fault: audit.Reordered},
		"repeated":         {entries: with(entries[:3], entries[2:]), to: heads[6], seq: 4, fault: audit.Inserted},
		"replaced":         {entries: with(entries[:2], forged, entries[3:]), to: heads[6], seq: 4, fault: audit.Replaced},
		"replaced at end":  {entries: with(entries[:2], forged), to: heads[3], seq: 3, fault: audit.Replaced},
		"replaced, anchor": {entries: with(entries[:2], forged), to: forged.Head(), anchors: heads[3:4], seq: 3, fault: audit.Replaced},
		"truncated":        {entries: entries[:4], to: heads[6], seq: 5, fault: audit.Truncated},
		"past the head":    {entries: entries, to: heads[5], seq: 6, fault: audit.Inserted},
		"other shard":      {entries: with(entries[:2], others[2], entries[3:]), to: heads[6], seq: 3, fault: audit.OtherShard},
		"rolled back":      {entries: entries[:4], to: heads[4], anchors: heads[6:], seq: 5, fault: audit.RolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			err := audit.Verify(audit.Each(c.entries), heads[0], c.to, c.anchors...)
			var bad *audit.BadEntryError
			switch {
			case c.fault == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.fault != "" && !errors.As(err, &bad):
				t.Errorf("got %v, want a bad entry", err)
			case c.fault != "" && (bad.Seq != c.seq || bad.Fault != c.fault || bad.Shard != 1):
				t.Errorf("got %v, want entry %d %s", err, c.seq, c.fault)
			}
		})
	}
}

func TestVerifyContinuesFromAHead(t *testing.T) {
	entries, heads := chain(t, 1, 6)
	if err := audit.Verify(audit.Each(entries[3:]), heads[3], heads[6], heads[1], heads[5]); err != nil {
		t.Error(err)
	}
	if err := audit.Verify(audit.Each(nil), heads[6], heads[5]); err == nil {
		t.Error("a head before the start was accepted")
	}
	unreadable := errors.New("unreadable")
	err := audit.Verify(func(yield func(audit.Entry, error) bool) { yield(audit.Entry{}, unreadable) }, heads[0], heads[6])
	if !errors.Is(err, unreadable) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

func TestKeysSortLikeNumbers(t *testing.T) {
	keys := []string{
		audit.Key(3, 9), audit.Key(3, 10), audit.Key(3, 1<<63), audit.Key(3, 1<<64-1), audit.Key(10, 1), audit.Key(30, 1),
	}
	for i := range keys[1:] {
		if keys[i] >= keys[i+1] {
			t.Errorf("%s does not sort before %s", keys[i], keys[i+1])
		}
	}
	if audit.HeadKey(3) == audit.HeadKey(30) || audit.CheckpointKey(9) >= audit.CheckpointKey(10) {
		t.Error("head or checkpoint keys clash")
	}
}
