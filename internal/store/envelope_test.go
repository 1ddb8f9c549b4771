package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	for _, payload := range [][]byte{nil, {}, {0}, []byte("value"), bytes.Repeat([]byte{0xff}, 4096)} {
		got, err := Open("a/key", Seal("a/key", payload))
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("Open(Seal(%d bytes)) = %q, %v", len(payload), got, err)
		}
	}
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	const key = "servers/db-1"
	raw := Seal(key, []byte(`{"epoch":7,"host":"h-12"}`))
	for bit := range len(raw) * 8 {
		raw[bit/8] ^= 1 << (bit % 8)
		if _, err := Open(key, raw); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), key) {
			t.Errorf("bit %d: %v, want ErrCorrupt that names the key", bit, err)
		}
		raw[bit/8] ^= 1 << (bit % 8)
	}
}

func TestEnvelopeBelongsToItsKey(t *testing.T) {
	raw := Seal("ab", []byte("cd"))
	for _, key := range []string{"ac", "a", "abc", ""} {
		if _, err := Open(key, raw); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Open under key %q: %v, want ErrCorrupt", key, err)
		}
	}
	for n := range len(raw) {
		if _, err := Open("ab", raw[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Open of the first %d bytes: %v, want ErrCorrupt", n, err)
		}
	}
}

func TestTxnCheck(t *testing.T) {
	big := make([]byte, MaxTxnBytes)
	bad := map[string]Txn{
		"empty key":         {Ops: []Op{{Key: ""}}},
		"key twice":         {Ops: []Op{{Key: "a"}, {Key: "a", Delete: true}}},
		"too many ops":      {Ops: make([]Op, MaxOps+1)},
		"too many bytes":    {Ops: []Op{{Key: "a", Value: big}}},
		"delete with value": {Ops: []Op{{Key: "a", Delete: true, Value: []byte("x")}}},
		"empty compare":     {Compares: []Compare{{}}},
		"negative revision": {Compares: []Compare{{Key: "a", Rev: -1}}},
	}
	for name, txn := range bad {
		if err := txn.Check(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if err := (Txn{Ops: []Op{{Key: "a"}, {Key: "b", Delete: true}}}).Check(); err != nil {
		t.Errorf("good transaction: %v", err)
	}
}
