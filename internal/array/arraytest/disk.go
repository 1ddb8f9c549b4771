package arraytest

import (
	"bytes"
	"encoding/binary"
	"path"

	"relight/internal/array/iscsi"
)

// Disk is a model of a unit that does reservations as the standard says: the
// opposite of what tgtd does, so that the enrolment probe is seen to say yes.
type Disk struct {
	data []byte
	keys map[string]uint64 // by nexus
	lost map[string]bool   // initiators of which a session gave its key up
	held string            // the nexus that holds the reservation
	// ByName: a registration is good for all sessions of its initiator, but where one of
	// them holds the reservation only that one may write, and where one gives its key up
	// all lose the right to, as in Linux's own target.
	ByName bool
}

// NewDisk makes an empty disk.
func NewDisk(size int64) *Disk { return DiskOn(make([]byte, size)) }

// DiskOn makes a disk whose data are those of the slice.
func DiskOn(data []byte) *Disk {
	return &Disk{data: data, keys: map[string]uint64{}, lost: map[string]bool{}}
}

// Overwrite copies the data of another disk of the same size.
func (d *Disk) Overwrite(with *Disk) { copy(d.data, with.data) }

// Size is the disk's size, in bytes.
func (d *Disk) Size() int64 { return int64(len(d.data)) }

func bad(asc byte) iscsi.Reply { return iscsi.Reply{Status: iscsi.CheckCondition, Key: 5, ASC: asc} }

// span reads block number and count of a command.
func span(cdb []byte) (at, n int) {
	if cdb[0] < 0x80 {
		return int(binary.BigEndian.Uint32(cdb[2:])) * iscsi.Block, int(binary.BigEndian.Uint16(cdb[7:])) * iscsi.Block
	}
	return int(binary.BigEndian.Uint64(cdb[2:])) * iscsi.Block, int(binary.BigEndian.Uint32(cdb[10:])) * iscsi.Block
}

func (d *Disk) execute(nexus string, c iscsi.Command) iscsi.Reply {
	switch c.CDB[0] {
	case 0x5e:
		if c.CDB[1]&0x1f == 1 {
			return d.holder()
		}
		return d.list()
	case 0x5f:
		return d.reserve(nexus, c)
	case 0x9e:
		in := make([]byte, 32)
		binary.BigEndian.PutUint64(in, uint64(len(d.data)/iscsi.Block-1))
		binary.BigEndian.PutUint32(in[8:], iscsi.Block)
		return iscsi.Reply{In: in}
	case 0x88:
		at, n := span(c.CDB)
		if at+n > len(d.data) {
			return bad(0x21)
		}
		return iscsi.Reply{In: bytes.Clone(d.data[at : at+n])}
	case 0x15:
		if d.refuses(nexus) {
			return iscsi.Reply{Status: iscsi.ReservationConflict}
		}
		return bad(0x1a)
	case 0x2a, 0x8a, 0x41, 0x93, 0x2e, 0x8e, 0x8b:
		if d.refuses(nexus) {
			return iscsi.Reply{Status: iscsi.ReservationConflict}
		}
		at, n := span(c.CDB)
		if at+n > len(d.data) || n != len(c.Out) {
			return bad(0x21)
		}
		copy(d.data[at:], c.Out)
		return iscsi.Reply{}
	default:
		return bad(0x20)
	}
}

// refuses reports whether the reservation keeps a session from writing.
func (d *Disk) refuses(nexus string) bool {
	return d.held != "" && (!d.registered(nexus) || d.shadowed(nexus))
}

func (d *Disk) registered(nexus string) bool {
	if !d.ByName {
		return d.keys[nexus] != 0
	}
	if d.lost[path.Dir(nexus)] {
		return false
	}
	for n := range d.keys {
		if path.Dir(n) == path.Dir(nexus) {
			return true
		}
	}
	return false
}

// Forget drops the registrations of an initiator, and the reservation if it has that.
func (d *Disk) Forget(initiator string) {
	for n := range d.keys {
		if path.Dir(n) == initiator {
			delete(d.keys, n)
		}
	}
	if path.Dir(d.held) == initiator {
		d.held = ""
	}
}

// shadowed: another session of the initiator holds the reservation.
func (d *Disk) shadowed(nexus string) bool {
	return d.ByName && d.held != "" && d.held != nexus && path.Dir(d.held) == path.Dir(nexus)
}

func (d *Disk) list() iscsi.Reply {
	in := make([]byte, 8)
	for _, k := range d.keys {
		in = binary.BigEndian.AppendUint64(in, k)
	}
	binary.BigEndian.PutUint32(in[4:], uint32(len(in)-8))
	return iscsi.Reply{In: in}
}

func (d *Disk) holder() iscsi.Reply {
	in := make([]byte, 8)
	if d.held != "" {
		in[7] = 16
		in = binary.BigEndian.AppendUint64(in, d.keys[d.held])
		in = append(in, 0, 0, 0, 0, 0, iscsi.WriteExclusive, 0, 0)
	}
	return iscsi.Reply{In: in}
}

func (d *Disk) reserve(nexus string, c iscsi.Command) iscsi.Reply {
	own, subject := binary.BigEndian.Uint64(c.Out), binary.BigEndian.Uint64(c.Out[8:])
	action := c.CDB[1] & 0x1f
	conflict := iscsi.Reply{Status: iscsi.ReservationConflict}
	if action != 6 && (d.keys[nexus] == 0 || d.keys[nexus] != own || d.shadowed(nexus)) {
		return conflict
	}
	switch action {
	case 6: // register, whatever was
		if subject == 0 {
			delete(d.keys, nexus)
		} else {
			d.keys[nexus] = subject
		}
		d.lost[path.Dir(nexus)] = subject == 0
	case 1:
		if d.held != "" && d.held != nexus {
			return conflict
		}
		d.held = nexus
	case 3:
		d.keys, d.held = map[string]uint64{}, ""
	case 4, 5:
		for n, k := range d.keys {
			if k == subject && n != nexus {
				delete(d.keys, n)
				if d.held == n {
					d.held = nexus
				}
			}
		}
	default:
		return bad(0x24)
	}
	return iscsi.Reply{}
}
