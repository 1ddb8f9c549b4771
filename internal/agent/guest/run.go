package guest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// inside is a running guest agent.
type inside struct {
	cfg  Config
	init bool // it is process 1, the whole of the guest's user space
	sys  string
	dev  string
	// mountinfo is where the kernel lists what is mounted.
	mountinfo string

	// told is closed once the guest knows who it is.
	told chan struct{}
	// done is closed when a service is to end.
	done chan struct{}
	// progress and the state are what beats tell.
	progress atomic.Uint64
	hung     atomic.Bool
	exited   atomic.Bool
	muted    atomic.Bool

	// writing is held around each write of the application, and by whoever holds it
	// still.
	writing sync.Mutex
	// reply answers the host; nothing before the port is open.
	reply func(Reply)

	mu sync.Mutex
	// thaw ends the holding still; nil while the guest is not held.
	thaw   func()
	server string
	epoch  uint64
	state  State
	detail string
}

// Main is the whole program: the guest's init if it is process 1, else a service
// that is configured by its arguments. As init it never returns.
func Main(args []string) error {
	g := &inside{sys: "/sys", dev: "/dev", mountinfo: "/proc/self/mountinfo", init: os.Getpid() == 1, told: make(chan struct{}), done: make(chan struct{}), state: Starting}
	words := strings.Join(args, " ")
	if g.init {
		if err := Boot(); err != nil {
			say("%v", err)
		}
		b, err := os.ReadFile("/proc/cmdline")
		if err != nil {
			say("%v", err)
		}
		words = string(b)
	}
	err := g.run(words)
	if !g.init {
		return err
	}
	// An init that returned would be a kernel panic, which tells nobody why.
	say("%v", err)
	g.fail(err)
	select {}
}

// say writes a line to the console.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "relight-guest: "+format+"\n", args...)
}

func (g *inside) run(words string) error {
	var err error
	if g.cfg, err = ParseConfig(words); err != nil {
		return err
	}
	if g.cfg.Server == "" && !g.cfg.Warm {
		g.cfg.Server, g.cfg.Epoch = g.identity()
	}
	table, san := g.firmware()
	if san && g.init && g.cfg.IP == "" {
		if g.cfg.IP, g.cfg.Gateway, err = table.address(); err != nil {
			say("%v", err)
		}
	}
	if g.cfg.Server != "" {
		g.become(g.cfg.Server, g.cfg.Epoch)
	} else {
		g.set(Standby, "")
	}
	if g.init {
		go g.powerButton()
	}
	p, err := g.openPort()
	if err == nil {
		g.reply = func(r Reply) { p.send(r.Line()) }
		go p.orders(g.obey)
		go g.beats(p)
	}
	// A guest without its port still works; its host just hears nothing of it.
	if err != nil {
		say("%v", err)
	}
	if err := g.network(); err != nil {
		say("network: %v", err)
	}
	if san && g.init {
		if err := table.login(); err != nil {
			say("no way to the disks yet: %v", err)
		}
	}
	if g.cfg.Serve != 0 {
		if err := serve(g.cfg.Serve, g.answer); err != nil {
			say("%v", err)
		}
	}
	if g.cfg.App != "" {
		go g.app()
	} else {
		g.set(Works, "no data volume is looked at")
	}
	<-g.done
	return nil
}

// identity is what the machine's firmware tells.
func (g *inside) identity() (string, uint64) {
	for _, f := range []string{"class/dmi/id/chassis_asset_tag", "firmware/qemu_fw_cfg/by_name/opt/org.relight/tag/raw"} {
		b, err := os.ReadFile(filepath.Join(g.sys, f))
		if server, epoch, ok := ParseTag(string(b)); err == nil && ok {
			return server, epoch
		}
	}
	if t, ok := g.firmware(); ok {
		if server, epoch, ok := t.identity(); ok {
			return server, epoch
		}
	}
	return "", 0
}

// become tells the guest who it is, once.
func (g *inside) become(server string, epoch uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.epoch != 0 {
		return
	}
	g.server, g.epoch, g.state = server, epoch, Starting
	close(g.told)
	say("this is %s epoch %d", server, epoch)
}

func (g *inside) set(s State, detail string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state, g.detail = s, detail
}

func (g *inside) fail(err error) {
	if err == nil {
		err = errors.New("ended")
	}
	g.set(Fails, err.Error())
}

// openPort waits a while for the port: its driver finds it after it was loaded.
func (g *inside) openPort() (*port, error) {
	var p *port
	err := wait(func() (err error) {
		p, err = openPort(g.sys, g.dev)
		return err
	})
	return p, err
}

// wait tries f again and again until it succeeds, for some seconds: drivers find
// their devices after they were loaded.
func wait(f func() error) error {
	const pace, tries = 10 * time.Millisecond, 500
	for i := 0; ; i++ {
		err := f()
		if err == nil || i == tries {
			return err
		}
		time.Sleep(pace)
	}
}

// beats tells the host how the guest is, for ever.
func (g *inside) beats(p *port) {
	feed := func() {}
	if g.init {
		armed, err := openWatchdog(g.sys, g.dev)
		switch {
		case err == nil:
			feed = armed
			say("the watchdog is armed")
		case !errors.Is(err, errNoWatchdog):
			say("watchdog: %v", err)
		}
	}
	for seq := uint64(1); ; seq++ {
		if !g.hung.Load() {
			if !g.muted.Load() {
				p.send(g.beat(seq).Line())
			}
			feed()
		}
		time.Sleep(g.cfg.Beat)
	}
}

func (g *inside) beat(seq uint64) Beat {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := Beat{Server: g.server, Epoch: g.epoch, Seq: seq, Progress: g.progress.Load(), State: g.state, Detail: g.detail}
	if g.cfg.App == "" {
		b.Progress = seq // there is no I/O to count: that it beats is all that is known
	}
	return b
}

// answer is what clients are told who ask the guest. In tests they may also order
// a fault: the serial channel belongs to the host's agent.
func (g *inside) answer(asked string) string {
	if o, err := ParseOrder(asked); err == nil && g.cfg.Faults && (o.Kind == Panic || o.Kind == Hang || o.Kind == Exit) {
		go g.obey(o)
	}
	b := g.beat(0)
	return fmt.Sprintf("%s %d %d %s\n", b.Server, b.Epoch, b.Progress, b.State)
}

// obey carries out the host's orders.
func (g *inside) obey(o Order) {
	switch o.Kind {
	case Become:
		g.become(o.Server, o.Epoch)
		return
	case PowerOff:
		g.powerOff()
		return
	case Quiesce:
		g.obeyQuiesce(o, g.reply)
		return
	case Thaw:
		g.obeyThaw()
		return
	case Panic, Hang, Exit, Mute:
	}
	if !g.cfg.Faults {
		return
	}
	say("told to %s", o.Kind)
	switch o.Kind {
	case Panic:
		_ = os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	case Hang:
		g.hung.Store(true)
	case Exit:
		g.exited.Store(true)
	case Mute:
		g.muted.Store(true)
	case Become, PowerOff, Quiesce, Thaw:
	}
}

// powerOff ends the guest. A larger system has its own way, by the power button.
func (g *inside) powerOff() {
	if !g.init {
		return
	}
	g.exited.Store(true)
	say("power off")
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// waits reports whether the guest has not been told yet who it is.
func (g *inside) waits() bool {
	select {
	case <-g.told:
		return false
	default:
		return true
	}
}

// network gives the first interface its address and tells the neighbours.
func (g *inside) network() error {
	if g.cfg.IP == "" {
		return nil
	}
	p, err := netip.ParsePrefix(g.cfg.IP)
	if err != nil || !p.Addr().Is4() {
		return fmt.Errorf("address %q: an IPv4 address with its prefix length is needed", g.cfg.IP)
	}
	var gateway netip.Addr
	if g.cfg.Gateway != "" {
		if gateway, err = netip.ParseAddr(g.cfg.Gateway); err != nil {
			return err
		}
	}
	var device string
	if err := wait(func() (err error) { device, err = firstInterface(g.sys); return err }); err != nil {
		return err
	}
	claim := func() error {
		if !g.init {
			return nil
		}
		return configure(device, p, gateway)
	}
	// A standby guest must not have an address that another epoch holds: its kernel
	// would answer for it, whatever is announced.
	standby := g.waits()
	if !standby {
		if err := claim(); err != nil {
			return err
		}
	}
	go func() {
		<-g.told
		if standby {
			if err := claim(); err != nil {
				say("network: %v", err)
			}
		}
		for _, pause := range []time.Duration{0, 200 * time.Millisecond, time.Second} {
			time.Sleep(pause)
			if err := announce(device, g.sys, p.Addr()); err != nil {
				say("announce: %v", err)
			}
		}
	}()
	return nil
}
