package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/lab/image"
	"relight/internal/rack"
)

const (
	// Limit is how long a lab's host may be silent, if nobody says otherwise.
	Limit = 1500 * time.Millisecond
	// IsolatedFor is how long a server may run on whose host nobody reaches.
	IsolatedFor = 2 * time.Second
	// checkEvery is how often a server is asked whether it works.
	checkEvery = 200 * time.Millisecond
	// verifyWithin is how long a start may take until the server works.
	verifyWithin = 60 * time.Second
)

// suspectAfter and downAfter share the limit.
func (l *Lab) suspectAfter() time.Duration { return l.Limit * 2 / 3 }
func (l *Lab) downAfter() time.Duration    { return l.Limit - l.suspectAfter() }

// reportEvery is how often agents report, and write the storage heartbeat: five times
// within the limit, for a busy machine delays some.
func (l *Lab) reportEvery() time.Duration { return l.Limit / 5 }

// The server of the lab, and the array.
const (
	Server = "vm-1"
	array  = "san-1"
	volume = "data"
)

// address is that of the server, in every epoch.
func (l *Lab) address() string { return l.management(100) }

// lunSize leaves room for more than ten seconds of records, so that the watcher is
// never outrun, and is small enough for a guest to read at its start.
const lunSize = 8 << 20

// quick is what makes a kernel boot fast in an emulated machine.
const quick = "quiet mitigations=off nokaslr no_timer_check tsc=reliable cryptomgr.notests"

// cmdline is the guest's: as quick as an emulated machine can be, and a writer that
// tells the client what is durable.
func (l *Lab) cmdline(ip string) string {
	return strings.Join([]string{
		quick,
		"relight.app=writer relight.disk=" + volume, "relight.ip=" + ip + "/24",
		fmt.Sprintf("relight.ack=%s:%d relight.serve=%d relight.faults", l.management(last(nodeClient)), ackPort, ServePort),
	}, " ")
}

// Sites is a policy that may act, which tells health as check says, and the sites with
// the array and the hosts' power devices.
func (l *Lab) Sites(check string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: relight/v1alpha1
kind: Policy
metadata: {name: default}
spec:
  mode: auto
  health:
    check: {%[8]s, interval: %[9]s, timeout: %[10]s}
    suspectAfter: %[1]s
    downAfter: %[2]s
    impairedAfter: 2s
    startupGrace: 30s
  ladder:
    rungs: [{rung: reboot, tries: 1}, {rung: relaunch, tries: 200}]
    window: 30s
    backOff: 100ms
    maxBackOff: 1s
    verifyWithin: %[11]s
  isolatedFor: %[3]s
  budget: {steps: 1000, window: 1m}
  storm: {hosts: 3, window: 1m}
---
apiVersion: relight/v1alpha1
kind: Site
metadata: {name: room}
spec:
  kind: zone
  arrays:
    - name: %[4]s
      driver: tgt
      portal: %[5]s
      options: {dir: %[6]q, control: "%[7]d"}
`, l.suspectAfter(), l.downAfter(), IsolatedFor, array, l.Portal(), l.path("luns"), l.Control, check, checkEvery, l.suspectAfter()-checkEvery, verifyWithin)
	for _, h := range Hosts() {
		fmt.Fprintf(&b, `---
apiVersion: relight/v1alpha1
kind: Site
metadata: {name: %[1]s}
spec:
  kind: host
  parent: room
  power:
    command: [%[2]q, lab, power]
    options: {lab: %[3]s}
    plug: %[1]s
    timeout: %[4]s
`, h, l.Exe, l.Name, 2*powerWithin)
	}
	return b.String()
}

// The LUNs' unit numbers. That of the data has two digits, which a firmware reads as
// hexadecimal, and the first is the one that machines boot from.
const (
	bootUnit = 1
	dataUnit = 12
)

// server is the virtual machine on its LUNs. One that was ever to boot from a LUN keeps
// the boot disk: while an epoch may use it, it cannot be taken away.
func (l *Lab) server(img image.Image, boot fleet.Boot) string {
	return l.machine(Server, l.address(), img, boot)
}

func (l *Lab) machine(name, ip string, img image.Image, boot fleet.Boot) string {
	disk := ""
	if _, err := os.Stat(l.LUNFile(name + "-boot")); err == nil {
		disk = fmt.Sprintf("\n      - {name: boot, lun: {array: %s, unit: %d}}", array, bootUnit)
	}
	memory, starts := 192, fmt.Sprintf("kernel: %q\n      initrd: %q\n      cmdline: %q", img.Kernel, img.Initrd, l.cmdline(ip))
	if boot == fleet.BootLUN || boot == fleet.BootSAN {
		memory, starts = 256, "cpus: 1" // all of that is on the disk
	}
	return fmt.Sprintf(`---
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: %[1]s}
spec:
  identity:
    addresses: [{ip: %[10]s}]
    volumes:
      - name: %[2]s
        lun: {array: %[3]s, unit: %[9]d}%[8]s
  template:
    vm:
      memory: %[4]d
      boot: %[7]s
      %[5]s
      bridge: %[6]s
      guestBeat: true
      stopGrace: 5s
  placement: {sites: [room]}
  quiesce: {guest: true, within: 20s}
`, name, volume, array, memory, starts, Bridge, boot, disk, dataUnit, ip)
}

// cache keeps the guest's image for all labs of this machine.
const cache = "/var/cache/relight-lab"

// Populate makes the LUN, tells the controller what there is, and waits until the
// server runs verified.
func (l *Lab) Populate(ctx context.Context) error {
	img, err := image.Build(ctx, image.Options{Cache: cache})
	if err != nil {
		return err
	}
	if err := l.makeLUN(Server+"-"+volume, lunSize); err != nil {
		return err
	}
	c, err := l.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := l.declare(ctx, c, img, byBeat, fleet.BootKernel); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	return poll(ctx, func() (bool, error) {
		view, err := c.Server(ctx, Server)
		if err != nil {
			return false, err
		}
		return view.Status.Phase == fleet.PhaseRunning && view.Status.Verdict == fleet.Healthy,
			fmt.Errorf("%s is %s, %s: %s", Server, view.Status.Phase, view.Status.Verdict, view.Status.Message)
	})
}

// byBeat has the server's health told by its guest, over the machine's serial
// channel: it says whether the application works, and only the host's agent hears it.
const byBeat = "beat: true"

// byNetwork has it asked over the network, by all hosts: it says that clients are
// served, also while its own host's agent is away.
func (l *Lab) byNetwork() string {
	return fmt.Sprintf("tcp: %q", fmt.Sprintf("%s:%d", l.address(), ServePort))
}

// declare tells the controller what there is.
func (l *Lab) declare(ctx context.Context, c *client.Client, img image.Image, check string, boot fleet.Boot) error {
	return l.Declare(ctx, c, l.Sites(check)+l.server(img, boot))
}

// Declare tells the controller documents; they lie in fleet.yaml for people.
func (l *Lab) Declare(ctx context.Context, c *client.Client, text string) error {
	if err := os.WriteFile(l.path("fleet.yaml"), []byte(text), 0o600); err != nil {
		return err
	}
	if err := rack.Apply(ctx, c, l.path("fleet.yaml"), text); err != nil {
		return fmt.Errorf("declare the fleet: %w", err)
	}
	return nil
}

func (l *Lab) makeLUN(name string, size int64) error {
	f, err := os.OpenFile(l.LUNFile(name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, size), f.Sync(), f.Close())
}
