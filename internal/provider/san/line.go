package san

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"relight/internal/array"
	"relight/internal/array/examine"
	"relight/internal/array/iscsi"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

const (
	// lineWithin bounds what is given to the second line before and after a map is made.
	lineWithin = 5 * time.Second
	// worthWithin bounds the probe of an array's reservations, and worthAgain is for how long
	// one that came to nothing is not repeated: the start of many servers must not wait for
	// as many.
	worthWithin = 10 * time.Second
	worthAgain  = time.Minute
)

// worth is what a probe found out about an array's reservations.
type worth struct {
	known bool
	// until is for how long that counts; zero is for ever.
	until time.Time
	// why they are no second line; empty if they are.
	why string
}

// guard is the second line of a server's LUNs while an epoch is let in.
type guard struct {
	line *array.Line
	// stands: it stood already for this very epoch.
	stands bool
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
	return array.Line{Array: k, Holder: m, Dial: array.DialISCSI}, true, err
}

// lower prepares the second line for the epoch that is about to be let in. Where there
// shall be none, or cannot be, what is left of one is taken away: a reservation of which
// nobody takes care would refuse the server's own writes.
func (a *Arrays) lower(ctx context.Context, call provider.Call, n *declared) (guard, error) {
	line, ok, err := a.lineOf(n, call.Server)
	if err != nil || !ok {
		return guard{}, err
	}
	if err := provider.Leased(ctx); err != nil {
		return guard{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, lineWithin+worthWithin)
	defer cancel()
	if n.decl.Reservations != fleet.ReservationsLine {
		return guard{}, line.Array.DropHolder(ctx, call.Server.Name)
	}
	if why := a.worthOf(ctx, n); why != "" {
		return guard{why: why}, line.Array.DropHolder(ctx, call.Server.Name)
	}
	if stands, err := line.Stands(ctx, call.Step.Epoch); err == nil && stands {
		return guard{line: &line, stands: true}, nil
	}
	err = line.Lower(ctx, call.Step.Epoch)
	return give(ctx, &line, err)
}

// raise has the second line stand for the epoch that was let in.
func (g guard) raise(ctx context.Context, e entry) (guard, error) {
	if g.line == nil || g.stands {
		return g, nil
	}
	if err := provider.Leased(ctx); err != nil {
		return g, err
	}
	ctx, cancel := context.WithTimeout(ctx, lineWithin)
	defer cancel()
	return give(ctx, g.line, g.line.Raise(ctx, e.Map, e.target))
}

// give gives a line up that could not be made, or returns it. One that belongs to a later
// epoch stays as it is, and the epoch is refused.
func give(ctx context.Context, line *array.Line, err error) (guard, error) {
	switch {
	case err == nil:
		return guard{line: line}, nil
	case errors.Is(err, array.ErrFenced):
		return guard{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lineWithin)
	defer cancel()
	if left := line.Array.DropHolder(ctx, line.Holder.Server); left != nil {
		return guard{}, fmt.Errorf("a reservation may be left that would refuse the server's writes: %w (it was to go since %v)", left, err)
	}
	return guard{why: err.Error()}, nil
}

// told says for people what became of the second line.
func (g guard) told(r array.Ref) string {
	switch {
	case g.why != "":
		return "no second line: " + g.why
	case g.line != nil:
		return fmt.Sprintf("reservation key %#016x may write, nobody else", array.Key(r.Server, r.Epoch))
	default:
		return ""
	}
}

// Alone runs what nobody else may do at the same time: an examination of an array. It
// returns false, and runs nothing, while another is under way.
func (a *Arrays) Alone(run func()) bool {
	if !a.examining.TryLock() {
		return false
	}
	defer a.examining.Unlock()
	run()
	return true
}

// worthOf is why an array's reservations are no second line; empty if they are. They are
// probed once in a controller's life, on a scratch LUN.
func (a *Arrays) worthOf(ctx context.Context, n *declared) string {
	n.worth.Lock()
	defer n.worth.Unlock()
	if n.found.known && (n.found.until.IsZero() || a.opt.Now().Before(n.found.until)) {
		return n.found.why
	}
	if why := a.scratchTaken(n.decl.Name); why != "" {
		return why
	}
	ctx, cancel := context.WithTimeout(ctx, worthWithin)
	defer cancel()
	var (
		got array.Reservations
		err error
	)
	if !a.Alone(func() {
		got, err = examine.Reservations(ctx, examine.Options{
			Array: n.bare, Prefix: array.Prefix(n.decl), FenceWithin: worthWithin,
			Random: rand.Reader, Now: a.opt.Now, Wait: array.WaitBy(a.opt.Now),
		})
	}) {
		return "an array is being examined"
	}
	if err != nil {
		n.found = worth{known: true, until: a.opt.Now().Add(worthAgain), why: "its reservations could not be probed: " + err.Error()}
		return n.found.why
	}
	_, why := got.SecondLine()
	n.found = worth{known: true, why: strings.Join(why, "; ")}
	return n.found.why
}

// noLine is what is known of the reservations' faults, without waiting for a probe.
func (n *declared) noLine() string {
	if n.decl.Reservations != fleet.ReservationsLine || !n.worth.TryLock() {
		return ""
	}
	defer n.worth.Unlock()
	return n.found.why
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
		maps, err := n.bare.Maps(ctx, name)
		line, ok, bad := a.lineOf(n, s)
		if err != nil || bad != nil || !ok {
			continue
		}
		for _, m := range maps {
			stands, err := line.Stands(ctx, m.Epoch)
			if len(m.Initiators) > 0 && (err == nil && !stands || iscsi.IsRefused(err)) {
				out = append(out, name)
			}
		}
	}
	return out
}

// scratchTaken is why the scratch LUN of an array must not be written to.
func (a *Arrays) scratchTaken(name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.servers {
		if s.Name == examine.Server {
			return "a server is called " + s.Name + ", as probes are"
		}
		for _, v := range s.Spec.Identity.Volumes {
			if v.LUN != nil && v.LUN.Array == name && v.LUN.Name == examine.LUN {
				return "LUN " + v.LUN.Name + " is a server's, and probes write to it"
			}
		}
	}
	return ""
}
