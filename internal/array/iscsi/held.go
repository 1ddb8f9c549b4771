package iscsi

import (
	"context"
	"errors"
	"fmt"
)

// Held is a write that the target has taken and whose data it waits for: the one
// way to have a command inside an array for as long as its sender likes.
type Held struct {
	s     *Session
	c     Command
	tag   uint32
	ready *pdu
}

// Hold sends a write without its data, and returns when the target asks for them.
// Until Finish the session is of no other use. Errors: ErrProtocol if the target
// answers instead; any error means that nothing is held.
func (s *Session) Hold(ctx context.Context, c Command) (*Held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lift := s.bound(ctx)
	defer lift()
	h, err := s.hold(c)
	if err != nil {
		_ = s.conn.Close()
		return nil, fmt.Errorf("hold command %#x on unit %d: %w", c.CDB[0], c.LUN, errors.Join(ctx.Err(), err))
	}
	return h, nil
}

func (s *Session) hold(c Command) (*Held, error) {
	tag, err := s.send(c, 0)
	if err != nil {
		return nil, err
	}
	for {
		r, err := readPDU(s.conn)
		if err != nil {
			return nil, err
		}
		switch r.opcode() {
		case opNopIn:
			if err := s.pong(r); err != nil {
				return nil, err
			}
		case opReady:
			if r.get32(16) != tag {
				return nil, fmt.Errorf("%w: tag %d instead of %d", ErrProtocol, r.get32(16), tag)
			}
			return &Held{s: s, c: c, tag: tag, ready: r}, nil
		default:
			return nil, fmt.Errorf("%w: opcode %#x instead of a wish for data", ErrProtocol, r.opcode())
		}
	}
}

// Finish sends the data and waits for the write's status. An error means that the
// target did not acknowledge it.
func (h *Held) Finish(ctx context.Context) (Reply, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	lift := h.s.bound(ctx)
	defer lift()
	err := h.s.feed(h.c, h.ready)
	var r Reply
	if err == nil {
		r, err = h.s.await(h.c, h.tag)
	}
	if err != nil {
		_ = h.s.conn.Close()
		return Reply{}, fmt.Errorf("finish command %#x on unit %d: %w", h.c.CDB[0], h.c.LUN, err)
	}
	return r, nil
}
