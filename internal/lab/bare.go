package lab

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"relight/internal/lab/check"
	"relight/internal/lab/image"
)

// Bare plays a takeover without Relight: two virtual machines on one LUN, by hand.
// It is what the checker must be able to tell from a fence, and the floor below any
// measured recovery.
type Bare struct {
	lab   *Lab
	img   image.Image
	watch *check.Watcher
	stop  context.CancelFunc
}

const (
	bareTarget = "iqn.2026-01.lab.bare:data"
	bareTID    = "4711"
	bareLUN    = "bare"
)

// initiator is the name of an epoch.
func initiator(epoch string) string { return "iqn.2026-01.lab.bare:vm.e" + epoch }

// Bare makes a LUN with one target that all epochs share. Close it.
func (l *Lab) Bare(ctx context.Context) (*Bare, error) {
	img, err := image.Build(ctx, image.Options{Cache: cache})
	if err != nil {
		return nil, err
	}
	if err := l.makeLUN(bareLUN, lunSize); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"--op", "new", "--mode", "target", "--tid", bareTID, "-T", bareTarget},
		{"--op", "new", "--mode", "logicalunit", "--tid", bareTID, "--lun", "1", "--bstype", "rdwr", "--bsoflags", "direct", "-b", l.LUNFile(bareLUN)},
	} {
		if err := l.tgtadm(ctx, args...); err != nil {
			return nil, err
		}
	}
	b := &Bare{lab: l, img: img}
	if b.watch, err = check.Open(l.LUNFile(bareLUN), time.Now); err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(context.Background())
	b.stop = stop
	go b.watch.Run(watching)
	return b, nil
}

// Close ends the watch; machines end with their lab.
func (b *Bare) Close() error {
	b.stop()
	return b.watch.Close()
}

// Allow lets an epoch log in.
func (b *Bare) Allow(ctx context.Context, epoch int) error {
	return b.lab.tgtadm(ctx, "--op", "bind", "--mode", "target", "--tid", bareTID, "--initiator-name", initiator(strconv.Itoa(epoch)))
}

// Forbid takes an epoch out of the map, and does no more.
func (b *Bare) Forbid(ctx context.Context, epoch int) error {
	return b.lab.tgtadm(ctx, "--op", "unbind", "--mode", "target", "--tid", bareTID, "--initiator-name", initiator(strconv.Itoa(epoch)))
}

// AllowAll lets everybody log in: whoever takes over with a power device alone has
// no map that changes.
func (b *Bare) AllowAll(ctx context.Context) error {
	return b.lab.tgtadm(ctx, "--op", "bind", "--mode", "target", "--tid", bareTID, "-I", "ALL")
}

// Argv is the machine's command line; epoch is a number, or what a script will put
// in its place.
func (b *Bare) Argv(host, epoch string) []string {
	return []string{
		"qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "192",
		"-device", "virtio-rng-pci", "-device", "virtio-serial-pci", "-chardev", "null,id=g", "-device", "virtserialport,chardev=g,name=org.relight.guest",
		"-kernel", b.img.Kernel, "-initrd", b.img.Initrd,
		"-append", "console=ttyS0 " + quick + " relight.server=bare relight.epoch=" + epoch + " relight.app=writer relight.disk=data",
		"-chardev", "file,id=c,path=" + b.lab.path(host+"-bare.log"), "-serial", "chardev:c",
		"-blockdev", fmt.Sprintf("driver=iscsi,node-name=d0,transport=tcp,portal=%s,target=%s,lun=1,initiator-name=%s,cache.direct=on", b.lab.Portal(), bareTarget, initiator(epoch)),
		"-device", "virtio-blk-pci,drive=d0,serial=data",
	}
}

// Launch starts an epoch's machine on a host, and returns once it has written.
func (b *Bare) Launch(ctx context.Context, host string, epoch int) error {
	if err := b.Start(host, epoch); err != nil {
		return err
	}
	return b.HasWritten(ctx, host, epoch)
}

// Start starts an epoch's machine on a host, and returns once its process runs.
func (b *Bare) Start(host string, epoch int) error {
	_, err := b.lab.Start(host, b.Argv(host, strconv.Itoa(epoch))...)
	return err
}

// HasWritten waits for the first record of an epoch that was started on a host.
func (b *Bare) HasWritten(ctx context.Context, host string, epoch int) error {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	return poll(ctx, func() (bool, error) {
		at, _ := b.watch.First(uint64(epoch))
		if _, err := b.lab.lives(host, isVM); err != nil {
			return true, fmt.Errorf("machine: %w%s", err, b.lab.complaint(host))
		}
		return !at.IsZero(), fmt.Errorf("epoch %d has not written", epoch)
	})
}

// Fence does all that it takes: no logins, no sessions, and none is listed.
func (b *Bare) Fence(ctx context.Context, epoch int) error {
	if err := b.Forbid(ctx, epoch); err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		sids, err := b.sessions(ctx, epoch)
		for _, sid := range sids {
			_ = b.lab.tgtadm(ctx, "--op", "delete", "--mode", "conn", "--tid", bareTID, "--sid", sid, "--cid", "0")
		}
		return err == nil && len(sids) == 0, errors.Join(err, fmt.Errorf("%d sessions of epoch %d are left", len(sids), epoch))
	})
}

func (b *Bare) sessions(ctx context.Context, epoch int) ([]string, error) {
	out, err := output(ctx, "tgtadm", "-C", strconv.Itoa(b.lab.Control), "--lld", "iscsi", "--op", "show", "--mode", "target")
	if err != nil {
		return nil, err
	}
	var sids []string
	sid := ""
	for _, line := range strings.Split(out, "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch word {
		case "I_T nexus":
			sid = rest
		case "Initiator":
			if name, _, _ := strings.Cut(rest, " "); name == initiator(strconv.Itoa(epoch)) {
				sids = append(sids, sid)
			}
		}
	}
	return sids, nil
}

// Wrote waits until an epoch has written more records after a time.
func (b *Bare) Wrote(ctx context.Context, more uint64) error {
	from, _, _ := b.watch.Last()
	return poll(ctx, func() (bool, error) {
		to, _, _ := b.watch.Last()
		return to >= from+more, fmt.Errorf("%d records", to-from)
	})
}

// First tells when the first record of an epoch was found; Last is the newest one.
func (b *Bare) First(epoch uint64) time.Time {
	at, _ := b.watch.First(epoch)
	return at
}

// Last is the newest record's number and epoch.
func (b *Bare) Last() (seq, epoch uint64) {
	seq, epoch, _ = b.watch.Last()
	return seq, epoch
}

// Judge holds the LUN against the fences.
func (b *Bare) Judge(fences ...check.Fence) (check.Findings, error) {
	return b.watch.Judge(nil, fences)
}
