package qemu

import (
	"context"
	"errors"
	"fmt"

	"relight/internal/provider/onprem/link"
)

// State is how QEMU says that a machine is.
type State string

// The states that matter here; there are others.
const (
	Running  State = "running"
	Paused   State = "paused"
	IOError  State = "io-error"
	Panicked State = "guest-panicked"
	Internal State = "internal-error"
	Shutdown State = "shutdown"
)

// Status asks how the machine is.
func (m *Monitor) Status(ctx context.Context) (State, error) {
	var got struct {
		Status State `json:"status"`
	}
	err := m.Do(ctx, "query-status", nil, &got)
	return got.Status, err
}

// Counters are what the machine's disks have completed.
type Counters struct {
	Reads, Writes, Flushes uint64
}

// Counters asks for them, summed over all disks.
func (m *Monitor) Counters(ctx context.Context) (Counters, error) {
	var got []struct {
		Stats struct {
			Reads   uint64 `json:"rd_operations"`
			Writes  uint64 `json:"wr_operations"`
			Flushes uint64 `json:"flush_operations"`
		} `json:"stats"`
	}
	var c Counters
	err := m.Do(ctx, "query-blockstats", nil, &got)
	for _, d := range got {
		c.Reads += d.Stats.Reads
		c.Writes += d.Stats.Writes
		c.Flushes += d.Stats.Flushes
	}
	return c, err
}

// PowerDown presses the power button. The guest decides what becomes of it.
func (m *Monitor) PowerDown(ctx context.Context) error {
	return m.Do(ctx, "system_powerdown", nil, nil)
}

// Pause holds the virtual CPUs; Continue lets them go on.
func (m *Monitor) Pause(ctx context.Context) error { return m.Do(ctx, "stop", nil, nil) }

// Continue lets the virtual CPUs go on.
func (m *Monitor) Continue(ctx context.Context) error { return m.Do(ctx, "cont", nil, nil) }

// Reset starts the machine anew in place: same process, same disks, same epoch.
func (m *Monitor) Reset(ctx context.Context) error {
	if err := m.Do(ctx, "system_reset", nil, nil); err != nil {
		return err
	}
	// A machine that was held, by a panic or an error, stays held after its reset.
	s, err := m.Status(ctx)
	if err != nil || s == Running {
		return err
	}
	return m.Continue(ctx)
}

// Announce tells switches where the machine's address is now.
func (m *Monitor) Announce(ctx context.Context) error {
	return m.Do(ctx, "announce-self", map[string]any{"initial": 50, "max": 550, "rounds": 5, "step": 100}, nil)
}

// Plug gives a standby machine its disks. It may be repeated; what is there already
// is left alone. The secrets' files must lie in QEMU's directory; see Secrets.
func (m *Monitor) Plug(ctx context.Context, disks []link.Disk) error {
	nodes, devices, err := m.plugged(ctx)
	if err != nil {
		return err
	}
	for i, d := range disks {
		p := plugOf(i, d)
		if !nodes[p.name] {
			if err := m.node(ctx, p); err != nil {
				return fmt.Errorf("plug in %s: %w", d.Volume, err)
			}
		}
		if devices[p.name+"-dev"] {
			continue
		}
		err := m.Do(ctx, "device_add", map[string]any{
			"driver": "scsi-hd", "bus": "scsi0.0", "drive": p.name, "id": p.name + "-dev",
			"serial": Serial(d.Volume), "device_id": Serial(d.Volume), "scsi-id": i + 1,
		}, nil)
		if err != nil {
			return fmt.Errorf("plug in %s: %w", d.Volume, err)
		}
	}
	return nil
}

func (m *Monitor) node(ctx context.Context, p plug) error {
	if p.secret != nil {
		err := m.Do(ctx, "object-add", p.secret, nil)
		var no *Refusal
		// One that is there is from an earlier try: it has the same content.
		if err != nil && (!errors.As(err, &no) || !m.has(ctx, p.file.Name)) {
			return err
		}
	}
	return m.Do(ctx, "blockdev-add", p.node, nil)
}

// list returns the names of what QEMU has below a path.
func (m *Monitor) list(ctx context.Context, path string) (map[string]bool, error) {
	var got []struct {
		Name string `json:"name"`
	}
	err := m.Do(ctx, "qom-list", map[string]any{"path": path}, &got)
	names := map[string]bool{}
	for _, g := range got {
		names[g.Name] = true
	}
	return names, err
}

func (m *Monitor) has(ctx context.Context, object string) bool {
	names, err := m.list(ctx, "/objects")
	return err == nil && names[object]
}

func (m *Monitor) plugged(ctx context.Context) (nodes, devices map[string]bool, err error) {
	var got []struct {
		Name string `json:"node-name"`
	}
	if err := m.Do(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &got); err != nil {
		return nil, nil, err
	}
	nodes = map[string]bool{}
	for _, g := range got {
		nodes[g.Name] = true
	}
	devices, err = m.list(ctx, "/machine/peripheral")
	return nodes, devices, err
}

// Secrets are the files that Plug needs.
func Secrets(disks []link.Disk) []File {
	var files []File
	for i, d := range disks {
		if p := plugOf(i, d); p.secret != nil {
			files = append(files, p.file)
		}
	}
	return files
}
