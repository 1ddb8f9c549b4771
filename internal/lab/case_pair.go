package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/lab/image"
)

// pair is two servers on one lab, each with a LUN, an address and a watcher of its own.
type pair struct {
	first, second *Stage
	img           image.Image
}

// twoServers loses two servers with their host, twice, of which the second needs the first:
// it must wait until that works. The second time there is room for one of them: the first
// must have it, and people be told what the other one waits for, which starts as soon as
// there is room again.
func twoServers(ctx context.Context, s *Stage) (r Result, err error) {
	begun := time.Now()
	p := &pair{first: s, second: &Stage{Lab: s.Lab, server: "vm-2", api: s.api, ears: s.ears}}
	if p.img, err = image.Build(ctx, image.Options{Cache: cache}); err != nil {
		return Result{}, err
	}
	if err := s.Lab.makeLUN(p.second.server+"-"+volume, lunSize); err != nil {
		return Result{}, err
	}
	if err := p.second.look(); err != nil {
		return Result{}, err
	}
	defer func() {
		p.second.stop()
		err = errors.Join(err, p.second.watch.Close())
	}()
	if r, err = p.inOrder(ctx); err != nil {
		return r, fmt.Errorf("in order: %w", err)
	}
	if err := p.roomForOne(ctx); err != nil {
		return r, fmt.Errorf("with room for one: %w", err)
	}
	// Play judges the first.
	found, err := p.second.judge(ctx, begun)
	if err == nil && !found.OK() {
		err = fmt.Errorf("%w: %s: %s: %v", ErrDamage, p.second.server, found, found.Notes)
	}
	r.Outcome += fmt.Sprintf("; then with room for %s alone; %s acked=%d lost=%d stale=%d", s.server, p.second.server, found.Acked, found.Lost, found.Stale)
	return r, err
}

// declare tells the controller both servers, of which the second is started after the
// first, and how much of a host each takes, and has both of them on one host.
func (p *pair) declare(ctx context.Context, units int) error {
	l := p.first.Lab
	text := l.Sites(byBeat) + l.server(p.img, fleet.BootKernel) + l.machine(p.second.server, l.management(101), p.img, fleet.BootKernel) +
		"  after: [" + p.first.server + "]\n"
	// Together they take more of their host than it has, if need be.
	for _, n := range []int{1, units} {
		room := fmt.Sprintf("placement: {sites: [room], units: %d}", n)
		if err := l.Declare(ctx, p.first.api, strings.ReplaceAll(text, "placement: {sites: [room]}", room)); err != nil {
			return err
		}
		if err := errors.Join(p.first.Settle(ctx), p.second.works(ctx)); err != nil {
			return err
		}
		a, err := p.first.status(ctx)
		if err != nil {
			return err
		}
		b, err := p.second.status(ctx)
		if err != nil {
			return err
		}
		if a.Host == b.Host {
			continue
		}
		if _, err := p.second.move(ctx, client.MoveRequest{To: a.Host}, a.Host); err != nil {
			return fmt.Errorf("move %s to %s: %w", p.second.server, a.Host, err)
		}
	}
	return nil
}

// inOrder loses the host of both: the second is recovered once the first works.
func (p *pair) inOrder(ctx context.Context) (Result, error) {
	if err := p.declare(ctx, 1); err != nil {
		return Result{}, err
	}
	other, err := p.second.status(ctx)
	if err != nil {
		return Result{}, err
	}
	at := time.Now()
	r, err := p.first.strike(ctx, func(b fleet.Status) error {
		if err := p.first.Lab.PowerOff(ctx, b.Host); err != nil {
			return err
		}
		return p.second.heldAt(ctx, decide.GateOrder, "it starts after "+p.first.server)
	}, elsewhere)
	if err != nil {
		return r, err
	}
	if _, err := p.second.healed(ctx, other, at, elsewhere(other)); err != nil {
		return r, err
	}
	healed, err := p.first.moment(ctx, at, event.RecoveryHealed)
	if err != nil {
		return r, err
	}
	begun, err := p.second.moment(ctx, at, event.RecoveryBegun)
	if err == nil && begun.Before(healed) {
		err = fmt.Errorf("%w: the recovery of %s began %s before %s worked", errOutcome, p.second.server, healed.Sub(begun), p.first.server)
	}
	r.Outcome += fmt.Sprintf("; %s %.1fs later", p.second.server, begun.Sub(healed).Seconds())
	return r, err
}

// roomForOne loses the host of both while another host is off, so that the third has room
// for one of them.
func (p *pair) roomForOne(ctx context.Context) error {
	if err := p.declare(ctx, hostUnits-1); err != nil {
		return err
	}
	at := time.Now()
	a, err := p.first.status(ctx)
	if err != nil {
		return err
	}
	b, err := p.second.status(ctx)
	if err != nil {
		return err
	}
	hosts := slices.DeleteFunc(Hosts(), func(h string) bool { return h == a.Host })
	off, on := hosts[0], hosts[1]
	l := p.first.Lab
	if err := p.first.foretold(ctx, ""); err != nil {
		return err
	}
	if err := errors.Join(l.PowerOff(ctx, off), p.first.foretold(ctx, a.Host), l.PowerOff(ctx, a.Host)); err != nil {
		return err
	}
	full := fmt.Sprintf("%s: %d of %d units are used, %d are needed", on, hostUnits-1, hostUnits, hostUnits-1)
	if err := p.second.heldAt(ctx, decide.GatePlacement, full); err != nil {
		return err
	}
	if err := p.first.works(ctx); err != nil {
		return err
	}
	if machines, err := l.VMs(on); err != nil || len(machines) != 1 {
		return errors.Join(err, fmt.Errorf("%w: %s has room for one, and runs the machines %v", errOutcome, on, machines))
	}
	if err := l.PowerOn(ctx, off); err != nil {
		return err
	}
	_, err = p.second.healed(ctx, b, at, elsewhere(b))
	return err
}

// foretold waits until the answer to "N+1 possible?" is yes, or, with a host named, that of
// the servers there one would find no place.
func (s *Stage) foretold(ctx context.Context, worst string) error {
	return s.await(ctx, func() (bool, error) {
		view, err := s.api.Spare(ctx)
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(view.Sites, func(w decide.SiteSpare) bool { return w.Site == "fleet" })
		j := slices.IndexFunc(view.Hosts, func(h decide.HostSpare) bool { return h.Host == worst })
		if worst == "" {
			return i >= 0 && view.Sites[i].OK, fmt.Errorf("the fleet does not bear the loss of a host: %+v", view.Sites)
		}
		return i >= 0 && j >= 0 && view.Sites[i].Worst == worst && len(view.Hosts[j].Homeless) == 1,
			fmt.Errorf("nobody says that one server of %s has no place elsewhere: %+v", worst, view)
	})
}

// heldAt waits until relight why says that the server waits at that gate, in these words.
func (s *Stage) heldAt(ctx context.Context, gate, words string) error {
	return s.await(ctx, func() (bool, error) {
		why, err := s.api.Why(ctx, s.server)
		if err != nil {
			return false, err
		}
		h := why.Decision.Hold
		return h != nil && h.Gate == gate && strings.Contains(h.Reason, words),
			fmt.Errorf("%s is not held at the gate %s (%s): %s", s.server, gate, words, why.Now())
	})
}

// moment is when the server's first event of a kind since then was.
func (s *Stage) moment(ctx context.Context, since time.Time, kind event.Kind) (time.Time, error) {
	events, err := s.events(ctx, since)
	if err != nil {
		return time.Time{}, err
	}
	for _, e := range events {
		if e.Kind == kind && e.At.After(since) {
			return e.At, nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: no %s of %s", errOutcome, kind, s.server)
}
