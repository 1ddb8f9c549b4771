package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"relight/internal/agent/driver/process"
	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/keeper"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

var (
	errNotUp   = errors.New("the machine did not come up")
	errNoDisk  = errors.New("the command does not say where it is")
	errNoIPXE  = errors.New("this agent has no boot script for iPXE")
	errDeaf    = errors.New("the machine does not answer: it may be reset late or never")
	errNoWarm  = errors.New("no standby guest of the server is ready on this host")
	errNotLive = errors.New("the machine is not running")
)

func (m *Machines) launch(ctx context.Context, k mkey, cmd link.Command) (Effect, error) {
	if cmd.VM == nil {
		return Effect{}, fmt.Errorf("launch: %w", errNoStep)
	}
	for _, v := range cmd.Volumes {
		if !slices.ContainsFunc(cmd.Disks, func(d link.Disk) bool { return d.Volume == v.Name }) {
			return Effect{}, fmt.Errorf("launch: volume %s: %w", v.Name, errNoDisk)
		}
	}
	// A server without volumes and addresses has no keeper yet.
	if _, err := m.opt.Driver.Attach(ctx, process.Order{Ref: m.ref(k, cmd.Term)}); err != nil {
		return Effect{}, err
	}
	// They are the guest's own: nobody gives them to it before.
	if err := m.put(k, func(r *record) { r.Addresses = addressesOf(cmd) }); err != nil {
		return Effect{}, err
	}
	if cmd.VM.Boot == fleet.BootWarm {
		return m.launchWarm(ctx, k, cmd)
	}
	l, err := m.prepare(ctx, k, cmd)
	if err != nil {
		return Effect{}, err
	}
	in, err := m.opt.Driver.Launch(ctx, m.ref(k, cmd.Term), l)
	if err != nil {
		return Effect{}, err
	}
	m.reconcile()
	mon, err := m.awaitUp(ctx, k)
	if err != nil {
		return Effect{}, err
	}
	note := m.announce(ctx, k, mon)
	m.dropSecrets(k)
	return Effect{Detail: fmt.Sprintf("pid %d, %s", in.PID, m.record(k).Accel), Note: note}, nil
}

func addressesOf(cmd link.Command) []string {
	var out []string
	for _, a := range cmd.Addresses {
		out = append(out, a.IP)
	}
	return out
}

// ordered sorts disks by their number: a guest finds them in the same order each
// time, and a repeated launch is the same launch.
func ordered(disks []link.Disk) []link.Disk {
	out := slices.Clone(disks)
	slices.SortFunc(out, func(a, b link.Disk) int {
		return cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Volume, b.Volume))
	})
	return out
}

// prepare makes everything that QEMU finds when it starts. What was chosen at the
// first try is kept: a repeated launch must be the same one.
func (m *Machines) prepare(ctx context.Context, k mkey, cmd link.Command) (keeper.Launch, error) {
	rec := m.record(k)
	if rec.Accel == "" {
		rec.Accel, _ = m.opt.Accel(ctx)
	}
	if cmd.VM.Bridge != "" {
		rec.Tap = qemu.TapName(m.opt.Dir, k.server, uint64(k.epoch))
	}
	disks := ordered(cmd.Disks)
	if cmd.VM.Boot != fleet.BootSAN { // iPXE takes all of them
		disks = throughPortals(ctx, disks, rec.Portals)
		rec.Portals = chosenPortals(disks)
	}
	spec := qemu.Machine{
		Server: k.server, Epoch: k.epoch, VM: *cmd.VM, Disks: disks, Tap: rec.Tap, Accel: rec.Accel, Binary: m.opt.Binary,
	}
	if k.standby() {
		spec.Server, spec.Epoch = cmd.Step.Server, 0
	}
	if cmd.VM.Boot == fleet.BootSAN {
		if m.opt.Script == nil {
			return keeper.Launch{}, fmt.Errorf("launch: %w", errNoIPXE)
		}
		script, err := m.opt.Script(spec)
		if err != nil {
			return keeper.Launch{}, fmt.Errorf("launch: %w", err)
		}
		spec.Script = script
	}
	built, err := qemu.Build(spec)
	if err != nil {
		return keeper.Launch{}, err
	}
	if err := m.put(k, func(r *record) {
		r.VM, r.Tap, r.Accel, r.Portals, r.Launched = *cmd.VM, rec.Tap, rec.Accel, rec.Portals, true
	}); err != nil {
		return keeper.Launch{}, err
	}
	l := keeper.Launch{Command: built.Argv}
	if m.process(k).State != process.Attached {
		return l, nil // it was launched before: there is nothing to prepare any more
	}
	for _, f := range built.Files {
		if err := os.WriteFile(filepath.Join(m.dir(k), f.Name), f.Data, 0o600); err != nil {
			return keeper.Launch{}, fmt.Errorf("launch: %w", err)
		}
	}
	if rec.Tap != "" {
		if err := qemu.MakeTap(rec.Tap, cmd.VM.Bridge); err != nil {
			return keeper.Launch{}, err
		}
	}
	return l, nil
}

// dropSecrets removes what QEMU has read by now.
func (m *Machines) dropSecrets(k mkey) {
	for _, pattern := range []string{"secret*", "*.ipxe"} {
		paths, _ := filepath.Glob(filepath.Join(m.dir(k), pattern))
		for _, p := range paths {
			_ = os.Remove(p)
		}
	}
}

// awaitUp returns when QEMU has answered, which it does after it has logged in to
// its LUNs.
func (m *Machines) awaitUp(ctx context.Context, k mkey) (*qemu.Monitor, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if mon := m.monitorOf(k); mon != nil {
			return mon, nil
		}
		if in := m.process(k); in.State == process.Exited {
			return nil, fmt.Errorf("launch: %w: %s: %s", errNotUp, detail(in), lastWords(filepath.Join(m.dir(k), "app.log")))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("launch: QEMU does not answer yet: %w", ctx.Err())
		case <-m.ctx.Done():
			return nil, m.ctx.Err()
		case <-tick.C:
		}
	}
}

// announce has QEMU tell the network where the machine is now: not before it is the
// server's instance, for a standby has the MAC of the one that runs. A launch does not fail
// by it; the note says what a person must know if it did not work, and is empty if it did.
func (m *Machines) announce(ctx context.Context, k mkey, mon *qemu.Monitor) (note string) {
	err := mon.Announce(ctx)
	if err == nil {
		return ""
	}
	m.opt.Log.Warn("machine is not announced; switches learn where it is when its guest speaks", "machine", k.String(), "error", err)
	return fmt.Sprintf("the network was not told where the machine is now (%v): switches may send to its old place until its guest speaks", err)
}

func (m *Machines) monitorOf(k mkey) *qemu.Monitor {
	x := m.get(k)
	m.mu.Lock()
	defer m.mu.Unlock()
	return x.monitor
}

// lastWords is the last line that QEMU wrote.
func lastWords(path string) string {
	b := bytes.TrimSpace(tail(path, 1000))
	return string(b[bytes.LastIndexByte(b, '\n')+1:])
}

// tail returns the last bytes of a file; a file that cannot be read has none.
func tail(path string, n int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	b, _ := io.ReadAll(io.NewSectionReader(f, max(st.Size()-n, 0), n))
	return b
}

// resetWithin is how long a reset may take to be answered. QEMU waits for the I/O
// under way before it resets, and for ever if its storage is out of reach: then only
// another instance helps, and asking again would only put it off.
const resetWithin = 3 * time.Second

// reboot starts the guest anew in place. Its console is kept first: after the reset
// nobody can read any more why it was needed.
func (m *Machines) reboot(ctx context.Context, k mkey) (Effect, error) {
	in := m.process(m.body(k))
	switch in.State {
	case process.Absent:
		return Effect{}, fmt.Errorf("reboot: %w", errNoneHere)
	case process.Running:
	case process.Attached, process.Exited, process.KeeperLost:
		return Effect{}, fmt.Errorf("reboot: %w: %s", errNotLive, in.State)
	}
	mon := m.monitorOf(m.body(k))
	if mon == nil {
		return Effect{}, fmt.Errorf("reboot: %w", qemu.ErrNoMonitor)
	}
	kept, err := m.keepConsole(k)
	if err != nil {
		m.opt.Log.Warn("console is not kept", "machine", k.String(), "error", err)
	}
	bounded, cancel := context.WithTimeout(ctx, resetWithin)
	defer cancel()
	err = mon.Reset(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return Effect{}, fmt.Errorf("reboot: %w: %w", errDeaf, err)
	}
	if err != nil {
		return Effect{}, fmt.Errorf("reboot: %w", err)
	}
	m.setHeard(m.body(k), false)
	m.notify()
	return Effect{Detail: "its console is kept in " + kept}, nil
}
