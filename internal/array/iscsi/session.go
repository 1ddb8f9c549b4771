package iscsi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
)

// ErrProtocol is the cause of errors about an answer that iSCSI does not allow here.
var ErrProtocol = errors.New("unexpected answer")

// Session is a login that stands. It is safe for concurrent use; commands go one
// after the other. After an error of Execute it is of no more use.
type Session struct {
	mu   sync.Mutex
	conn net.Conn

	tsih                  uint16
	cmdSN, expStatSN, tag uint32
	limit, firstBurst     int
	noImmediate           bool
}

// Command is one SCSI command. In is the most that it may return, in bytes.
type Command struct {
	LUN int
	CDB []byte
	Out []byte
	In  int
}

// SCSI statuses.
const (
	Good                byte = 0x00
	CheckCondition      byte = 0x02
	ReservationConflict byte = 0x18
)

// Reply is how a unit answered: a status, and for a check condition why.
type Reply struct {
	Status         byte
	Key, ASC, ASCQ byte
	In             []byte
}

// StatusError is a command's status other than good.
type StatusError struct {
	What  string
	Reply Reply
}

// Error implements error.
func (e *StatusError) Error() string {
	r := e.Reply
	if r.Status == ReservationConflict {
		return e.What + ": reservation conflict"
	}
	return fmt.Sprintf("%s: status %#x, sense %x/%02x/%02x", e.What, r.Status, r.Key, r.ASC, r.ASCQ)
}

// bound ends reads and writes when the context ends; the result lifts it.
func (s *Session) bound(ctx context.Context) (lift func()) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(past) })
	return func() { stop() }
}

// Execute sends a command and waits for its status. An error means that nothing
// is known of its effect.
func (s *Session) Execute(ctx context.Context, c Command) (Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lift := s.bound(ctx)
	defer lift()
	r, err := s.execute(c)
	if err != nil {
		_ = s.conn.Close()
		return Reply{}, fmt.Errorf("command %#x on unit %d: %w", c.CDB[0], c.LUN, err)
	}
	return r, nil
}

func (s *Session) execute(c Command) (Reply, error) {
	now := 0
	if len(c.Out) > 0 && !s.noImmediate {
		now = min(len(c.Out), s.limit, max(s.firstBurst, 512))
	}
	tag, err := s.send(c, now)
	if err != nil {
		return Reply{}, err
	}
	return s.await(c, tag)
}

// send sends a command with that much of its data.
func (s *Session) send(c Command, now int) (tag uint32, err error) {
	s.tag++
	tag, sn := s.tag, s.cmdSN
	s.cmdSN++
	flags := byte(final)
	switch {
	case len(c.Out) > 0:
		flags |= 0x20
	case c.In > 0:
		flags |= 0x40
	}
	p := newPDU(opCommand, flags)
	p.setLUN(c.LUN)
	p.put32(16, tag)
	p.put32(20, uint32(max(len(c.Out), c.In)))
	p.put32(24, sn)
	p.put32(28, s.expStatSN)
	copy(p.head[32:48], c.CDB)
	p.data = c.Out[:now]
	return tag, p.write(s.conn)
}

// await takes PDUs until the command's status is there.
func (s *Session) await(c Command, tag uint32) (Reply, error) {
	in := make([]byte, c.In)
	got := 0
	for {
		r, err := readPDU(s.conn)
		if err != nil {
			return Reply{}, err
		}
		switch r.opcode() {
		case opNopIn:
			if err := s.pong(r); err != nil {
				return Reply{}, err
			}
			continue
		case opDataIn, opResponse, opReady:
		default:
			return Reply{}, fmt.Errorf("%w: opcode %#x", ErrProtocol, r.opcode())
		}
		if r.get32(16) != tag {
			return Reply{}, fmt.Errorf("%w: tag %d instead of %d", ErrProtocol, r.get32(16), tag)
		}
		switch r.opcode() {
		case opReady:
			if err := s.feed(c, r); err != nil {
				return Reply{}, err
			}
		case opDataIn:
			at := int(r.get32(40))
			if at+len(r.data) > len(in) {
				return Reply{}, fmt.Errorf("%w: more data than asked for", ErrProtocol)
			}
			got = max(got, at+copy(in[at:], r.data))
			if r.head[1]&1 != 0 { // carries the status
				s.expStatSN = r.get32(24) + 1
				return Reply{Status: r.head[3], In: in[:got]}, nil
			}
		case opResponse:
			return s.status(r, in[:got])
		}
	}
}

func (s *Session) status(r *pdu, in []byte) (Reply, error) {
	s.expStatSN = r.get32(24) + 1
	if r.head[2] != 0 {
		return Reply{}, fmt.Errorf("%w: the target failed (%#x)", ErrProtocol, r.head[2])
	}
	out := Reply{Status: r.head[3], In: in}
	if len(r.data) > 2 {
		sense := r.data[2:]
		switch {
		case sense[0]&0x7f >= 0x72 && len(sense) >= 4: // descriptor format
			out.Key, out.ASC, out.ASCQ = sense[1]&0xf, sense[2], sense[3]
		case len(sense) >= 14:
			out.Key, out.ASC, out.ASCQ = sense[2]&0xf, sense[12], sense[13]
		}
	}
	return out, nil
}

// feed sends the data that the target asks for.
func (s *Session) feed(c Command, ready *pdu) error {
	at, left := int(ready.get32(40)), int(ready.get32(44))
	if at+left > len(c.Out) {
		return fmt.Errorf("%w: asks for more data than there is", ErrProtocol)
	}
	for sn := uint32(0); left > 0; sn++ {
		n := min(left, s.limit)
		p := newPDU(opDataOut, 0)
		if n == left {
			p.head[1] = final
		}
		copy(p.head[8:16], ready.head[8:16])
		p.put32(16, ready.get32(16))
		p.put32(20, ready.get32(20))
		p.put32(28, s.expStatSN)
		p.put32(36, sn)
		p.put32(40, uint32(at))
		p.data = c.Out[at : at+n]
		if err := p.write(s.conn); err != nil {
			return err
		}
		at, left = at+n, left-n
	}
	return nil
}

func (s *Session) pong(in *pdu) error {
	if in.get32(20) == noTag {
		return nil
	}
	p := newPDU(opNopOut|immediate, final)
	copy(p.head[8:16], in.head[8:16])
	p.put32(16, noTag)
	p.put32(20, in.get32(20))
	p.put32(24, s.cmdSN)
	p.put32(28, s.expStatSN)
	return p.write(s.conn)
}

// Close ends the connection. The target may list the session a little longer.
func (s *Session) Close() error { return s.conn.Close() }

// Do executes a command and turns any other status than good into a *StatusError.
// A unit attention is told once per session and command path, so it is asked again.
func Do(ctx context.Context, p Path, what string, c Command) ([]byte, error) {
	for {
		r, err := p.Execute(ctx, c)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", what, err)
		case r.Status == Good:
			return r.In, nil
		case r.Status == CheckCondition && r.Key == unitAttention:
			continue
		}
		return nil, &StatusError{What: what, Reply: r}
	}
}

// Path is one initiator's way to the units of a target.
type Path interface {
	// Execute sends one command and waits for its status. An error means that
	// nothing is known of its effect.
	Execute(ctx context.Context, c Command) (Reply, error)
}

const unitAttention = 6

func be(n int, v uint64) []byte {
	b := make([]byte, 8)
	binary.BigEndian.PutUint64(b, v)
	return b[8-n:]
}
