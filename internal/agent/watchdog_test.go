package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/core/lease"
)

// dog is a Watchdog without a device.
type dog struct {
	mu      sync.Mutex
	timeout time.Duration
	did     []string // without repetitions
	fed     int
	fail    error
}

func (d *dog) do(what string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if what == "feed" {
		d.fed++
	}
	if d.fail != nil {
		return d.fail
	}
	if len(d.did) == 0 || d.did[len(d.did)-1] != what {
		d.did = append(d.did, what)
	}
	return nil
}

func (d *dog) Name() string           { return "/dev/dog" }
func (d *dog) Timeout() time.Duration { return d.timeout }
func (d *dog) Feed() error            { return d.do("feed") }
func (d *dog) Disarm() error          { return d.do("disarm") }
func (d *dog) Leave() error           { return d.do("leave") }

func (d *dog) history() ([]string, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.did), d.fed
}

// A host with a server that asks to be stopped, whose stop hangs.
func TestWatchdogIsStarvedWhenAStopHangs(t *testing.T) {
	s := newSite(t)
	lone, rest := server("lone"), server("rest")
	lone.Spec.OnIsolation = fleet.IsolationStop
	s.hub.SetServers([]fleet.Server{lone, rest})
	s.hub.Beats().SetGrant(beat.Grant{Term: 1, Lease: 7 * time.Second, NotAfter: beat.BootClock()() + 3600*second})
	d, stubborn := &dog{timeout: time.Second}, stubborn{newFake(), make(chan struct{}, 1)}
	one := s.agent("host-1", t.TempDir(), func(o *Options) {
		o.Watchdog, o.PeerAddr, o.Driver = d, "127.0.0.1:0", stubborn
	})
	two := s.agent("host-2", t.TempDir(), func(o *Options) { o.PeerAddr = "127.0.0.1:0" })
	s.inContact("host-1")
	s.inContact("host-2")
	armed := func(want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("armed %v", want), func() error {
			w := s.sweep().host("host-1").Host.Watchdog
			if w == nil || w.Armed != want || w.Trouble != "" || w.Device != "/dev/dog" || w.Timeout.Std() != time.Second {
				return fmt.Errorf("%+v", w)
			}
			return nil
		})
	}
	launch := func(srv fleet.Server) {
		t.Helper()
		_, err := s.hub.Do(t.Context(), call(t, srv, fleet.StepLaunch, "host-1", 1))
		must(t, err)
	}
	launch(rest)
	armed(false)
	if did, _ := d.history(); len(did) != 0 {
		t.Fatalf("for a server with onIsolation: run it did %v", did)
	}
	launch(lone)
	armed(true)
	until := one.lease().Until
	two.stop()
	s.stop()
	<-stubborn.told
	if now := one.opt.Clock(); now > one.lease().Until-int64(time.Second) {
		t.Errorf("told to stop %s before the end of its lease", time.Duration(one.lease().Until-now))
	}
	_, fed := d.history()
	eventually(t, "the end of the lease", func() error {
		if one.opt.Clock() < max(until, one.lease().Until) {
			return errNotYet
		}
		return nil
	})
	if did, after := d.history(); after > fed+1 || len(did) != 1 {
		t.Errorf("fed %d times after the stop was told; it did %v", after-fed, did)
	}
	one.stop()
	if did, _ := d.history(); !slices.Equal(did, []string{"feed", "leave"}) {
		t.Errorf("with a server that runs on it ended with %v", did)
	}
}

// stubborn is a driver whose ends do nothing.
type stubborn struct {
	*fake
	told chan struct{}
}

func (d stubborn) End(ctx context.Context, _ string, _ fleet.Epoch) error {
	d.told <- struct{}{}
	<-ctx.Done()
	return nil
}

func tended(d *dog) *watchdog { return newWatchdog(d, slog.New(slog.DiscardHandler), func() {}) }

func TestWatchdogIsDisarmedWhenNothingNeedsIt(t *testing.T) {
	d := &dog{timeout: 5 * time.Second}
	w := tended(d)
	w.tend(lease.Disarm)
	w.tend(lease.Feed)
	w.tend(lease.Starve)
	if !w.status().Armed {
		t.Error("a starved one counts as disarmed")
	}
	w.tend(lease.Disarm)
	w.tend(lease.Disarm)
	w.tend(lease.Feed)
	w.close(true)
	if did, _ := d.history(); !slices.Equal(did, []string{"feed", "disarm", "feed", "disarm"}) {
		t.Errorf("it did %v", did)
	}
}

func TestWatchdogThatDoesNotFit(t *testing.T) {
	d := &dog{timeout: 5 * time.Second}
	w := tended(d)
	long := beat.Lease{Until: 100 * second, Longest: 15 * time.Second}
	if got := w.until(long); got != 94*second {
		t.Errorf("it gives up at %d", got)
	}
	if got := w.until(beat.Lease{}); got != 0 {
		t.Errorf("without a lease it gives up at %d", got)
	}
	w.tend(lease.Feed)
	short := beat.Lease{Until: 100 * second, Longest: 10 * time.Second}
	if got := w.until(short); got != short.Until {
		t.Errorf("with one that does not fit it gives up at %d", got)
	}
	w.tend(lease.Feed)
	if did, _ := d.history(); !slices.Equal(did, []string{"feed", "disarm"}) || w.status().Trouble == "" {
		t.Errorf("it did %v, and says %q", did, w.status().Trouble)
	}
	w.until(long)
	w.tend(lease.Feed)
	if st := w.status(); st.Trouble != "" || !st.Armed {
		t.Errorf("it fits again: %+v", st)
	}
}

func TestWatchdogThatFails(t *testing.T) {
	d := &dog{timeout: 5 * time.Second, fail: errors.New("busy")}
	w := tended(d)
	w.tend(lease.Feed)
	l := beat.Lease{Until: 100 * second, Longest: 15 * time.Second}
	if st := w.status(); st.Trouble != "busy" || st.Armed || w.until(l) != l.Until {
		t.Errorf("%+v, gives up at %d", st, w.until(l))
	}
	d.fail = nil
	w.tend(lease.Feed)
	if st := w.status(); st.Trouble != "" || !st.Armed {
		t.Errorf("it works again: %+v", st)
	}
}

func TestWatchdogDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watchdog")
	must(t, os.WriteFile(path, nil, 0o600))
	asked, has := 0, 5
	d := &device{path: path, timeout: 5 * time.Second, set: func(_, seconds int) (int, error) {
		asked = seconds
		return has, nil
	}}
	wrote := func(want string) {
		t.Helper()
		b, err := os.ReadFile(path)
		must(t, err)
		if string(b) != want {
			t.Errorf("wrote %q, want %q", b, want)
		}
	}
	must(t, d.Disarm())
	must(t, d.Feed())
	must(t, d.Feed())
	wrote("\x00\x00")
	must(t, d.Leave())
	wrote("\x00\x00")
	must(t, os.Truncate(path, 0))
	must(t, d.Feed())
	must(t, d.Disarm())
	wrote("\x00V")
	must(t, os.Truncate(path, 0))
	if has = 60; asked != 5 || !errors.Is(d.Feed(), lease.ErrWatchdog) {
		t.Errorf("a device that waits for longer than it should is taken; it was asked for %d", asked)
	}
	wrote("V")
}

func TestWatchdogThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{file, file + "x"} {
		if _, err := OpenWatchdog(path, 5*time.Second); !errors.Is(err, ErrNoWatchdog) {
			t.Errorf("%s: %v, want ErrNoWatchdog", path, err)
		}
	}
	if _, err := OpenWatchdog("/dev/null", 300*time.Millisecond); !errors.Is(err, lease.ErrWatchdog) {
		t.Errorf("a third of a second: %v, want ErrWatchdog", err)
	}
	w, err := OpenWatchdog("/dev/null", 5*time.Second)
	must(t, err)
	// It is a character device, and has no time-out to set.
	if err := w.Feed(); err == nil {
		t.Error("the null device is a watchdog")
	}
	class := t.TempDir()
	must(t, os.Mkdir(filepath.Join(class, "watchdog0"), 0o700))
	must(t, os.WriteFile(filepath.Join(class, "watchdog0", "nowayout"), []byte("1\n"), 0o600))
	if !stuck("/dev/watchdog", class) || !stuck("/dev/watchdog0", class) || stuck("/dev/watchdog1", class) {
		t.Error("nowayout is not seen, or seen of another device")
	}
}
