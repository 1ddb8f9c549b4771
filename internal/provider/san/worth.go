package san

import (
	"context"
	"crypto/rand"
	"maps"
	"strings"
	"time"

	"relight/internal/array"
	"relight/internal/array/examine"
	"relight/internal/core/fleet"
)

// worthWithin bounds the probe of an array's reservations.
const worthWithin = 10 * time.Second

// worth is what a probe found out about an array's reservations.
type worth struct {
	known bool
	// until is for how long it counts that a probe came to nothing; zero if it did not.
	until time.Time
	// why they are no second line; empty if they are.
	why string
}

// Alone runs what nobody else may do at the same time on an array: an examination. It
// returns false, and runs nothing, while another is under way there.
func (a *Arrays) Alone(name string, run func()) bool {
	a.mu.Lock()
	n := a.sans[name]
	a.mu.Unlock()
	if n == nil {
		run()
		return true
	}
	return n.alone(run)
}

func (n *declared) alone(run func()) bool {
	if !n.examining.TryLock() {
		return false
	}
	defer n.examining.Unlock()
	run()
	return true
}

// worthOf is why an array's reservations are no second line, empty if they are, and whether
// that is sure. They are probed once in a controller's life, on a scratch LUN.
func (a *Arrays) worthOf(ctx context.Context, n *declared) (why string, sure bool) {
	ctx, cancel := context.WithTimeout(ctx, worthWithin)
	defer cancel()
	select {
	case n.probing <- struct{}{}:
		defer func() { <-n.probing }()
	case <-ctx.Done():
		return "its reservations are being probed for longer than this start may wait", false
	}
	found := n.worth()
	if found.known && (found.until.IsZero() || a.opt.Now().Before(found.until)) {
		return found.why, found.until.IsZero()
	}
	if why := a.scratchTaken(n.decl.Name); why != "" {
		return why, false
	}
	var (
		got array.Reservations
		err error
	)
	if !n.alone(func() {
		got, err = examine.Reservations(ctx, examine.Options{
			Array: n.bare, Prefix: array.Prefix(n.decl), FenceWithin: worthWithin,
			Random: rand.Reader, Now: a.opt.Now, Wait: array.WaitBy(a.opt.Now),
		})
	}) {
		return "the array is being examined", false
	}
	if err != nil {
		if k, ok := n.bare.(array.Reserver); ok {
			err = k.Explain(err)
		}
		found = worth{known: true, until: a.opt.Now().Add(lineAgain), why: "its reservations could not be probed: " + err.Error()}
	} else {
		_, no := got.SecondLine()
		found = worth{known: true, why: strings.Join(no, "; ")}
	}
	n.mu.Lock()
	n.found = found
	n.mu.Unlock()
	return found.why, err == nil
}

func (n *declared) worth() worth {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.found
}

// noLine is what is known of the reservations' faults.
func (n *declared) noLine(now time.Time) string {
	found := n.worth()
	if n.decl.Reservations != fleet.ReservationsLine || !found.until.IsZero() && !now.Before(found.until) {
		return ""
	}
	return found.why
}

// scratchTaken is why the scratch LUN of an array must not be written to.
func (a *Arrays) scratchTaken(name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch server, volume, found := examine.Clash(maps.Values(a.servers), name, examine.LUN); {
	case !found:
		return ""
	case volume == "":
		return "a server is called " + server + ", as probes are"
	default:
		return "LUN " + examine.LUN + " is a server's, and probes write to it"
	}
}
