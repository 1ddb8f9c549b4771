package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relight/internal/agent/guest"
	"relight/internal/core/fleet"
)

// heldFor is how long beyond the time for quiescing a guest holds still by itself: the
// stop comes within it, and an agent that dies before does not hold it for ever.
const heldFor = time.Minute

var errNoAnswer = errors.New("the guest did not answer")

// Quiesce has an instance's guest flush what it holds and write nothing more, until it is
// stopped or thawed. It returns what the guest says. A guest that does not answer before
// ctx ends is told to go on.
func (m *Machines) Quiesce(ctx context.Context, server string, epoch fleet.Epoch) (string, error) {
	k := m.body(mkey{server, epoch})
	x := m.get(k)
	answer := make(chan guest.Reply, 1)
	m.mu.Lock()
	g := x.guest
	m.asked++
	id := m.asked
	x.answer, x.answerID, x.frozen = answer, id, false
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		x.answer = nil
		m.mu.Unlock()
	}()
	hold := heldFor
	if until, has := ctx.Deadline(); has {
		hold += time.Until(until)
	}
	if err := g.send(guest.Order{Kind: guest.Quiesce, ID: id, Hold: hold}); err != nil {
		return "", fmt.Errorf("guest of %s: %w", k, err)
	}
	select {
	case r := <-answer:
		if !r.OK {
			return "", fmt.Errorf("the guest says: %s", r.Detail)
		}
		m.mu.Lock()
		x.frozen = r.Frozen > 0
		m.mu.Unlock()
		return "quiesced: " + r.Detail, nil
	case <-ctx.Done():
		m.Thaw(server, epoch)
		return "", fmt.Errorf("%w: %w", errNoAnswer, context.Cause(ctx))
	}
}

// Thaw has a guest go on that was quiesced. One that does not hear it goes on by itself
// after a while.
func (m *Machines) Thaw(server string, epoch fleet.Epoch) {
	x := m.get(m.body(mkey{server, epoch}))
	m.mu.Lock()
	g := x.guest
	x.frozen = false
	m.mu.Unlock()
	if err := g.send(guest.Order{Kind: guest.Thaw}); err != nil {
		m.opt.Log.Warn("guest is not thawed", "server", server, "epoch", epoch, "error", err)
	}
}

// answered takes a guest's answer; one to an older question is dropped.
func (m *Machines) answered(x *machine, r guest.Reply) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x.answer != nil && x.answerID == r.ID {
		x.answer <- r
		x.answer = nil
	}
}

// isFrozen reports whether the guest has frozen file systems: it cannot power off, and
// need not, since all that it was given is on them.
func (m *Machines) isFrozen(k mkey) bool {
	x := m.get(k)
	m.mu.Lock()
	defer m.mu.Unlock()
	return x.frozen
}
