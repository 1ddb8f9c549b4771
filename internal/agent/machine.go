package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"relight/internal/agent/driver/process"
	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/guest"
	"relight/internal/agent/keeper"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// Machines is a Driver that runs instances as virtual machines. Each QEMU is the
// application of a keeper, as processes are: the keeper outlives the agent, waits
// for QEMU, and kills it. What is added here is how QEMU is started and talked to.
//
// Set Term and BeatSocket, then call Start.
type Machines struct {
	opt MachineOptions
	// Term returns the highest term that the agent has seen.
	Term func() fleet.Term
	// BeatSocket returns where a guest's beats are handed on to; nil for nowhere.
	BeatSocket func(server string, epoch fleet.Epoch) string

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	work    sync.WaitGroup
	changes chan struct{}

	// preparing lets one standby boot at a time.
	preparing sync.Mutex

	mu         sync.Mutex
	known      map[mkey]*machine
	hypervisor *fleet.Hypervisor
	// asked counts the questions to guests.
	asked uint64
}

// MachineOptions are what Machines needs.
type MachineOptions struct {
	// Driver is open and has adopted what an earlier agent left. It is not shared
	// with Processes.
	Driver *process.Driver
	// Dir keeps the consoles of machines that were reset or have ended.
	Dir string
	// Accel chooses what machines are run by; qemu.TCG if nil. It may take seconds
	// when it is called for the first time.
	Accel func(ctx context.Context) (qemu.Accel, string)
	// Script writes what iPXE carries out for boot sanboot; nil if nobody can.
	Script func(m qemu.Machine) ([]byte, error)
	// Binary is QEMU's program; qemu.DefaultBinary if empty.
	Binary string
	Log    *slog.Logger
}

// mkey names a machine's process: an instance, or a standby.
type mkey struct {
	server string
	epoch  fleet.Epoch
}

func (k mkey) String() string { return fmt.Sprintf("%s.%d", k.server, k.epoch) }

// warmSuffix is on the server's name of a standby's keeper; no server has one.
const warmSuffix = "+warm"

func (k mkey) standby() bool { return strings.HasSuffix(k.server, warmSuffix) }

// record is what must be known of a machine after an agent's restart. It lies in
// the instance's directory and holds no secret.
type record struct {
	VM        fleet.VMTemplate `json:"vm"`
	Addresses []string         `json:"addresses,omitempty"`
	Tap       string           `json:"tap,omitempty"`
	Accel     qemu.Accel       `json:"accel,omitempty"`
	Launched  bool             `json:"launched,omitempty"`
	// Heard is set once the guest was heard, until the machine is reset: before that it is
	// firmware that runs.
	Heard bool `json:"heard,omitempty"`
	// Portals are those through which the disks are used that have several, by volume.
	Portals map[string]string `json:"portals,omitempty"`
	// Standby is the epoch of the standby that this instance is; 0 for none.
	Standby fleet.Epoch `json:"standby,omitempty"`
	// Taken is set on a standby's record: the epoch that it has become.
	Taken fleet.Epoch `json:"taken,omitempty"`
}

const recordFile = "machine.json"

// machine is one on this host. Its fields below the key are guarded by Machines.mu.
type machine struct {
	key mkey
	rec record
	// following is whether a goroutine looks after QEMU.
	following bool
	monitor   *qemu.Monitor
	guest     guestConn
	sight     machineSight
	cleaned   bool
	// answer is who waits for the guest's answer to the question answerID; frozen is
	// whether it has frozen file systems.
	answer   chan<- guest.Reply
	answerID uint64
	frozen   bool
}

// NewMachines makes the driver; nothing is looked at before Start.
func NewMachines(o MachineOptions) *Machines {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Accel == nil {
		o.Accel = func(context.Context) (qemu.Accel, string) { return qemu.TCG, "" }
	}
	m := &Machines{opt: o, changes: make(chan struct{}, 1), known: map[mkey]*machine{}, Term: func() fleet.Term { return 0 }}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// Start adopts the machines that run and looks after them until Close.
func (m *Machines) Start() {
	m.reconcile()
	m.work.Go(func() {
		// Early: the first launch must not wait for it, and people are told.
		accel, why := m.opt.Accel(m.ctx)
		m.mu.Lock()
		m.hypervisor = &fleet.Hypervisor{Emulated: accel == qemu.TCG, Detail: why}
		m.mu.Unlock()
		m.notify()
	})
	m.work.Go(func() {
		for {
			select {
			case <-m.ctx.Done():
				return
			case <-m.opt.Driver.Changes():
				m.reconcile()
				m.notify()
			}
		}
	})
}

// Hypervisor says how machines run on this host; nil until that was tried.
func (m *Machines) Hypervisor() *fleet.Hypervisor {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hypervisor
}

// Close stops looking after machines; they go on.
func (m *Machines) Close() {
	m.cancel()
	m.work.Wait()
}

// Changes implements Driver.
func (m *Machines) Changes() <-chan struct{} { return m.changes }

func (m *Machines) notify() {
	select {
	case m.changes <- struct{}{}:
	default:
	}
}

// reconcile follows each machine that may run, and forgets those that are gone.
func (m *Machines) reconcile() {
	here := map[mkey]bool{}
	for _, in := range m.opt.Driver.Instances() {
		k := mkey{in.Server, in.Epoch}
		here[k] = true
		x := m.get(k)
		if body := m.body(k); body != k && m.ctx.Err() == nil && in.State == process.Attached && m.process(body).State == process.Exited {
			// Nothing is left of the instance but its own keeper, which would keep a
			// later epoch away.
			m.work.Go(func() { _, _ = m.opt.Driver.Detach(m.ctx, m.ref(k, m.Term())) })
		}
		m.mu.Lock()
		if mayRun(in) && !x.following && x.rec.Launched && m.ctx.Err() == nil {
			x.following = true
			m.work.Go(func() { m.follow(x) })
		}
		m.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, x := range m.known {
		if !here[k] && !x.following {
			delete(m.known, k)
		}
	}
}

// mayRun reports whether QEMU may be there.
func mayRun(in process.Instance) bool {
	return in.State == process.Running || in.State == process.KeeperLost && len(in.Processes) > 0
}

// get returns what is known of a machine, from memory or from its directory.
func (m *Machines) get(k mkey) *machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x := m.known[k]; x != nil {
		return x
	}
	x := &machine{key: k}
	// Without its record a machine is still stopped and reaped like any process.
	if err := keeper.ReadFile(filepath.Join(m.dir(k), recordFile), &x.rec); err == nil {
		m.known[k] = x
	}
	return x
}

// put changes a machine's record, on disk first.
func (m *Machines) put(k mkey, change func(*record)) error {
	x := m.get(k)
	m.mu.Lock()
	defer m.mu.Unlock()
	rec := x.rec
	rec.Addresses = slices.Clone(rec.Addresses)
	change(&rec)
	if err := keeper.WriteFile(filepath.Join(m.dir(k), recordFile), rec, false); err != nil {
		return fmt.Errorf("remember machine %s: %w", k, err)
	}
	x.rec = rec
	m.known[k] = x
	return nil
}

func (m *Machines) record(k mkey) record {
	x := m.get(k)
	m.mu.Lock()
	defer m.mu.Unlock()
	return x.rec
}

func (m *Machines) dir(k mkey) string { return m.opt.Driver.Dir(k.server, k.epoch) }

// body is the machine whose process an instance is: its own, or its standby's.
func (m *Machines) body(k mkey) mkey {
	if warm := m.record(k).Standby; warm != 0 {
		return mkey{k.server + warmSuffix, warm}
	}
	return k
}

// who is the instance that a machine's guest must name in its beats.
func who(k mkey, rec record) (mkey, bool) {
	if !k.standby() {
		return k, true
	}
	return mkey{strings.TrimSuffix(k.server, warmSuffix), rec.Taken}, rec.Taken != 0
}

func (m *Machines) ref(k mkey, term fleet.Term) process.Ref {
	return process.Ref{Server: k.server, Epoch: k.epoch, Term: term}
}

// process returns what the keeper tells of a machine; State is Absent if none is
// known.
func (m *Machines) process(k mkey) process.Instance {
	for _, in := range m.opt.Driver.Instances() {
		if in.Server == k.server && in.Epoch == k.epoch {
			return in
		}
	}
	return process.Instance{Server: k.server, Epoch: k.epoch, State: process.Absent}
}

// Instances implements Driver. Standbys are not among them until they are taken.
func (m *Machines) Instances() []Instance {
	var out []Instance
	for _, in := range m.opt.Driver.Instances() {
		k := mkey{in.Server, in.Epoch}
		rec := m.record(k)
		if k.standby() || empty(in) && rec.Standby == 0 {
			continue
		}
		// A taken standby is what runs; the instance's own keeper holds no process.
		if rec.Standby != 0 && in.State != process.Exited {
			in = m.process(m.body(k))
			in.Server, in.Epoch = k.server, k.epoch
		}
		i := told(in)
		i.Addresses = slices.Clone(rec.Addresses)
		m.describe(&i, m.body(k))
		out = append(out, i)
	}
	return inOrder(out)
}

// Do implements Driver.
func (m *Machines) Do(ctx context.Context, cmd link.Command) (Effect, error) {
	effect, err := m.do(ctx, cmd)
	if err != nil {
		return Effect{}, classed(cmd, err)
	}
	return effect, nil
}

func (m *Machines) do(ctx context.Context, cmd link.Command) (Effect, error) {
	k := mkey{cmd.Step.Server, cmd.Step.Epoch}
	switch cmd.Step.Kind {
	case fleet.StepAttach:
		return Effect{}, m.attach(ctx, k, cmd)
	case fleet.StepLaunch:
		return m.launch(ctx, k, cmd)
	case fleet.StepReboot:
		return m.reboot(ctx, k)
	case fleet.StepStop:
		return m.stop(ctx, k, cmd)
	case fleet.StepDetach:
		_, err := m.opt.Driver.Detach(ctx, m.ref(k, cmd.Term))
		return Effect{}, err
	default:
		return Effect{}, fmt.Errorf("step %s: %w", cmd.Step.Kind, errNoStep)
	}
}

// attach makes the keeper, which guards the host against a second epoch. Nothing else is
// done: LUNs are mapped on their array and come with the launch, addresses are the guest's
// own.
func (m *Machines) attach(ctx context.Context, k mkey, cmd link.Command) error {
	if name := cmd.Step.Object.Volume; name != "" {
		return fmt.Errorf("volume %s: %w: a machine's volumes are LUNs", name, errNoVolume)
	}
	_, err := m.opt.Driver.Attach(ctx, process.Order{Ref: m.ref(k, cmd.Term)})
	m.notify()
	return err
}

// Tidy implements Driver: it clears up behind machines that are gone for ever.
func (m *Machines) Tidy(ctx context.Context) error {
	var errs []error
	for _, in := range m.opt.Driver.Instances() {
		k := mkey{in.Server, in.Epoch}
		rec := m.record(k)
		switch {
		case in.State == process.Exited:
			errs = append(errs, m.cleanUp(k))
			if in.Ended() && !in.Retired {
				_, err := m.opt.Driver.Retire(ctx, m.ref(k, m.Term()))
				errs = append(errs, err)
			}
		case empty(in) && rec.Standby == 0 && time.Since(in.Since) > emptyFor:
			_, err := m.opt.Driver.Stop(ctx, m.ref(k, m.Term()), 0)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Order has a running machine's guest do something; for tests and drills.
func (m *Machines) Order(server string, epoch fleet.Epoch, o guest.Order) error {
	k := m.body(mkey{server, epoch})
	x := m.get(k)
	m.mu.Lock()
	g := x.guest
	m.mu.Unlock()
	if err := g.send(o); err != nil {
		return fmt.Errorf("guest of %s: %w", k, err)
	}
	return nil
}
