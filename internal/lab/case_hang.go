package lab

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/lab/image"
)

// hangWithin bounds the case: a start that hangs, and a good one.
const hangWithin = 2 * healWithin

// hangsInIPXE loses the host of a server, and on the next one iPXE hangs: the switch sends
// elsewhere what is for the machine, so that its array stays silent. The host itself, its
// agent and its own way to the array are well. That try must fail in time and be told, and
// the host after it start the server.
func hangsInIPXE(ctx context.Context, s *Stage) (r Result, err error) {
	d, err := s.Lab.openDHCP(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := s.Lab.routeToSAN(ctx); err != nil {
		return Result{}, err
	}
	if err := s.bootsFrom(ctx, fleet.BootSAN, image.Disk{SAN: true, Cmdline: s.Lab.sanCmdline()}); err != nil {
		return Result{}, err
	}
	before, err := s.status(ctx)
	if err != nil {
		return Result{}, err
	}
	mac, err := s.Lab.macOn(before.Host)
	if err != nil {
		return Result{}, err
	}
	if err := s.Lab.pin(ctx, mac, nodeClient); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.Lab.unpin(context.WithoutCancel(ctx), mac)) }()

	at := time.Now()
	if err := s.Lab.PowerOff(ctx, before.Host); err != nil {
		return Result{}, err
	}
	hung, err := s.triedOn(ctx, before)
	if err != nil {
		return Result{}, err
	}
	left := slices.DeleteFunc(Hosts(), func(h string) bool { return h == before.Host || h == hung.Host })
	if len(left) != 1 {
		return Result{}, fmt.Errorf("%w: the next epoch is on %s, after %s", errOutcome, hung.Host, before.Host)
	}
	if err := errors.Join(s.startedBy(hung.Host, "boot.ipxe"), s.Lab.pin(ctx, mac, left[0])); err != nil {
		return Result{}, err
	}
	wide := *s
	wide.within = hangWithin
	took, err := wide.toldOfHang(ctx, at)
	if err != nil {
		return Result{}, err
	}
	r, err = wide.healed(ctx, before, at, func(now fleet.Status) error {
		if now.Host != left[0] || now.Epoch != hung.Epoch+1 {
			return fmt.Errorf("%w: epoch %d on %s, want %d on %s", errOutcome, now.Epoch, now.Host, hung.Epoch+1, left[0])
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	r.Outcome = fmt.Sprintf("%s -> %s, failed in %.0fs -> %s, epoch %d -> %d", r.From, hung.Host, took.Seconds(), r.To, r.EpochFrom, r.EpochTo)
	if err := s.startedBy(r.To, "boot.ipxe"); err != nil {
		return r, err
	}
	// Its storage goes over the management network, which other cases cut one by one.
	if err := errors.Join(s.Lab.unpin(ctx, mac), s.redeclare(ctx, byBeat, fleet.BootKernel)); err != nil {
		return r, err
	}
	_, err = s.strike(ctx, func(b fleet.Status) error { return s.Lab.KillVMs(ctx, b.Host) }, anywhere)
	return r, err
}

// triedOn waits until the next epoch's machine runs.
func (s *Stage) triedOn(ctx context.Context, before fleet.Status) (now fleet.Status, err error) {
	err = s.await(ctx, func() (bool, error) {
		if now, err = s.status(ctx); err != nil {
			return false, err
		}
		vms, err := s.Lab.VMs(now.Host)
		return now.Epoch > before.Epoch && now.Host != before.Host && len(vms) > 0,
			errors.Join(err, fmt.Errorf("no host tries the epoch after %d: %s", before.Epoch, now.Message))
	})
	return now, err
}

// toldOfHang waits until people are told of the try that failed, and why, and returns how
// long that took from the end of its launch: no longer than verifyWithin, and a few looks.
func (s *Stage) toldOfHang(ctx context.Context, since time.Time) (took time.Duration, err error) {
	var failed time.Time
	err = s.await(ctx, func() (bool, error) {
		why, err := s.api.Why(ctx, Server)
		if err != nil {
			return false, err
		}
		for _, e := range why.Events {
			if e.Event.Kind == event.RecoveryClimbed && e.Event.At.After(since) && strings.Contains(e.Event.Message, "it was not verified within "+verifyWithin.String()+": it runs but its check fails") {
				failed = e.Event.At
			}
		}
		return !failed.IsZero(), fmt.Errorf("nobody is told that the start failed: %s", why.Now())
	})
	if err != nil {
		return 0, err
	}
	events, err := s.events(ctx, since)
	for _, e := range events {
		if e.Kind == event.StepEnded && e.Step != nil && e.Step.Step.Kind == fleet.StepLaunch && e.At.Before(failed) {
			took = failed.Sub(e.At)
		}
	}
	if err == nil && (took < verifyWithin || took > verifyWithin+10*time.Second) {
		err = fmt.Errorf("%w: the start that hung failed after %s, want %s", errOutcome, took, verifyWithin)
	}
	return took, err
}

var macArg = regexp.MustCompile(`"mac": ?"([0-9a-f:]{17})"`)

// macOn is the hardware address of the machine that a host runs.
func (l *Lab) macOn(host string) (string, error) {
	found, err := processes(l.namespace(host))
	if err != nil {
		return "", err
	}
	for _, p := range found {
		if m := macArg.FindStringSubmatch(strings.Join(p.Args, " ")); isVM(p) && m != nil {
			return m[1], nil
		}
	}
	return "", fmt.Errorf("%s runs no machine with a network", host)
}

// pin has the management network's switch send what is for a hardware address to one node
// only, wherever the machine with it may be, as one whose table is stale.
func (l *Lab) pin(ctx context.Context, mac, node string) error {
	return run(ctx, "", "bridge", "-n", l.namespace(nodeSwitch), "fdb", "replace", mac, "dev", port(node, Management), "master", "static", "sticky")
}

// unpin has the switch learn again where the address is. One that is not pinned is no error.
func (l *Lab) unpin(ctx context.Context, mac string) error {
	out, err := output(ctx, "bridge", "-n", l.namespace(nodeSwitch), "fdb", "show", "br", string(Management))
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == mac && strings.Contains(line, "sticky") {
			return run(ctx, "", "bridge", "-n", l.namespace(nodeSwitch), "fdb", "del", mac, "dev", f[2], "master")
		}
	}
	return nil
}
