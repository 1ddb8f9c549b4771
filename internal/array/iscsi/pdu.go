package iscsi

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	headerSize = 48
	// maxSegment bounds what one PDU may carry towards us; it is also what we
	// declare, so that a longer one is a protocol error and not a reason to
	// allocate gigabytes.
	maxSegment = 1 << 18
	noTag      = 0xffffffff
)

// Opcodes, without the immediate bit.
const (
	opNopOut     = 0x00
	opCommand    = 0x01
	opLogin      = 0x03
	opDataOut    = 0x05
	opLogout     = 0x06
	opNopIn      = 0x20
	opResponse   = 0x21
	opLoginReply = 0x23
	opDataIn     = 0x25
	opLogoutEnd  = 0x26
	opReady      = 0x31
	opAsync      = 0x32
	opReject     = 0x3f
)

const (
	immediate = 0x40
	final     = 0x80
)

// pdu is one protocol data unit: the basic header and its data segment.
type pdu struct {
	head [headerSize]byte
	data []byte
}

func (p *pdu) opcode() byte           { return p.head[0] & 0x3f }
func (p *pdu) put16(at int, v uint16) { binary.BigEndian.PutUint16(p.head[at:], v) }
func (p *pdu) put32(at int, v uint32) { binary.BigEndian.PutUint32(p.head[at:], v) }
func (p *pdu) get32(at int) uint32    { return binary.BigEndian.Uint32(p.head[at:]) }
func (p *pdu) setLUN(n int)           { copy(p.head[8:16], encodeLUN(n)) }
func padded(n int) int                { return (n + 3) &^ 3 }
func newPDU(op, flags byte) *pdu      { return &pdu{head: [headerSize]byte{0: op, 1: flags}} }
func (p *pdu) write(w io.Writer) error {
	n := len(p.data)
	p.head[4] = 0
	p.head[5], p.head[6], p.head[7] = byte(n>>16), byte(n>>8), byte(n)
	out := make([]byte, headerSize+padded(n))
	copy(out, p.head[:])
	copy(out[headerSize:], p.data)
	_, err := w.Write(out)
	return err
}

func readPDU(r io.Reader) (*pdu, error) {
	p := &pdu{}
	if _, err := io.ReadFull(r, p.head[:]); err != nil {
		return nil, err
	}
	n := int(p.head[5])<<16 | int(p.head[6])<<8 | int(p.head[7])
	if n > maxSegment {
		return nil, fmt.Errorf("a data segment of %d bytes, above the declared %d", n, maxSegment)
	}
	extra := 4 * int(p.head[4])
	body := make([]byte, extra+padded(n))
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	p.data = body[extra : extra+n]
	return p, nil
}

// encodeLUN writes a unit's number as SAM asks: one byte up to 255, the flat
// form above. iPXE and some tools read a number in hexadecimal; this takes ints only.
func encodeLUN(n int) []byte {
	if n < 256 {
		return []byte{0, byte(n), 0, 0, 0, 0, 0, 0}
	}
	return []byte{0x40 | byte(n>>8)&0x3f, byte(n), 0, 0, 0, 0, 0, 0}
}
