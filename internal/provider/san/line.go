package san

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

const (
	// lineWithin bounds what is given to the second line before and after a map is made.
	lineWithin = 5 * time.Second
	// lineAgain is for how long what came to nothing is not tried again, a probe or the line
	// of an epoch: the start of many servers, or of many LUNs, must not wait for as many.
	lineAgain = time.Minute
)

// givenUp is a second line that could not be made for an epoch.
type givenUp struct {
	epoch fleet.Epoch
	until time.Time
	why   string
}

// guard is the second line of a server's LUNs while an epoch is let in.
type guard struct {
	line *array.Line
	// why there is none although the array's declaration wants one.
	why string
}

// lineOf is the second line of a server's LUNs on an array; ok is false where the driver
// lets no holder in.
func (a *Arrays) lineOf(n *declared, s fleet.Server) (line array.Line, ok bool, err error) {
	k, ok := n.bare.(array.Reserver)
	if !ok {
		return array.Line{}, false, nil
	}
	units, _ := unitsOn(s, n.decl.Name)
	m, err := array.HolderOf(a.opt.Key, n.decl, s.Name, units)
	return array.Line{Array: k, Holder: m, Dial: array.DialISCSI, May: provider.Leased}, err == nil, err
}

// lower prepares the second line for the epoch that is about to be let in. Where there
// shall be none, or cannot be, what is left of one is taken away: a reservation of which
// nobody takes care would refuse the server's own writes.
func (a *Arrays) lower(ctx context.Context, call provider.Call, n *declared) (guard, error) {
	line, ok, err := a.lineOf(n, call.Server)
	wanted := n.decl.Reservations == fleet.ReservationsLine
	switch {
	case err != nil && wanted: // a name that is too long: none was ever made
		return guard{why: err.Error()}, nil
	case !ok:
		return guard{}, nil
	case !wanted:
		return guard{}, drop(ctx, line)
	}
	if why := a.noLineFor(ctx, n, line, call.Step.Epoch); why != "" {
		return guard{why: why}, drop(ctx, line)
	}
	ctx, cancel := context.WithTimeout(ctx, lineWithin)
	defer cancel()
	return a.give(ctx, n, line, call.Step.Epoch, line.Lower(ctx, call.Step.Epoch))
}

// noLineFor is why an epoch gets no second line, before anything is done about it.
func (a *Arrays) noLineFor(ctx context.Context, n *declared, line array.Line, e fleet.Epoch) string {
	n.mu.Lock()
	given := n.givenUp[line.Holder.Server]
	n.mu.Unlock()
	if given.epoch == e && a.opt.Now().Before(given.until) {
		return given.why
	}
	why, sure := a.worthOf(ctx, n)
	if why == "" || sure {
		return why
	}
	// A probe that came to nothing says nothing against a line that stands.
	if _, there, err := line.Array.Holder(ctx, line.Holder.Server); err == nil && there {
		return ""
	}
	return why
}

// raise has the second line stand for the epoch that was let in.
func (a *Arrays) raise(ctx context.Context, n *declared, g guard, e entry) (guard, error) {
	if g.line == nil {
		return g, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lineWithin)
	defer cancel()
	return a.give(ctx, n, *g.line, e.Epoch, g.line.Raise(ctx, e.Map, e.target))
}

// give gives a line up that could not be made, or returns it. One that belongs to a later
// epoch stays as it is, and the epoch is refused; without the lease nothing is done.
func (a *Arrays) give(ctx context.Context, n *declared, line array.Line, e fleet.Epoch, err error) (guard, error) {
	switch {
	case err == nil:
		return guard{line: &line}, nil
	case errors.Is(err, array.ErrFenced), errors.Is(err, provider.ErrLeaseOver):
		return guard{}, err
	}
	why := line.Array.Explain(err).Error()
	if errors.Is(err, context.DeadlineExceeded) {
		why = fmt.Sprintf("the array did not answer within %s: %s", lineWithin, why)
	}
	n.mu.Lock()
	n.givenUp[line.Holder.Server] = givenUp{epoch: e, until: a.opt.Now().Add(lineAgain), why: why}
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lineWithin)
	defer cancel()
	if left := drop(ctx, line); left != nil {
		return guard{}, fmt.Errorf("%w; it was to go since %v", left, err)
	}
	return guard{why: why}, nil
}

// drop takes a line away with its holder.
func drop(ctx context.Context, line array.Line) error {
	err := provider.Leased(ctx)
	if err == nil {
		err = line.Array.DropHolder(ctx, line.Holder.Server)
	}
	if err != nil {
		return fmt.Errorf("a reservation may be left that would refuse the server's writes: %w", err)
	}
	return nil
}

// told says for people what became of the second line.
func (g guard) told(r array.Ref) string {
	switch {
	case g.why != "":
		return "no second line: " + g.why
	case g.line != nil:
		return fmt.Sprintf("reservation key %#018x may write, nobody else", array.Key(r.Server, r.Epoch))
	default:
		return ""
	}
}

// without lists the servers that are let in on an array and have no second line although
// it shall have one: it comes with a server's next start. Where that cannot be seen it says
// nothing.
func (a *Arrays) without(ctx context.Context, n *declared) []string {
	if n.decl.Reservations != fleet.ReservationsLine {
		return nil
	}
	var out []string
	for _, name := range a.serversOn(n.decl.Name) {
		a.mu.Lock()
		s := a.servers[name]
		a.mu.Unlock()
		if a.standsFor(ctx, n, s) == fleet.No {
			out = append(out, name)
		}
	}
	return out
}

// standsFor reports whether the line stands for the epochs of a server that are let in.
func (a *Arrays) standsFor(ctx context.Context, n *declared, s fleet.Server) fleet.Answer {
	line, ok, err := a.lineOf(n, s)
	at, locates := n.bare.(array.Locator)
	maps, failed := n.bare.Maps(ctx, s.Name)
	if !ok || err != nil || !locates || failed != nil {
		return fleet.CannotTell
	}
	answer := fleet.CannotTell
	for _, x := range maps {
		if len(x.Initiators) == 0 {
			continue
		}
		m, err := array.MapOf(a.opt.Key, n.decl, x.Ref, line.Holder.Units)
		if err != nil {
			return fleet.CannotTell
		}
		target, err := at.Locate(ctx, x.Ref)
		if err != nil {
			return fleet.CannotTell
		}
		stands, err := line.Stands(ctx, m, target)
		switch {
		case err == nil && !stands, iscsi.IsRefused(err):
			return fleet.No
		case err == nil:
			answer = fleet.Yes
		}
	}
	return answer
}
