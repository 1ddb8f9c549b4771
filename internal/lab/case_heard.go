package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// heard has a machine that was shut out of its LUNs back on the servers' network with
// nobody to end it: its host's agent is dead. The host of the next epoch must hear it
// answer for the server's address, and people be told; clients must reach the next epoch
// all the same; once the agent is back it is ended and heard no more.
func heard(ctx context.Context, s *Stage) (Result, error) {
	r, err := zombie(ctx, s)
	if err != nil {
		return r, err
	}
	st, err := s.status(ctx)
	if err != nil {
		return r, err
	}
	old := st.CameFrom
	if err := errors.Join(s.Lab.KillAgent(ctx, old), s.Lab.Mend(ctx, old, Management)); err != nil {
		return r, err
	}
	err = s.await(ctx, func() (bool, error) {
		hold, err := s.heldBy(ctx)
		told := strings.Contains(hold, "somebody else answers for "+s.Lab.address()) && strings.Contains(hold, old)
		return told, errors.Join(err, fmt.Errorf("nobody is told of the machine on %s: %q", old, hold))
	})
	if err != nil {
		return r, err
	}
	share, err := s.reached(ctx, st.Epoch)
	if err != nil {
		return r, err
	}
	if err := s.Lab.StartAgent(ctx, old); err != nil {
		return r, err
	}
	err = s.await(ctx, func() (bool, error) {
		hold, err := s.heldBy(ctx)
		return err == nil && hold == "", errors.Join(err, fmt.Errorf("it is held: %s", hold))
	})
	r.Outcome += "; the old machine was heard on the network, and " + share
	return r, err
}

// reached has a client ask at the server's address while an older epoch answers for it too:
// nearly all that it hears must be the new one's.
func (s *Stage) reached(ctx context.Context, epoch fleet.Epoch) (string, error) {
	c, err := s.Lab.Call(ctx, s.Lab.ServerAddress())
	if err != nil {
		return "", err
	}
	var ours, theirs int
	err = s.await(ctx, func() (bool, error) {
		ours, theirs = c.Times(fmt.Sprintf("%s %d", Server, epoch)), c.Times(fmt.Sprintf("%s %d", Server, epoch-1))
		return ours >= 1000 && theirs <= ours/10, fmt.Errorf("the client heard epoch %d %d times and the one before %d times", epoch, ours, theirs)
	})
	return fmt.Sprintf("of %d answers to a client %d were the new one's", ours+theirs, ours), errors.Join(err, c.Close())
}

// heldBy is why nothing is done about the server, if a person is needed.
func (s *Stage) heldBy(ctx context.Context) (string, error) {
	why, err := s.api.Why(ctx, s.server)
	if err != nil || why.Decision.Hold == nil || why.Decision.Hold.Gate != decide.GateVerdict {
		return "", err
	}
	return why.Decision.Hold.Reason, nil
}
