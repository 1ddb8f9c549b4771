package iscsi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// WriteExclusive is the reservation type "write exclusive, registrants only": the
// others may read, only registered initiators may write.
const WriteExclusive = 5

// Service actions of PERSISTENT RESERVE OUT.
const (
	reserve         = 0x01
	clearKeys       = 0x03
	preempt         = 0x04
	preemptAbort    = 0x05
	registerIgnore  = 0x06
	reserveKeysSize = 8 + 8*256
)

func reserveOut(lun int, action byte, key, subject uint64, flags byte) Command {
	out := append(append(be(8, key), be(8, subject)...), 0, 0, 0, 0, flags, 0, 0, 0)
	return Command{LUN: lun, CDB: cdb(0x5f, []byte{action, WriteExclusive, 0, 0}, be(4, 24), []byte{0}), Out: out}
}

// Register gives this initiator a key, whatever it had; zero takes it away.
func Register(lun int, key uint64) Command { return reserveOut(lun, registerIgnore, 0, key, 0) }

// RegisterForEver is Register with the wish that it outlive a power loss (APTPL).
func RegisterForEver(lun int, key uint64) Command { return reserveOut(lun, registerIgnore, 0, key, 1) }

// Reserve takes the write-exclusive reservation for registrants.
func Reserve(lun int, key uint64) Command { return reserveOut(lun, reserve, key, 0, 0) }

// Preempt removes another's key, and takes the reservation if that key held it.
func Preempt(lun int, key, victim uint64) Command { return reserveOut(lun, preempt, key, victim, 0) }

// PreemptAbort is Preempt, and drops the victim's commands inside the array.
func PreemptAbort(lun int, key, victim uint64) Command {
	return reserveOut(lun, preemptAbort, key, victim, 0)
}

// ClearKeys removes all keys and the reservation.
func ClearKeys(lun int, key uint64) Command { return reserveOut(lun, clearKeys, key, 0, 0) }

// Keys reads the key list of a unit, one per registered nexus.
func Keys(ctx context.Context, p Path, lun int) ([]uint64, error) {
	c := Command{LUN: lun, CDB: cdb(0x5e, []byte{0, 0, 0, 0, 0, 0}, be(2, reserveKeysSize), []byte{0}), In: reserveKeysSize}
	in, err := Do(ctx, p, fmt.Sprintf("read keys of unit %d", lun), c)
	if err != nil {
		return nil, err
	}
	if len(in) < 8 {
		return nil, fmt.Errorf("read keys of unit %d: %w: %d bytes", lun, ErrProtocol, len(in))
	}
	n := int(binary.BigEndian.Uint32(in[4:]))
	if 8+n > len(in) {
		return nil, fmt.Errorf("read keys of unit %d: %w: the list is cut off", lun, ErrProtocol)
	}
	var keys []uint64
	for at := 8; at+8 <= 8+n; at += 8 {
		keys = append(keys, binary.BigEndian.Uint64(in[at:]))
	}
	return keys, nil
}

// MayWrite reports whether a reservation lets this session write. It changes nothing: it
// sends a command that a reservation stops like a write, and that is empty otherwise. The
// list of keys does not tell it: Linux's target takes a right away that it goes on listing.
func MayWrite(ctx context.Context, p Path, lun int) (bool, error) {
	_, err := Do(ctx, p, fmt.Sprintf("empty mode select of unit %d", lun), Command{LUN: lun, CDB: []byte{0x15, 0x10, 0, 0, 4, 0}, Out: make([]byte, 4)})
	var status *StatusError
	if !errors.As(err, &status) {
		return err == nil, err
	}
	return status.Reply.Status != ReservationConflict, nil
}

// Holder reads who holds the reservation of a unit: its key, and whether it is one of
// the type that Reserve takes. ok is false if nobody holds one.
func Holder(ctx context.Context, p Path, lun int) (key uint64, ours, ok bool, err error) {
	const size = 8 + 16
	in, err := Do(ctx, p, fmt.Sprintf("read the reservation of unit %d", lun), Command{LUN: lun, CDB: cdb(0x5e, []byte{1, 0, 0, 0, 0, 0}, be(2, size), []byte{0}), In: size})
	if err != nil {
		return 0, false, false, err
	}
	switch {
	case len(in) >= 8 && binary.BigEndian.Uint32(in[4:]) == 0:
		return 0, false, false, nil
	case len(in) < size:
		return 0, false, false, fmt.Errorf("read the reservation of unit %d: %w: %d bytes", lun, ErrProtocol, len(in))
	}
	return binary.BigEndian.Uint64(in[8:]), in[21] == WriteExclusive, true, nil
}
