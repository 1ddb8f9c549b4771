//go:build !linux

package beat

import (
	"net"
	"net/netip"
)

const batchSize = 1

// batch reads and answers one datagram at a time where recvmmsg is missing.
type batch struct {
	conn *net.UDPConn
	from netip.AddrPort
	buf  [MaxDatagram + 1]byte
	n    int
	acks [minDatagram + ackFixed]byte
	ack  []byte
}

func newBatch(c *net.UDPConn) (*batch, error) { return &batch{conn: c}, nil }

func (b *batch) recv() (n int, err error) {
	b.n, b.from, err = b.conn.ReadFromUDPAddrPort(b.buf[:])
	return batchSize, err
}

func (b *batch) datagram(int) []byte { return b.buf[:b.n] }

func (b *batch) ackBuf() []byte { return b.acks[:0] }

func (b *batch) queue(_ int, ack []byte) { b.ack = ack }

func (b *batch) flush() (lost int, err error) {
	if len(b.ack) > 0 {
		if _, err := b.conn.WriteToUDPAddrPort(b.ack, b.from); err != nil {
			lost = 1
		}
		b.ack = nil
	}
	return lost, nil
}

func socketOptions(uintptr, bool, int) error { return nil }

func kernelDrops(*net.UDPConn) (uint64, error) { return 0, nil }
