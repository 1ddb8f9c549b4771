package mount

import (
	"testing"

	"relight/internal/core/fleet"
)

// What clients know a server by follows it from machine to machine.
func TestNextKeys(t *testing.T) {
	none, a, b := Keys{}, Keys{"ssh_host_rsa_key": "a"}, Keys{"ssh_host_rsa_key": "b"}
	more := Keys{"ssh_host_rsa_key": "a", "ssh_host_ed25519_key": "x"}
	for _, tc := range []struct {
		what  string
		epoch fleet.Epoch
		seen  KeysSeen
		want  KeysStep
	}{
		{"the first machine has none yet", 1, KeysSeen{Own: none, Kept: none, Settled: true}, KeysWait},
		{"it is still being set up", 1, KeysSeen{Own: a, Kept: none}, KeysWait},
		{"the first machine's are kept", 1, KeysSeen{Own: a, Kept: none, Settled: true}, KeysKeep},
		{"and stay", 1, KeysSeen{Own: a, Kept: a, Of: 1, Settled: true}, KeysDone},
		{"a person changes them", 1, KeysSeen{Own: b, Kept: a, Of: 1, Settled: true}, KeysKeep},
		{"the next machine made its own", 2, KeysSeen{Own: b, Kept: a, Of: 1, Settled: true}, KeysTake},
		{"it made more kinds than the server has", 2, KeysSeen{Own: more, Kept: a, Of: 1, Settled: true}, KeysTake},
		{"it will make its own", 2, KeysSeen{Own: none, Kept: a, Of: 1}, KeysWait},
		{"it has them, and says so", 2, KeysSeen{Own: a, Kept: a, Of: 1, Settled: true}, KeysKeep},
		{"they are gone from the machine that had them", 2, KeysSeen{Own: none, Kept: a, Of: 2, Settled: true}, KeysTake},
		{"an image of a later machine", 2, KeysSeen{Own: b, Kept: a, Of: 3, Settled: true}, KeysWait},
	} {
		if got := NextKeys(tc.epoch, tc.seen); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.what, got, tc.want)
		}
	}
}
