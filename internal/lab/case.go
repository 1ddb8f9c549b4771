package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// Case is one thing that goes wrong, and what must become of the server.
type Case struct {
	Name, Title string
	play        func(context.Context, *Stage) (Result, error)
	Needs       Needs
}

// Needs says on which lab a case is played.
type Needs int

const (
	// AnyLab is one on which other cases are played before it and after it.
	AnyLab Needs = iota
	// SeveralControllers is a lab with as many.
	SeveralControllers
	// OwnLab is one for this case alone: it leaves behind what is not mended between cases.
	OwnLab
)

// Cases lists all cases, in order.
func Cases() []Case {
	return []Case{
		{"app-killed", "the application in the guest ends", appKilled, AnyLab},
		{"panic", "the guest's kernel panics", panicked, AnyLab},
		{"hung", "the guest hangs: its virtual CPUs are stopped", hung, AnyLab},
		{"frozen", "the machine's process is stopped: nothing of it answers", frozen, AnyLab},
		{"qemu-killed", "the virtual machine's process is killed", qemuKilled, AnyLab},
		{"agent-killed", "the host's agent is killed: the virtual machine goes on", agentKilled, AnyLab},
		{"agent-gone", "the same, and nobody else looks at the virtual machine", agentGone, AnyLab},
		{"host-off", "the host loses its power", hostOff, AnyLab},
		{"warm", "the host loses its power, and a standby guest waits elsewhere", warm, AnyLab},
		{"zombie", "the management network is cut, and the machine writes on", zombie, AnyLab},
		{"heard", "the same; then the machine is back on its network, and its agent is dead", heard, AnyLab},
		{"self-fence", "the host is cut off all others: its own agent ends the machine", selfFenced, AnyLab},
		{"fence-both", "the management network is cut, and two proofs are wanted", fencedByBoth, AnyLab},
		{"array-unsure", "the management network is cut, and the array's fence cannot be confirmed", arrayUnsure, AnyLab},
		{"array-mute", "the management network is cut, and the array takes no orders", arrayMute, AnyLab},
		{"power-first", "the management network is cut, and power is asked before the array", powerFirst, AnyLab},
		{"storage-cut", "the host's storage network is cut", storageCut, AnyLab},
		{"both-cut", "the host is cut off both networks", bothCut, AnyLab},
		{"san-away", "nobody reaches the SAN: nothing is relaunched", sanAway, AnyLab},
		{"san-restart", "the SAN restarts and has forgotten everything", sanRestart, AnyLab},
		{"controller-killed", "the controller is killed in the middle of a recovery", controllerKilled, AnyLab},
		{"move", "a planned move, and the way back", moveAndBack, AnyLab},
		{"lun", "a machine that starts from a LUN is killed, and then its host", bootedFromLUN, AnyLab},
		{"sanboot", "a machine that iPXE starts from the SAN is killed, and then its host", bootedBySAN, AnyLab},
		{"ipxe-hangs", "a host is lost, and on the next one iPXE hangs: its array is silent", hangsInIPXE, AnyLab},
		{"two-servers", "two servers are lost with their host, of which one needs the other; then again, with room for one", twoServers, OwnLab},
		{"three-controllers", "the one of three that acts is lost in the middle of a recovery", activeLost, SeveralControllers},
	}
}

// FindCase finds a case by its name.
func FindCase(name string) (Case, error) {
	for _, c := range Cases() {
		if c.Name == name {
			return c, nil
		}
	}
	return Case{}, fmt.Errorf("there is no case %q; next: relight lab run --help", name)
}

// ErrDamage means that the LUN shows that something was lost, or is stale.
var ErrDamage = errors.New("the LUN is not as it must be")

// Play settles the stage, plays a case and checks the LUN.
func (s *Stage) Play(ctx context.Context, c Case) (Result, error) {
	if (c.Needs == SeveralControllers) != (s.Lab.Controllers > 1) {
		return Result{Name: c.Name}, fmt.Errorf("%s is not played with %d controllers; next: relight lab run %s", c.Name, max(s.Lab.Controllers, 1), c.Name)
	}
	if err := s.Settle(ctx); err != nil {
		return Result{Name: c.Name}, fmt.Errorf("before %s: %w", c.Name, err)
	}
	begun := time.Now()
	r, err := c.play(ctx, s)
	r.Name = c.Name
	if err != nil {
		return r, fmt.Errorf("%s: %w", c.Name, err)
	}
	// What a zombie still has to write it writes once it is reached again.
	if err := s.Settle(ctx); err != nil {
		return r, fmt.Errorf("after %s: %w", c.Name, err)
	}
	if r.Findings, err = s.judge(ctx, begun); err != nil {
		return r, fmt.Errorf("%s: %w", c.Name, err)
	}
	if !r.OK() {
		err = fmt.Errorf("%s: %w: %s: %v", c.Name, ErrDamage, r.Findings, r.Findings.Notes)
	}
	return r, err
}

var errOutcome = errors.New("something else happened")

// higher wants a new epoch, on another host than the one given.
func higher(before fleet.Status, not string) func(fleet.Status) error {
	return func(now fleet.Status) error {
		if now.Epoch <= before.Epoch || now.Host == not {
			return fmt.Errorf("%w: epoch %d on %s, after epoch %d on %s", errOutcome, now.Epoch, now.Host, before.Epoch, before.Host)
		}
		return nil
	}
}

// anyway wants the server to work, whatever epoch that took.
func anyway(fleet.Status) error { return nil }

// strike breaks something and waits for the recovery.
func (s *Stage) strike(ctx context.Context, fault func(before fleet.Status) error, wanted func(before fleet.Status) func(fleet.Status) error) (Result, error) {
	before, err := s.status(ctx)
	if err != nil {
		return Result{}, err
	}
	at := time.Now()
	if err := fault(before); err != nil {
		return Result{}, err
	}
	return s.healed(ctx, before, at, wanted(before))
}

func whatever(fleet.Status) func(fleet.Status) error { return anyway }

func elsewhere(before fleet.Status) func(fleet.Status) error { return higher(before, before.Host) }

// inPlace wants the same epoch on the same host: its machine was rebooted.
func inPlace(before fleet.Status) func(fleet.Status) error {
	return func(now fleet.Status) error {
		if now.Epoch != before.Epoch || now.Host != before.Host {
			return fmt.Errorf("%w: epoch %d on %s, want epoch %d on %s still", errOutcome, now.Epoch, now.Host, before.Epoch, before.Host)
		}
		return nil
	}
}

func anywhere(before fleet.Status) func(fleet.Status) error { return higher(before, "") }

func appKilled(ctx context.Context, s *Stage) (Result, error) {
	return s.strike(ctx, func(fleet.Status) error { return s.order(ctx, "exit") }, inPlace)
}

func panicked(ctx context.Context, s *Stage) (Result, error) {
	return s.strike(ctx, func(fleet.Status) error { return s.order(ctx, "panic") }, whatever)
}

func hung(ctx context.Context, s *Stage) (Result, error) {
	return s.strike(ctx, func(b fleet.Status) error { return s.Lab.HangVMs(ctx, b.Host) }, whatever)
}

func frozen(ctx context.Context, s *Stage) (Result, error) {
	return s.strike(ctx, func(b fleet.Status) error { return s.Lab.FreezeVMs(ctx, b.Host) }, anywhere)
}

func qemuKilled(ctx context.Context, s *Stage) (Result, error) {
	return s.strike(ctx, func(b fleet.Status) error { return s.Lab.KillVMs(ctx, b.Host) }, anywhere)
}

func hostOff(ctx context.Context, s *Stage) (Result, error) {
	return s.strike(ctx, func(b fleet.Status) error { return s.Lab.PowerOff(ctx, b.Host) }, elsewhere)
}

// warm loses the host of a server for which another host has booted a guest already: it
// must be that one that goes on.
func warm(ctx context.Context, s *Stage) (r Result, err error) {
	if err := s.redeclare(ctx, byBeat, fleet.BootWarm); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.redeclare(ctx, byBeat, fleet.BootKernel)) }()
	var ready []string
	err = s.await(ctx, func() (bool, error) {
		var booting bool
		ready, booting, err = s.standbys(ctx)
		return len(ready) > 0 && !booting, errors.Join(err, fmt.Errorf("the standby guests of %s are not ready, but for those on %v", Server, ready))
	})
	if err != nil {
		return Result{}, err
	}
	return s.strike(ctx, func(b fleet.Status) error { return s.Lab.PowerOff(ctx, b.Host) }, func(b fleet.Status) func(fleet.Status) error {
		return func(now fleet.Status) error {
			if !slices.Contains(ready, now.Host) || now.Epoch <= b.Epoch {
				return fmt.Errorf("%w: epoch %d on %s, and standbys waited on %v", errOutcome, now.Epoch, now.Host, ready)
			}
			return nil
		}
	})
}

// standbys names the hosts on which a standby guest is ready, and says whether another one
// still boots: that one could become the server as well.
func (s *Stage) standbys(ctx context.Context) (ready []string, booting bool, err error) {
	st, err := s.status(ctx)
	if err != nil {
		return nil, false, err
	}
	list, err := s.api.Hosts(ctx)
	for _, h := range list.Items {
		for _, w := range h.Standbys {
			switch {
			case h.Name == st.Host || w.Server != Server:
			case w.Ready:
				ready = append(ready, h.Name)
			default:
				booting = true
			}
		}
	}
	return ready, booting, err
}

func zombie(ctx context.Context, s *Stage) (Result, error) {
	return s.strike(ctx, func(b fleet.Status) error {
		if err := s.Lab.Cut(ctx, b.Host, Management); err != nil {
			return err
		}
		// Without this the case would show less than it says.
		return s.writes(ctx, 5)
	}, elsewhere)
}

func storageCut(ctx context.Context, s *Stage) (Result, error) {
	return s.strike(ctx, func(b fleet.Status) error { return s.Lab.Cut(ctx, b.Host, Storage) }, elsewhere)
}

func bothCut(ctx context.Context, s *Stage) (Result, error) {
	return s.strike(ctx, func(b fleet.Status) error {
		return errors.Join(s.Lab.Cut(ctx, b.Host, Management), s.Lab.Cut(ctx, b.Host, Storage))
	}, elsewhere)
}

// agentAway is for how long an agent, or the SAN, is away: several suspicions.
const agentAway = 5 * time.Second

// agentKilled leaves a host without an agent for several suspicions. Its server is
// asked over the network: what serves clients is alive, whoever is silent about it.
func agentKilled(ctx context.Context, s *Stage) (r Result, err error) {
	if err := s.redeclare(ctx, s.Lab.byNetwork(), fleet.BootKernel); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.redeclare(ctx, byBeat, fleet.BootKernel)) }()
	return withoutAgent(ctx, s, agentAway)
}

// agentGone has the server's health told by its guest alone, so that its silence, the
// storage heartbeat's and that of the host's pings end with one process. Only the host's
// kernel tells that from a dead host.
func agentGone(ctx context.Context, s *Stage) (r Result, err error) {
	if err := s.Lab.Declare(ctx, s.api, s.Lab.patient(s.Lab.Sites(byBeat))); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.redeclare(ctx, byBeat, fleet.BootKernel)) }()
	return withoutAgent(ctx, s, 3*time.Second+2*agentAway)
}

// patient has a fleet judged by the times that are the product's defaults: the lab's
// own are shorter than the pace of what kernels are asked.
func (l *Lab) patient(sites string) string {
	return strings.NewReplacer(
		"suspectAfter: "+l.suspectAfter().String(), "suspectAfter: 3s", "isolatedFor: "+IsolatedFor.String(), "isolatedFor: 2m",
	).Replace(sites)
}

// withoutAgent kills the agent of the server's host and starts it again after a while,
// in which nothing may happen to the server.
func withoutAgent(ctx context.Context, s *Stage, span time.Duration) (Result, error) {
	before, err := s.status(ctx)
	if err != nil {
		return Result{}, err
	}
	machines, err := s.Lab.VMs(before.Host)
	if err != nil {
		return Result{}, err
	}
	if err := s.Lab.KillAgent(ctx, before.Host); err != nil {
		return Result{}, err
	}
	if err := s.untouched(ctx, before, span, true); err != nil {
		return Result{}, err
	}
	if err := s.Lab.StartAgent(ctx, before.Host); err != nil {
		return Result{}, err
	}
	if err := s.Settle(ctx); err != nil {
		return Result{}, err
	}
	now, err := s.status(ctx)
	if err != nil {
		return Result{}, err
	}
	left, err := s.Lab.VMs(before.Host)
	if err != nil || now.Epoch != before.Epoch || len(left) != 1 || len(machines) != 1 || left[0] != machines[0] {
		return Result{}, errors.Join(err, fmt.Errorf("%w: epoch %d (process %v) became %d (process %v)", errOutcome, before.Epoch, machines, now.Epoch, left))
	}
	return Result{Outcome: fmt.Sprintf("untouched on %s, epoch %d", now.Host, now.Epoch)}, nil
}

// untouched sees for a while that nothing is done to the server, and, if it can,
// that it goes on writing.
func (s *Stage) untouched(ctx context.Context, before fleet.Status, span time.Duration, writing bool) error {
	from, _, _ := s.watch.Last()
	for until := time.Now().Add(span); time.Now().Before(until); {
		now, err := s.status(ctx)
		if err != nil {
			return err
		}
		if now.Epoch != before.Epoch {
			return fmt.Errorf("%w: epoch %d became %d: %s", errOutcome, before.Epoch, now.Epoch, now.Message)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if to, _, _ := s.watch.Last(); writing && to < from+5 {
		return fmt.Errorf("%w: %s wrote %d records in %s", errOutcome, Server, to-from, span)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// sanAway cuts the SAN off everybody. A relaunch could only end on the same dead
// volume: nothing may be started before it is back, and people must be told.
func sanAway(ctx context.Context, s *Stage) (Result, error) {
	before, err := s.status(ctx)
	if err != nil {
		return Result{}, err
	}
	at := time.Now()
	if err := s.Lab.Cut(ctx, nodeSAN, Storage); err != nil {
		return Result{}, err
	}
	err = s.await(ctx, func() (bool, error) {
		now, err := s.status(ctx)
		if err != nil {
			return false, err
		}
		if now.Epoch != before.Epoch && now.Phase == fleet.PhaseRunning {
			return true, fmt.Errorf("%w: epoch %d became %d on a dead volume", errOutcome, before.Epoch, now.Epoch)
		}
		told, err := s.events(ctx, at)
		held := slices.ContainsFunc(told, func(e event.Event) bool { return e.Kind == event.Held })
		return held, errors.Join(err, errors.New("nobody was told that nothing can be done"))
	})
	if err == nil {
		err = s.untouched(ctx, before, agentAway, false)
	}
	if err != nil {
		return Result{}, err
	}
	if err := s.Lab.Mend(ctx, nodeSAN, Storage); err != nil {
		return Result{}, err
	}
	away := time.Since(at)
	if err := s.Settle(ctx); err != nil {
		return Result{}, err
	}
	now, err := s.status(ctx)
	return Result{Outcome: fmt.Sprintf("held for %.0fs, epoch %d -> %d", away.Seconds(), before.Epoch, now.Epoch)}, err
}

func sanRestart(ctx context.Context, s *Stage) (Result, error) {
	before, err := s.status(ctx)
	if err != nil {
		return Result{}, err
	}
	at := time.Now()
	if err := s.Lab.restart(ctx, nodeSAN); err != nil {
		return Result{}, err
	}
	if err := s.writes(ctx, 10); err != nil {
		return Result{}, fmt.Errorf("after the SAN's restart: %w", err)
	}
	_, _, wrote := s.watch.Last()
	now, err := s.status(ctx)
	if err != nil {
		return Result{}, err
	}
	return Result{Outcome: fmt.Sprintf("writes on after %.1fs, epoch %d -> %d", wrote.Sub(at).Seconds(), before.Epoch, now.Epoch)}, nil
}

func controllerKilled(ctx context.Context, s *Stage) (Result, error) {
	return s.strike(ctx, func(b fleet.Status) error {
		if err := s.Lab.KillVMs(ctx, b.Host); err != nil {
			return err
		}
		err := s.await(ctx, func() (bool, error) {
			now, err := s.status(ctx)
			return err == nil && now.Recovery != nil, errors.Join(err, fmt.Errorf("the recovery of %s has not begun", Server))
		})
		if err != nil {
			return err
		}
		if err := s.Lab.KillController(ctx); err != nil {
			return err
		}
		return s.Lab.StartController(ctx)
	}, anywhere)
}

// order tells the guest to break, over the network.
func (s *Stage) order(ctx context.Context, what string) error { return s.Lab.order(ctx, what) }

// order tells the server to break. It may do so before it answers; whether it did is for
// what follows to say.
func (l *Lab) order(ctx context.Context, what string) error {
	_, err := l.Tell(ctx, l.address(), what)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}
