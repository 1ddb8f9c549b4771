package array

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"relight/internal/core/fleet"
)

// Prefix is that of all IQNs on a declared array. Controllers of two fleets that
// share an array must have different ones.
func Prefix(a fleet.Array) string {
	if p := a.Options["prefix"]; p != "" {
		return p
	}
	return "iqn.2026-01.local.relight." + a.Name
}

// MapOf makes the map of an epoch, the same each time: its secret is made of the key,
// the array and the epoch, so that nothing secret is stored with the journal.
func MapOf(key []byte, a fleet.Array, r Ref, units map[int]string) (Map, error) {
	return NewMap(Prefix(a), r, units, secretOf(key, a, r))
}

// HolderOf makes the map of a server's holder, the same each time; see MapOf.
func HolderOf(key []byte, a fleet.Array, server string, units map[int]string) (Map, error) {
	return NewHolder(Prefix(a), server, units, secretOf(key, a, Ref{Server: server}))
}

func secretOf(key []byte, a fleet.Array, r Ref) *once {
	seed := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(seed, "relight array secret\x00%s\x00%s\x00%d", a.Name, r.Server, r.Epoch) // a hash takes all
	return &once{seed.Sum(nil)}
}

// once reads out its bytes and no more.
type once struct{ left []byte }

// Read implements io.Reader.
func (o *once) Read(p []byte) (int, error) {
	n := copy(p, o.left)
	o.left = o.left[n:]
	if n == 0 {
		return 0, fmt.Errorf("%d random bytes too few", len(p))
	}
	return n, nil
}

// Lister is an Array that lists the maps of all servers in one call.
type Lister interface {
	AllMaps(ctx context.Context) ([]Mapped, error)
}

// Locator is an Array that knows where an epoch logs in, whether it has a map or not.
type Locator interface {
	Locate(ctx context.Context, r Ref) (Target, error)
}

// Local is an Array that is driven on the machine that serves its portals, and on no
// other. From there they can be connected to, whatever became of the network; a controller
// for which that is not so reads the state of some other target, which lists nothing of any
// epoch and would call each shut out.
type Local interface{ Local() }

// Remover is an Array that knows with which command a person takes an epoch's map away.
// It is one that the array refuses while somebody is logged in, where its tool has such.
type Remover interface {
	RemoveBy(r Ref) string
}
