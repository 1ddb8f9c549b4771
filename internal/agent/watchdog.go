package agent

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/core/lease"
	"relight/internal/provider/onprem/link"
)

// DefaultWatchdogTimeout is the longest that fits into the controllers' default lease.
const DefaultWatchdogTimeout = 5 * time.Second

// Watchdog is a device that resets the host unless it is fed.
type Watchdog interface {
	// Name is the device's path, Timeout how long it waits for food.
	Name() string
	Timeout() time.Duration
	// Feed arms the device if it is not armed, and feeds it.
	Feed() error
	// Disarm has the device reset nothing any more.
	Disarm() error
	// Leave closes it as it is: an armed one goes on counting.
	Leave() error
}

// watchdog tends the device; nil and one without a device do nothing. Its methods
// but status are for one goroutine.
type watchdog struct {
	dev  Watchdog
	log  *slog.Logger
	news func()

	mu    sync.Mutex
	armed bool
	// misfit is why it does not fit into the lease, fault what the device said last.
	misfit, fault error
}

func newWatchdog(dev Watchdog, log *slog.Logger, news func()) *watchdog {
	return &watchdog{dev: dev, log: log, news: news}
}

// until is when what runs by the lease must have ended, and notes whether the
// device fits into it. Before the first grant that is not known: what an earlier
// agent has armed is fed on.
func (w *watchdog) until(l beat.Lease) int64 {
	if w.dev == nil {
		return l.Until
	}
	var misfit error
	if l.Longest > 0 {
		misfit = lease.FitWatchdog(w.dev.Timeout(), l.Longest, DefaultDriftPPM, DefaultMargin)
	}
	w.note(&w.misfit, misfit)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.misfit != nil || w.fault != nil && !w.armed {
		return l.Until // nothing is given up early for a device that does not watch
	}
	return lease.WatchedUntil(l.Until, w.dev.Timeout())
}

// note takes the outcome of a look at the device; what changes is news.
func (w *watchdog) note(at *error, err error) {
	w.mu.Lock()
	before := *at
	*at = err
	w.mu.Unlock()
	if (before == nil) == (err == nil) && (err == nil || before.Error() == err.Error()) {
		return
	}
	if err != nil {
		w.log.Error("watchdog is of no use", "device", w.dev.Name(), "error", err)
	}
	w.news()
}

// tend does what care says.
func (w *watchdog) tend(care lease.Care) {
	if w.dev == nil {
		return
	}
	w.mu.Lock()
	armed, misfit := w.armed, w.misfit
	w.mu.Unlock()
	if misfit != nil {
		care = lease.Disarm
	}
	switch {
	case care == lease.Feed:
		err := w.dev.Feed()
		w.note(&w.fault, err)
		w.set(armed || err == nil)
	case care == lease.Disarm && armed:
		if err := w.dev.Disarm(); err != nil {
			w.log.Error("watchdog not disarmed", "device", w.dev.Name(), "error", err)
		}
		w.set(false)
	}
}

func (w *watchdog) set(armed bool) {
	w.mu.Lock()
	changed := w.armed != armed
	w.armed = armed
	w.mu.Unlock()
	if changed {
		w.log.Info("watchdog", "device", w.dev.Name(), "armed", armed, "timeout", w.dev.Timeout())
		w.news()
	}
}

// close ends the care at an orderly stop. While something runs that its lease must
// end, the device goes on counting: only the next agent may feed it.
func (w *watchdog) close(idle bool) {
	if w.dev == nil {
		return
	}
	end := w.dev.Leave
	if idle {
		end = w.dev.Disarm
	}
	if err := end(); err != nil {
		w.log.Error("watchdog not closed", "device", w.dev.Name(), "error", err)
	}
}

func (w *watchdog) status() *fleet.Watchdog {
	if w.dev == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := &fleet.Watchdog{Device: link.Cut(w.dev.Name()), Timeout: fleet.Duration(w.dev.Timeout()), Armed: w.armed}
	if err := errors.Join(w.misfit, w.fault); err != nil {
		out.Trouble = link.Cut(err.Error())
	}
	return out
}

// Errors of OpenWatchdog.
var (
	// ErrNoWatchdog: there is no such device.
	ErrNoWatchdog = errors.New("no watchdog device")
	// errNoLease: without beats there is no lease that could end.
	errNoLease = errors.New("this agent sends no beats, so no lease of it can end; start the agent with --beat-addr")
	// ErrNoWayOut refuses a device that cannot be disarmed: the death of the agent
	// would reset a host though nothing there asks for it.
	ErrNoWayOut = errors.New("the watchdog cannot be disarmed")
)

// device is a watchdog of the kernel. Opening it arms it, so it is open only while
// it is needed.
type device struct {
	path    string
	timeout time.Duration
	// set sets the time-out of the open device in seconds and returns the one that
	// it has now.
	set  func(fd, seconds int) (int, error)
	file io.WriteCloser // nil while it is not armed
}

// OpenWatchdog checks a device of the kernel without arming it; the lease's length is
// known and checked later, by the first grant. Errors:
// ErrNoWatchdog, ErrNoWayOut, lease.ErrWatchdog.
func OpenWatchdog(path string, timeout time.Duration) (Watchdog, error) {
	if err := lease.FitWatchdog(timeout, time.Hour, 0, 0); err != nil {
		return nil, err // whatever the lease will be
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil, fmt.Errorf("%w at %s: load its driver (modprobe softdog, if the machine has none), or start the agent without --watchdog", ErrNoWatchdog, path)
	}
	if stuck(path, "/sys/class/watchdog") {
		return nil, fmt.Errorf("%w: %s has nowayout set; load its driver with nowayout=0, or start the agent without --watchdog", ErrNoWayOut, path)
	}
	return &device{path: path, timeout: timeout, set: setTimeout}, nil
}

// stuck reports whether the kernel lets nobody disarm the device.
func stuck(path, class string) bool {
	name := filepath.Base(path)
	if name == "watchdog" {
		name = "watchdog0" // the same device under its old name
	}
	b, err := os.ReadFile(filepath.Join(class, name, "nowayout"))
	return err == nil && strings.TrimSpace(string(b)) == "1"
}

func setTimeout(fd, seconds int) (int, error) {
	if err := unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, seconds); err != nil {
		return 0, err
	}
	got, err := unix.IoctlGetUint32(fd, unix.WDIOC_GETTIMEOUT)
	return int(got), err
}

// Name is the device's file.
func (d *device) Name() string { return d.path }

// Timeout is how long after the last feeding it resets the host.
func (d *device) Timeout() time.Duration { return d.timeout }

// Feed arms the device, if it is not, and puts its reset off.
func (d *device) Feed() error {
	if d.file != nil {
		_, err := d.file.Write([]byte{0})
		return err
	}
	f, err := os.OpenFile(d.path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("arm watchdog: %w", err)
	}
	want := int(d.timeout / time.Second)
	got, err := d.set(int(f.Fd()), want)
	if err == nil && got > want {
		err = fmt.Errorf("%w: it takes no less than %ds", lease.ErrWatchdog, got)
	}
	if err != nil {
		// One with another time-out would reset too late, and is worse than none.
		d.file = f
		return errors.Join(fmt.Errorf("set time-out of watchdog %s: %w", d.path, err), d.Disarm())
	}
	d.file = f
	_, err = f.Write([]byte{0})
	return err
}

// Disarm closes the device with the magic letter.
func (d *device) Disarm() error {
	if d.file == nil {
		return nil
	}
	_, err := d.file.Write([]byte("V"))
	return errors.Join(err, d.Leave())
}

// Leave closes the device without a word: it resets the host.
func (d *device) Leave() error {
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	return err
}
