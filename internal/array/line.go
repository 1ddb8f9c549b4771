package array

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"relight/internal/array/iscsi"
	"relight/internal/core/fleet"
)

// Reserver is an Array on which reservations can be a second line. Beside a server's epochs
// it lets one initiator of ours in, the holder, which holds a reservation on the server's
// LUNs and never writes to them: whoever is not registered cannot write, whatever maps
// say. The calls may be repeated.
type Reserver interface {
	// LetHolder lets the holder in, and says where. Errors: ErrShared, ErrNotFound (a LUN),
	// ErrInvalid.
	LetHolder(ctx context.Context, m Map) (Target, error)
	// Holder says where the holder of a server logs in; ok is false if there is none.
	Holder(ctx context.Context, server string) (t Target, ok bool, err error)
	// DropHolder takes the holder away, and with it its reservation.
	DropHolder(ctx context.Context, server string) error
	// Holders lists the servers that have one.
	Holders(ctx context.Context) ([]string, error)
	// Explain adds to an error of reservations what it means on this array, where the driver
	// knows.
	Explain(err error) error
	// DropHolderBy is the command with which a person takes a holder away.
	DropHolderBy(server string) string
}

// ErrForeign: a LUN has a reservation key that is none of ours. Somebody else relies on it.
var ErrForeign = errors.New("somebody else's reservation")

// Key is an epoch's reservation key: a tag of the server in the upper half, which tells
// servers apart, and the epoch in the lower. Epoch 0 is the holder.
func Key(server string, e fleet.Epoch) uint64 {
	sum := sha256.Sum256([]byte("relight reservation " + server))
	return uint64(binary.BigEndian.Uint32(sum[:])|1)<<32 | uint64(uint32(e))
}

// heldAs is the ISID of the holder's sessions. It is always the same, because a
// registration belongs to it; a second session takes the first one's place.
var heldAs = [6]byte{0x80, 'r', 'l', 'k', 0, 0}

// NewHolder makes the map of a server's holder; see NewMap. Its epoch is 0.
func NewHolder(prefix, server string, units map[int]string, random io.Reader) (Map, error) {
	m, err := NewMap(prefix, Ref{Server: server, Epoch: 1}, units, random)
	m.Epoch, m.User = 0, server+".holder"
	m.Initiator = fmt.Sprintf("%s:%s.holder", prefix, server)
	if err == nil && len(m.Initiator) > iqnMax {
		err = fmt.Errorf("%s: an IQN of %d bytes, above %d: %w", m.Initiator, len(m.Initiator), iqnMax, ErrInvalid)
	}
	return m, err
}

// CheckHolder refuses a map that is no holder's.
func CheckHolder(m Map) error {
	m.Epoch++
	if err := m.valid(); err != nil || m.Epoch != 1 {
		return fmt.Errorf("holder of %s: %w", m.Server, errors.Join(err, ErrInvalid))
	}
	return nil
}

// Dial logs in on the data side; see iscsi.Dial.
type Dial func(ctx context.Context, cfg iscsi.Config) (Conn, error)

// Conn is a session on the data side.
type Conn interface {
	iscsi.Path
	Close() error
}

// DialISCSI is the Dial of all but models.
func DialISCSI(ctx context.Context, cfg iscsi.Config) (Conn, error) { return iscsi.Dial(ctx, cfg) }

// Line is the second line of one server's LUNs on one array: the holder holds a
// write-exclusive reservation on each, and the one epoch that may write is registered with
// its own key. It adds refusals and no proof: the fence does not depend on it.
type Line struct {
	Array Reserver
	// Holder is its map; see NewHolder.
	Holder Map
	Dial   Dial
	// May is asked for leave right before each change: a line is raised for longer than a
	// controller's lease may last, and an array knows no terms (S10). Nil is always.
	May func(context.Context) error
}

func (l Line) units() []int { return slices.Sorted(maps.Keys(l.Holder.Units)) }

func (l Line) session(ctx context.Context, t Target) (Conn, error) {
	cfg := l.Holder.Config(t)
	cfg.ISID = heldAs
	return l.Dial(ctx, cfg)
}

// Stands reports whether the line stands for an epoch as Raise leaves it, and the epoch may
// write. It changes nothing, and disturbs nobody who changes something meanwhile.
func (l Line) Stands(ctx context.Context, m Map, at Target) (bool, error) {
	t, there, err := l.Array.Holder(ctx, l.Holder.Server)
	if err != nil || !there {
		return false, err
	}
	// Not as heldAs: that would throw out who changes something. Reading needs no key.
	s, err := l.Dial(ctx, l.Holder.Config(t))
	if err != nil {
		return false, err
	}
	defer func() { _ = s.Close() }()
	epoch, err := l.Dial(ctx, m.Config(at))
	if err != nil {
		return false, err
	}
	defer func() { _ = epoch.Close() }()
	for _, unit := range l.units() {
		if stands, err := l.standsOn(ctx, s, epoch, unit, m.Epoch); err != nil || !stands {
			return false, err
		}
	}
	return true, nil
}

func (l Line) standsOn(ctx context.Context, s, epoch iscsi.Path, unit int, e fleet.Epoch) (bool, error) {
	keys, err := iscsi.Keys(ctx, s, unit)
	if err != nil {
		return false, err
	}
	holder, ours, held, err := iscsi.Holder(ctx, s, unit)
	if err != nil {
		return false, err
	}
	slices.Sort(keys)
	want := []uint64{Key(l.Holder.Server, 0), Key(l.Holder.Server, e)}
	if !held || !ours || holder != want[0] || !slices.Equal(slices.Compact(keys), want) {
		return false, nil
	}
	return iscsi.MayWrite(ctx, epoch, unit)
}

// Lower lets the holder in and takes every key of the server away. It comes before a map
// is made: an epoch that logs in again by itself would else be refused its writes until it
// is registered. Errors: ErrForeign, or ErrFenced if a later epoch is registered, with no
// key changed; those of LetHolder and May.
func (l Line) Lower(ctx context.Context, e fleet.Epoch) error {
	if err := l.may(ctx); err != nil {
		return err
	}
	t, err := l.Array.LetHolder(ctx, l.Holder)
	if err != nil {
		return err
	}
	s, err := l.session(ctx, t)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	for _, unit := range l.units() {
		if _, err := l.keys(ctx, s, unit, e); err != nil {
			return err
		}
	}
	own := Key(l.Holder.Server, 0)
	for _, unit := range l.units() {
		if err := l.give(ctx, order{"register the holder", s, iscsi.Register(unit, own)}, order{"clear keys", s, iscsi.ClearKeys(unit, own)}); err != nil {
			return err
		}
	}
	return nil
}

func (l Line) may(ctx context.Context) error {
	if l.May == nil {
		return nil
	}
	return l.May(ctx)
}

// give sends orders that change something, each with leave.
func (l Line) give(ctx context.Context, orders ...order) error {
	for _, o := range orders {
		if err := l.may(ctx); err != nil {
			return err
		}
		if err := give(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// keys reads the keys of a unit, all of which must be the server's, and none of an epoch
// after the given one.
func (l Line) keys(ctx context.Context, s iscsi.Path, unit int, e fleet.Epoch) ([]uint64, error) {
	keys, err := iscsi.Keys(ctx, s, unit)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k>>32 != Key(l.Holder.Server, 0)>>32 {
			return nil, fmt.Errorf("LUN %s has the key %#018x: %w", l.Holder.Units[unit], k, ErrForeign)
		}
		if k > Key(l.Holder.Server, e) {
			return nil, fmt.Errorf("epoch %d is registered on LUN %s: %w", uint32(k), l.Holder.Units[unit], ErrFenced)
		}
	}
	return keys, nil
}

// Raise registers the epoch that was let in, takes all older keys away, has the holder
// reserve, and reads all of it back. The array must let the holder in (Lower). Errors:
// ErrFenced if a later epoch is registered, with nothing changed for it; ErrForeign.
func (l Line) Raise(ctx context.Context, m Map, at Target) error {
	t, there, err := l.Array.Holder(ctx, l.Holder.Server)
	if err == nil && !there {
		err = fmt.Errorf("holder of %s: %w", l.Holder.Server, ErrNotFound)
	}
	if err != nil {
		return err
	}
	holder, err := l.session(ctx, t)
	if err != nil {
		return err
	}
	defer func() { _ = holder.Close() }()
	old := map[int][]uint64{}
	for _, unit := range l.units() {
		if old[unit], err = l.keys(ctx, holder, unit, m.Epoch); err != nil {
			return err
		}
	}
	epoch, err := l.Dial(ctx, m.Config(at))
	if err != nil {
		return err
	}
	defer func() { _ = epoch.Close() }()
	for _, unit := range l.units() {
		if err := l.raise(ctx, holder, epoch, unit, m.Epoch, old[unit]); err != nil {
			return err
		}
	}
	return nil
}

func (l Line) raise(ctx context.Context, holder, epoch iscsi.Path, unit int, e fleet.Epoch, old []uint64) error {
	own, next := Key(l.Holder.Server, 0), Key(l.Holder.Server, e)
	orders := []order{
		{"register the epoch", epoch, iscsi.RegisterForEver(unit, next)},
		{"register the holder", holder, iscsi.RegisterForEver(unit, own)},
	}
	for _, k := range slices.Compact(slices.Sorted(slices.Values(old))) {
		if k != own && k != next {
			orders = append(orders, order{"preempt and abort", holder, iscsi.PreemptAbort(unit, own, k)})
		}
	}
	if err := l.give(ctx, append(orders, order{"reserve", holder, iscsi.Reserve(unit, own)})...); err != nil {
		return err
	}
	stands, err := l.standsOn(ctx, holder, epoch, unit, e)
	if err == nil && !stands {
		err = fmt.Errorf("LUN %s does not show the keys and the reservation that were made: %w", l.Holder.Units[unit], ErrConflict)
	}
	return err
}

// Preempt takes the key of an epoch and of all before it away, with what is inside the
// array of them, and reads the keys again. It reports how many there were: none where the
// epoch was never registered. Without a holder there is nothing to do.
func (l Line) Preempt(ctx context.Context, e fleet.Epoch) (taken int, err error) {
	t, there, err := l.Array.Holder(ctx, l.Holder.Server)
	if err != nil || !there {
		return 0, err
	}
	s, err := l.session(ctx, t)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	for _, unit := range l.units() {
		n, err := l.preempt(ctx, s, unit, e)
		if taken += n; err != nil {
			return taken, err
		}
	}
	return taken, nil
}

func (l Line) preempt(ctx context.Context, s iscsi.Path, unit int, e fleet.Epoch) (taken int, err error) {
	own, last := Key(l.Holder.Server, 0), Key(l.Holder.Server, e)
	shut := func(k uint64) bool { return k > own && k <= last }
	keys, err := iscsi.Keys(ctx, s, unit)
	if err != nil {
		return 0, err
	}
	for _, k := range slices.Compact(slices.Sorted(slices.Values(keys))) {
		if !shut(k) {
			continue
		}
		if err := l.give(ctx, order{"preempt and abort", s, iscsi.PreemptAbort(unit, own, k)}); err != nil {
			return taken, err
		}
		taken++
	}
	if keys, err = iscsi.Keys(ctx, s, unit); err == nil && slices.ContainsFunc(keys, shut) {
		err = fmt.Errorf("LUN %s still has the key of epoch %d: %w", l.Holder.Units[unit], e, ErrHeld)
	}
	return taken, err
}
