package mount

import (
	"maps"

	"relight/internal/core/fleet"
)

// Keys are the SSH host keys of a machine, by the names of their files.
type Keys map[string]string

// KeysSeen is what was found of a server's host keys, at one moment.
type KeysSeen struct {
	// Own are the machine's, Kept those on the server's volume.
	Own, Kept Keys
	// Of is the epoch whose machine had the kept ones last; 0 if none are kept.
	Of fleet.Epoch
	// Settled: nothing that sets the machine up is still going to make it other keys.
	Settled bool
}

// KeysStep is what is to be done about host keys.
type KeysStep string

// The steps.
const (
	// KeysWait: nothing can be done yet.
	KeysWait KeysStep = "wait"
	// KeysTake gives the machine the kept ones, and nothing else.
	KeysTake KeysStep = "take"
	// KeysKeep keeps the machine's.
	KeysKeep KeysStep = "keep"
	// KeysDone: both are the same.
	KeysDone KeysStep = "done"
)

// NextKeys decides about the host keys of a server whose machine is of that epoch. A new
// machine takes what clients know the server by. From then on the machine's are the
// server's: a person may change them. A machine of an older epoch than the one that had
// them last changes nothing.
func NextKeys(epoch fleet.Epoch, seen KeysSeen) KeysStep {
	switch {
	case !seen.Settled || seen.Of > epoch:
		return KeysWait
	case len(seen.Kept) == 0 && len(seen.Own) == 0:
		return KeysWait
	case len(seen.Kept) > 0 && (seen.Of < epoch || len(seen.Own) == 0) && !maps.Equal(seen.Own, seen.Kept):
		return KeysTake
	case seen.Of < epoch || !maps.Equal(seen.Own, seen.Kept):
		return KeysKeep
	}
	return KeysDone
}
