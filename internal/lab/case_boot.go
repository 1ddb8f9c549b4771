package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"relight/internal/core/fleet"
	"relight/internal/lab/image"
)

// bootLUN is the name of the LUN that machines boot from.
const bootLUN = Server + "-boot"

// bootedFromLUN has QEMU attach the LUNs, and the machine's firmware start one of them.
func bootedFromLUN(ctx context.Context, s *Stage) (Result, error) {
	r, err := s.booted(ctx, fleet.BootLUN, image.Disk{Cmdline: s.Lab.cmdline(s.Lab.address())}, "-boot strict=on")
	if err != nil {
		return r, err
	}
	return r, s.redeclare(ctx, byBeat, fleet.BootKernel)
}

// bootedBySAN has iPXE log in and start the LUN. The machine is an initiator itself: it
// gets an address from the network, and a way to the SAN.
func bootedBySAN(ctx context.Context, s *Stage) (r Result, err error) {
	d, err := s.Lab.openDHCP(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := s.Lab.routeToSAN(ctx); err != nil {
		return Result{}, err
	}
	if r, err = s.booted(ctx, fleet.BootSAN, image.Disk{SAN: true, Cmdline: s.Lab.sanCmdline()}, "boot.ipxe"); err != nil {
		return r, err
	}
	// Its storage goes over the management network, which other cases cut one by one.
	if err := s.redeclare(ctx, byBeat, fleet.BootKernel); err != nil {
		return r, err
	}
	_, err = s.strike(ctx, func(b fleet.Status) error { return s.Lab.KillVMs(ctx, b.Host) }, anywhere)
	return r, err
}

// sanCmdline is the guest's that finds its address, its epoch and its disks in what the
// firmware has left.
func (l *Lab) sanCmdline() string {
	return fmt.Sprintf("%s relight.app=writer relight.disk=unit:%d relight.ack=%s:%d relight.serve=%d relight.faults",
		quick, dataUnit, l.management(last(nodeClient)), ackPort, ServePort)
}

// booted makes the boot disk and declares that machines start from it. The first fault
// ends a machine that started in another way; the second one, of its host, ends the one
// that started so, and must find another that does. sign is in the command line of such
// a machine.
func (s *Stage) booted(ctx context.Context, boot fleet.Boot, disk image.Disk, sign string) (Result, error) {
	if err := s.bootsFrom(ctx, boot, disk); err != nil {
		return Result{}, err
	}
	first, err := s.strike(ctx, func(b fleet.Status) error { return s.Lab.KillVMs(ctx, b.Host) }, anywhere)
	if err != nil {
		return first, fmt.Errorf("the machine is killed: %w", err)
	}
	if err := s.startedBy(first.To, sign); err != nil {
		return first, err
	}
	r, err := s.strike(ctx, func(b fleet.Status) error { return s.Lab.PowerOff(ctx, b.Host) }, elsewhere)
	if err != nil {
		return r, fmt.Errorf("the host is switched off: %w", err)
	}
	return r, s.startedBy(r.To, sign)
}

// bootsFrom makes the boot disk and declares that the next machine starts from it.
func (s *Stage) bootsFrom(ctx context.Context, boot fleet.Boot, disk image.Disk) error {
	img, err := image.Build(ctx, image.Options{Cache: cache})
	if err != nil {
		return err
	}
	if err := s.Lab.makeLUN(bootLUN, image.DiskBytes); err != nil {
		return err
	}
	if err := image.BootDisk(ctx, img, s.Lab.LUNFile(bootLUN), disk); err != nil {
		return err
	}
	return s.redeclare(ctx, byBeat, boot)
}

// startedBy looks at how a host's machine was started.
func (s *Stage) startedBy(host, sign string) error {
	found, err := processes(s.Lab.namespace(host))
	if err != nil {
		return err
	}
	for _, p := range found {
		if line := strings.Join(p.Args, " "); isVM(p) && !strings.Contains(line, sign) {
			return fmt.Errorf("%w: the machine on %s was not started by %q: %s", errOutcome, host, sign, line)
		}
	}
	return nil
}
