package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"relight/internal/agent/driver/process"
	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/guest"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// Standby is a guest that has booted without any data, and waits to become an
// epoch of its server. It takes the room of a whole machine.
type Standby struct {
	Server string
	// Ready is whether its guest has said that it waits.
	Ready  bool
	Memory int // MiB
	CPUs   int
}

// Standbys lists the guests that wait on this host.
func (m *Machines) Standbys() []Standby {
	var out []Standby
	for _, in := range m.opt.Driver.Instances() {
		k := mkey{in.Server, in.Epoch}
		rec := m.record(k)
		if !k.standby() || rec.Taken != 0 || !mayRun(in) {
			continue
		}
		name, _ := who(k, record{Taken: 1})
		out = append(out, Standby{Server: name.server, Ready: m.waits(k), Memory: rec.VM.Memory, CPUs: rec.VM.CPUs})
	}
	return out
}

// waits reports whether the standby's guest is heard and waits.
func (m *Machines) waits(k mkey) bool {
	x := m.get(k)
	m.mu.Lock()
	defer m.mu.Unlock()
	return x.rec.Taken == 0 && x.monitor != nil && x.sight.answers(time.Now()) && x.sight.beat.State == guest.Standby
}

// Prepare boots a standby guest of the server, unless one waits already. It gets no
// volume and claims no address before a launch takes it.
func (m *Machines) Prepare(ctx context.Context, server string, vm fleet.VMTemplate) error {
	m.preparing.Lock()
	defer m.preparing.Unlock()
	next := fleet.Epoch(1)
	for _, in := range m.opt.Driver.Instances() {
		if in.Server != server+warmSuffix {
			continue
		}
		k := mkey{in.Server, in.Epoch}
		if mayRun(in) {
			if m.record(k).Taken == 0 {
				return nil
			}
			return fmt.Errorf("standby of %s: %w: the last one has become the server", server, process.ErrAlive)
		}
		next = max(next, in.Epoch+1)
	}
	k := mkey{server + warmSuffix, next}
	cmd := link.Command{Step: fleet.Step{Kind: fleet.StepLaunch, Server: server}, VM: &vm}
	ref := m.ref(k, m.Term())
	if _, err := m.opt.Driver.Attach(ctx, process.Order{Ref: ref}); err != nil {
		return fmt.Errorf("standby of %s: %w", server, err)
	}
	l, err := m.prepare(ctx, k, cmd)
	if err != nil {
		return fmt.Errorf("standby of %s: %w", server, err)
	}
	if _, err := m.opt.Driver.Launch(ctx, ref, l); err != nil {
		return fmt.Errorf("standby of %s: %w", server, err)
	}
	m.reconcile()
	if _, err := m.awaitUp(ctx, k); err != nil {
		return fmt.Errorf("standby of %s: %w", server, err)
	}
	return nil
}

// Dismiss ends the server's standby on this host, if there is one that waits.
func (m *Machines) Dismiss(ctx context.Context, server string) error {
	k, ok := m.waiting(server)
	if !ok {
		return nil
	}
	m.cut(k)
	if _, err := m.opt.Driver.Stop(ctx, m.ref(k, m.Term()), 0); err != nil {
		return fmt.Errorf("standby of %s: %w", server, err)
	}
	return m.cleanUp(k)
}

func (m *Machines) waiting(server string) (mkey, bool) {
	for _, in := range m.opt.Driver.Instances() {
		k := mkey{in.Server, in.Epoch}
		if in.Server == server+warmSuffix && mayRun(in) && m.record(k).Taken == 0 {
			return k, true
		}
	}
	return mkey{}, false
}

// standbyFor returns a guest that waits. Where there is none, one boots now: that
// takes as long as any cold start, and works.
func (m *Machines) standbyFor(ctx context.Context, server string, vm fleet.VMTemplate) (mkey, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for tried := false; ; {
		k, ok := m.waiting(server)
		if ok && m.waits(k) {
			return k, nil
		}
		if !ok && tried {
			return mkey{}, fmt.Errorf("%w: it has died", errNoWarm)
		}
		if !ok {
			tried = true
			if err := m.Prepare(ctx, server, vm); err != nil {
				return mkey{}, err
			}
		}
		select {
		case <-ctx.Done():
			return mkey{}, fmt.Errorf("the standby guest is not ready yet: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// launchWarm has a standby become the instance: its LUNs are plugged in, and its
// guest is told who it is. Who is whom is written down before that, so that a stop
// of the instance ends the standby whatever becomes of this agent.
func (m *Machines) launchWarm(ctx context.Context, k mkey, cmd link.Command) (Effect, error) {
	if m.record(k).Standby == 0 {
		if m.process(k).State != process.Attached {
			return Effect{}, fmt.Errorf("launch: %w", errNotLive)
		}
		free, err := m.standbyFor(ctx, k.server, *cmd.VM)
		if err != nil {
			return Effect{}, fmt.Errorf("launch: %w", err)
		}
		if err := m.put(k, func(r *record) { r.VM, r.Standby = *cmd.VM, free.epoch }); err != nil {
			return Effect{}, err
		}
	}
	body := m.body(k)
	if rec := m.record(body); rec.Taken != 0 && rec.Taken != k.epoch {
		return Effect{}, fmt.Errorf("launch: %w: it is epoch %d", errNoWarm, rec.Taken)
	}
	if err := m.put(body, func(r *record) { r.Taken = k.epoch }); err != nil {
		return Effect{}, err
	}
	disks := throughPortals(ctx, ordered(cmd.Disks), m.record(body).Portals)
	if err := m.put(body, func(r *record) { r.Portals = chosenPortals(disks) }); err != nil {
		return Effect{}, err
	}
	for _, f := range qemu.Secrets(disks) {
		if err := os.WriteFile(filepath.Join(m.dir(body), f.Name), f.Data, 0o600); err != nil {
			return Effect{}, fmt.Errorf("launch: %w", err)
		}
	}
	mon := m.monitorOf(body)
	if mon == nil {
		return Effect{}, fmt.Errorf("launch: %w", qemu.ErrNoMonitor)
	}
	if err := mon.Plug(ctx, disks); err != nil {
		return Effect{}, fmt.Errorf("launch: %w", err)
	}
	m.dropSecrets(body)
	if err := m.become(ctx, k, body); err != nil {
		return Effect{}, fmt.Errorf("launch: %w", err)
	}
	note := m.announce(ctx, k, mon)
	m.notify()
	return Effect{Detail: "a standby guest took over", Note: note}, nil
}

// become tells the guest who it is until its beats say so.
func (m *Machines) become(ctx context.Context, k, body mkey) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		if b, _ := m.Heard(k.server, k.epoch); b.Server == k.server && b.Epoch == uint64(k.epoch) {
			return nil
		}
		if i%10 == 0 {
			x := m.get(body)
			m.mu.Lock()
			g := x.guest
			m.mu.Unlock()
			if err := g.send(guest.Order{Kind: guest.Become, Server: k.server, Epoch: uint64(k.epoch)}); err != nil && !errors.Is(err, errNoGuest) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the guest does not say that it took over: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
