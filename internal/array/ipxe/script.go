package ipxe

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"relight/internal/array"
)

const (
	// MaxBytes is the longest script: user data of EC2 takes no more.
	MaxBytes = 16 << 10
	// DefaultTries and DefaultPause say how long a machine goes on asking an array
	// that does not let it in: a minute covers a map that is about to be made, or an
	// array that restarts.
	DefaultTries = 12
	// DefaultPause is the wait between two of them.
	DefaultPause = 5 * time.Second

	// firstDrive is the BIOS number of the first disk.
	firstDrive = 0x80
	maxData    = 16
	// tableRoom is what the names of one way to the boot disk may have in bytes, each
	// with its end, in the table (iBFT) by which the guest learns whose epoch it is,
	// and nextWay is what each further way takes beside its names. Measured on iPXE of
	// 2019 (251 fit, 271 do not): beyond that it refuses to start.
	tableRoom = 250
	nextWay   = 64
)

// ErrInvalid is returned, wrapped with what is wrong, for what cannot be booted, or
// could be read as more than one word by iPXE.
var ErrInvalid = errors.New("no iPXE script can be made")

// Boot is what a machine is to start.
type Boot struct {
	array.Ref
	// Initiator, User and Secret are the epoch's own; see array.Map.
	Initiator, User, Secret string
	// Root are the ways to the boot disk, in order of preference: one LUN, seen through
	// several targets or portals. The guest is told of as many as its table has room for.
	Root []Unit
	// Data are further LUNs that the firmware attaches, as its next disks. A machine
	// that lacks one is not started.
	Data []Unit
	Net  Net
	// Keep ends with the disks attached when the boot sector gives up, so that the
	// firmware's next boot device finds them: an installer, or a rescue system.
	Keep bool
	// Tries and Pause bound the waiting for an array; zero means the defaults.
	Tries int
	Pause time.Duration
}

// Unit is a LUN as a target shows it.
type Unit struct {
	Target array.Target
	Unit   int
	// More are further portals of the same target, for a data LUN: the ways to the boot
	// disk are listed one by one, for the firmware's table has one line for each.
	More []string
}

// Net is how the machine reaches its array.
type Net struct {
	// Interface is iPXE's name; net0 if empty.
	Interface string
	// Address is the machine's, with the length of its network; DHCP if it is zero.
	Address netip.Prefix
	Gateway netip.Addr
}

var (
	iqnWord   = regexp.MustCompile(`^iqn\.[0-9]{4}-[0-9]{2}\.[a-z0-9.:-]{1,200}$`)
	plainWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,222}$`)
	nicWord   = regexp.MustCompile(`^net[0-9]{1,2}$`)
)

// Script writes the script of one epoch. It holds the epoch's secret. Errors:
// ErrInvalid.
func Script(b Boot) ([]byte, error) {
	b = b.filled()
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("%s epoch %d: %w", b.Server, b.Epoch, err)
	}
	text := b.script(true)
	if len(text) > MaxBytes {
		text = b.script(false)
	}
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%s epoch %d: %w: %d bytes, above %d", b.Server, b.Epoch, ErrInvalid, len(text), MaxBytes)
	}
	return []byte(text), nil
}

// script writes the script, with each way tried alone if singly.
func (b Boot) script(singly bool) string {
	w := &writer{singly: singly}
	w.line("#!ipxe")
	w.line("echo Relight: server %s epoch %d", b.Server, b.Epoch)
	w.line("set initiator-iqn %s", b.Initiator)
	w.line("set username %s", b.User)
	w.line("set password %s", b.Secret)
	w.line("set tries:int32 0")
	w.line(":try")
	w.network(b)
	w.disks(b)
	w.failures(b)
	return w.b.String()
}

func (b Boot) filled() Boot {
	if b.Net.Interface == "" {
		b.Net.Interface = "net0"
	}
	if b.Tries == 0 {
		b.Tries = DefaultTries
	}
	if b.Pause == 0 {
		b.Pause = DefaultPause
	}
	return b
}

type writer struct {
	b      strings.Builder
	singly bool
}

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

func (w *writer) network(b Boot) {
	n := b.Net
	if !n.Address.IsValid() {
		w.line("dhcp %s || goto nonet", n.Interface) // no options: releases of 2019 know none
		return
	}
	w.line("ifopen %s || goto nonet", n.Interface)
	w.line("set %s/ip %s", n.Interface, n.Address.Addr())
	w.line("set %s/netmask %s", n.Interface, netmask(n.Address.Bits()))
	if n.Gateway.IsValid() {
		w.line("set %s/gateway %s", n.Interface, n.Gateway)
	}
}

// disks attaches all disks, the boot disk first: attached after another, it would
// share that one's natural number, and the firmware would read the wrong disk. Only
// the boot disk is described to the guest: the firmware's table has no room for more.
// A guest that logs in to the target that is described there sees all of its units.
func (w *writer) disks(b Boot) {
	var ways []string
	for _, u := range b.Root {
		ways = append(ways, uri(u))
	}
	w.hook(firstDrive, "", ways, b.told())
	for i, u := range b.Data {
		ways := uris(u)
		w.hook(firstDrive+1+i, "--no-describe ", ways, len(ways))
	}
	w.line("sanboot --no-describe --drive %#x ||", firstDrive)
	w.line("echo Relight: the boot sector of %s epoch %d gave up: ${errno}", b.Server, b.Epoch)
	if b.Keep {
		w.line("exit 1")
	} else {
		w.line("goto loose")
	}
}

// hook attaches a disk by the first ways, as many as told, at once: iPXE uses any that
// works. It cannot describe a disk to the guest if its routes lead to none for one of
// them, so that each is tried alone, too; so are those of which the guest cannot be told.
func (w *writer) hook(drive int, flags string, ways []string, told int) {
	tries := []string{strings.Join(ways[:told], " ")}
	if len(ways) > 1 && (w.singly || told < len(ways)) {
		if told == 1 {
			tries = nil
		}
		tries = append(tries, ways...)
	}
	last := len(tries) - 1
	for _, t := range tries[:last] {
		w.line("sanhook %s--drive %#x %s && goto in%x ||", flags, drive, t, drive)
		w.line("sanunhook --drive %#x ||", drive) // one that is not described stays attached
	}
	w.line("sanhook %s--drive %#x %s || goto refused", flags, drive, tries[last])
	if last > 0 {
		w.line(":in%x", drive)
	}
}

// failures say what is known, wait, and begin anew, for a bounded time: a machine
// whose epoch was fenced must not knock for ever.
func (w *writer) failures(b Boot) {
	w.line(":refused")
	w.line("echo Relight: the array does not let %s epoch %d in: ${errno}", b.Server, b.Epoch)
	w.line("echo Relight: it was fenced, or a LUN is not mapped, or the array is away")
	w.line("echo Relight: next: relight why %s", b.Server)
	w.line(":loose")
	for i := len(b.Data); i >= 0; i-- {
		w.line("sanunhook --drive %#x ||", firstDrive+i)
	}
	w.line("goto again")
	w.line(":nonet")
	w.line("echo Relight: %s epoch %d has no network on %s: ${errno}", b.Server, b.Epoch, b.Net.Interface)
	w.line(":again")
	w.line("inc tries")
	w.line("iseq ${tries} %d && goto end ||", b.Tries)
	w.line("ifclose %s ||", b.Net.Interface)
	w.line("sleep %d", int(b.Pause.Seconds()))
	w.line("goto try")
	w.line(":end")
	w.line("echo Relight: %s epoch %d gives up after %d tries", b.Server, b.Epoch, b.Tries)
	w.line("exit 1")
}

func uri(u Unit) string { return u.Target.URI(u.Unit) }

// uris are all ways to a LUN.
func uris(u Unit) []string {
	out := []string{uri(u)}
	for _, portal := range u.More {
		u.Target.Portal = portal
		out = append(out, uri(u))
	}
	return out
}

func netmask(bits int) netip.Addr {
	var m [4]byte
	for i := range bits {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(m)
}
