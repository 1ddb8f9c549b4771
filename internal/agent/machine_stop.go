package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"relight/internal/agent/driver/process"
	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/guest"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

const (
	// monitorWithin is how long QEMU has to answer at its monitor before its guest is
	// asked to end. It takes milliseconds, unless QEMU is held or waits for its I/O.
	monitorWithin = time.Second
	// consoleTail is how much of a console is kept, in bytes, keptConsoles how many
	// there are of each server.
	consoleTail  = 64 << 10
	keptConsoles = 8
)

// stop ends the instance: by its power button if the guest answers and the template
// gives it time, else by SIGKILL. The evidence is the keeper's.
func (m *Machines) stop(ctx context.Context, k mkey, cmd link.Command) (Effect, error) {
	var grace fleet.Duration
	if cmd.VM != nil {
		grace = cmd.VM.StopGrace
	}
	if grace > 0 && !m.isFrozen(m.body(k)) {
		m.powerDown(ctx, m.body(k), grace.Std())
	}
	in, err := m.kill(ctx, k, cmd.Term)
	if err != nil {
		return Effect{}, err
	}
	effect, err := reaped(in, k.server, k.epoch)
	if err != nil {
		return Effect{}, err
	}
	if err := m.cleanUp(k); err != nil {
		m.opt.Log.Warn("clear up", "machine", k.String(), "error", err)
	}
	return effect, nil
}

// kill cuts the machine off the network and kills it. Not QMP's quit: that waits
// for I/O which may never end. For an instance that is a standby, both keepers must
// have ended; what is returned is that of the one that had the process.
func (m *Machines) kill(ctx context.Context, k mkey, term fleet.Term) (process.Instance, error) {
	body := m.body(k)
	m.cut(body)
	in, err := m.opt.Driver.Stop(ctx, m.ref(body, term), 0)
	if err != nil || body == k {
		return in, err
	}
	own, err := m.opt.Driver.Stop(ctx, m.ref(k, term), 0)
	if err != nil || own.State != process.Exited {
		return own, err
	}
	return in, nil
}

// cut takes the machine's interface off its bridge.
func (m *Machines) cut(k mkey) {
	rec := m.record(k)
	if rec.Tap == "" {
		return
	}
	if err := qemu.CutTap(rec.Tap, rec.VM.Bridge); err != nil {
		// The kill that follows silences it as well.
		m.opt.Log.Error("tap is not cut", "machine", k.String(), "error", err)
	}
}

// End implements Driver.
func (m *Machines) End(ctx context.Context, server string, epoch fleet.Epoch) error {
	_, err := m.kill(ctx, mkey{server, epoch}, m.Term())
	return err
}

// powerDown asks the guest to end and waits for that. A machine that cannot hear or
// cannot end, because it is paused, has panicked or is stuck, or because QEMU itself
// stands still, gets no time.
func (m *Machines) powerDown(ctx context.Context, k mkey, grace time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	mon := m.monitorOf(k)
	if mon == nil || m.process(k).State != process.Running {
		return
	}
	x := m.get(k)
	m.mu.Lock()
	g, lost := x.guest, x.rec.VM.GuestBeat && !x.sight.mayEnd(time.Now())
	m.mu.Unlock()
	if lost || !pressed(ctx, mon) {
		return
	}
	_ = g.send(guest.Order{Kind: guest.PowerOff}) // for guests without a driver for the button
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for m.process(k).State == process.Running {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pressed presses the power button of a machine that runs.
func pressed(ctx context.Context, mon *qemu.Monitor) bool {
	ctx, cancel := context.WithTimeout(ctx, monitorWithin)
	defer cancel()
	s, err := mon.Status(ctx)
	return err == nil && s == qemu.Running && mon.PowerDown(ctx) == nil
}

// cleanUp frees what a machine that has ended has left on the host, once.
func (m *Machines) cleanUp(k mkey) error {
	if body := m.body(k); body != k {
		if m.process(body).State != process.Exited {
			return nil
		}
		k = body
	}
	x := m.get(k)
	m.mu.Lock()
	done, rec := x.cleaned, x.rec
	m.mu.Unlock()
	if done || !rec.Launched {
		return nil
	}
	var errs []error
	if rec.Tap != "" {
		errs = append(errs, qemu.RemoveTap(rec.Tap, rec.VM.Bridge))
	}
	m.dropSecrets(k)
	_, err := m.keepConsole(k)
	errs = append(errs, err)
	err = errors.Join(errs...)
	m.mu.Lock()
	x.cleaned = err == nil
	m.mu.Unlock()
	return err
}

// keepConsole copies the end of a machine's console to where it lasts, and returns
// the file's path.
func (m *Machines) keepConsole(k mkey) (string, error) {
	dir := filepath.Join(m.opt.Dir, "consoles")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	prefix := filepath.Join(dir, k.server+".")
	old := consoles(prefix)
	next := 1
	if len(old) > 0 {
		next = numberOf(old[len(old)-1]) + 1
	}
	path := fmt.Sprintf("%s%d-%d.log", prefix, k.epoch, next)
	b := tail(filepath.Join(m.dir(m.body(k)), qemu.ConsoleLog), consoleTail)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return "", err
	}
	for i := 0; i+keptConsoles <= len(old); i++ {
		_ = os.Remove(old[i])
	}
	return path, nil
}

// consoles lists a server's kept consoles, the oldest first.
func consoles(prefix string) []string {
	paths, _ := filepath.Glob(prefix + "*.log")
	paths = slices.DeleteFunc(paths, func(p string) bool { return numberOf(p) == 0 })
	slices.SortFunc(paths, func(a, b string) int { return numberOf(a) - numberOf(b) })
	return paths
}

// numberOf reads the number before ".log"; it is 0 for other names.
func numberOf(path string) int {
	name := strings.TrimSuffix(filepath.Base(path), ".log")
	n, _ := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	return n
}
