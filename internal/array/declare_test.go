package array

import (
	"testing"

	"relight/internal/core/fleet"
)

// Two epochs, servers, arrays or controllers must never share a secret; and the same
// one must come out of every call, or a replay would lock the epoch out.
func TestSecretsAreOfOneEpochAndStay(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	seen := map[string]bool{}
	for _, c := range []struct {
		key   []byte
		array string
		ref   Ref
	}{
		{key, "san-1", Ref{"a", 1}},
		{key, "san-1", Ref{"a", 2}},
		{key, "san-1", Ref{"b", 1}},
		{key, "san-2", Ref{"a", 1}},
		{append([]byte("x"), key[1:]...), "san-1", Ref{"a", 1}},
	} {
		m, err := MapOf(c.key, fleet.Array{Name: c.array}, c.ref, map[int]string{1: "a-data"})
		if err != nil {
			t.Fatal(err)
		}
		again, _ := MapOf(c.key, fleet.Array{Name: c.array}, c.ref, map[int]string{1: "a-data"})
		if len(m.Secret) != 16 || seen[m.Secret] || again.Secret != m.Secret || again.Initiator != m.Initiator {
			t.Errorf("%+v: %+v", c, m)
		}
		seen[m.Secret] = true
	}
}

func TestPrefixIsTheArraysOrItsOption(t *testing.T) {
	if p := Prefix(fleet.Array{Name: "san-1"}); p != "iqn.2026-01.local.relight.san-1" {
		t.Error(p)
	}
	if p := Prefix(fleet.Array{Name: "san-1", Options: map[string]string{"prefix": "iqn.2026-01.org.example"}}); p != "iqn.2026-01.org.example" {
		t.Error(p)
	}
}
