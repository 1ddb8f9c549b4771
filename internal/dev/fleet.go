package dev

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/rack"
)

// Options say how a fleet is started.
type Options struct {
	// Dir keeps the fleet's state; a temporary directory, removed by Close, if empty.
	Dir string
	// Exe is this program; os.Executable if empty.
	Exe string
	// Between, if set, is given the controller's addresses (URL and beats, as
	// host:port) and returns those that the host's agent is to use instead.
	Between func(host, api, beat string) (string, string, error)
}

// Fleet is a running fleet. Close it.
type Fleet struct {
	// Dir is the fleet's directory and ID its mark. Servers are in order.
	Dir     string
	ID      string
	Servers []Server

	opt       Options
	temporary bool
	lock      *os.File
	warden    *rack.Warden
	api, beat string
	client    *client.Client

	mu         sync.Mutex
	controller *child
	hosts      map[string]*child
}

// Names of what lies in a fleet's directory.
const (
	fleetFile  = "fleet.yaml"
	clientFile = "client.json"
	recordFile = "dev.json"
)

// record is what a directory that is used again must keep.
type record struct {
	ID      string   `json:"id"`
	Servers []Server `json:"servers"`
}

// startWithin bounds each part of a start.
const startWithin = 20 * time.Second

// ErrBusy means that another fleet runs in the directory.
var ErrBusy = errors.New("another fleet runs in this directory")

// Start starts a fleet and returns once all its servers run. What it had started
// is ended again if it fails.
func Start(ctx context.Context, o Options) (*Fleet, error) {
	f := &Fleet{opt: o, hosts: map[string]*child{}}
	if err := f.prepare(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"start the controller", f.StartController},
		{"start the hosts", f.startHosts},
		{"declare the fleet", f.declare},
		{"wait for the servers", f.settle},
	} {
		bounded, cancel := context.WithTimeout(ctx, startWithin)
		err := step.do(bounded)
		cancel()
		if err != nil {
			err = fmt.Errorf("%s: %w%s", step.name, err, f.complaints())
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// prepare makes the directory and what the fleet needs before its first process.
func (f *Fleet) prepare(ctx context.Context) error {
	var err error
	if f.opt.Exe == "" {
		if f.opt.Exe, err = os.Executable(); err != nil {
			return err
		}
	}
	if err := f.takeDir(); err != nil {
		return err
	}
	if err := f.readRecord(ctx); err != nil {
		return err
	}
	if f.warden, err = startWarden(f.opt.Exe, f.Dir, f.ID, f.temporary); err != nil {
		return fmt.Errorf("start the warden: %w", err)
	}
	for _, s := range f.Servers {
		if err := os.MkdirAll(s.Volume, 0o700); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(f.path("beats"), 0o700); err != nil {
		return err
	}
	if f.api, err = freePort(ctx, "tcp"); err != nil {
		return err
	}
	f.beat, err = freePort(ctx, "udp")
	return err
}

// takeDir makes the directory ours.
func (f *Fleet) takeDir() error {
	var err error
	if f.opt.Dir == "" {
		f.Dir, err = os.MkdirTemp("", "relight-dev-")
		f.temporary = err == nil
	} else if f.Dir, err = filepath.Abs(f.opt.Dir); err == nil {
		err = os.MkdirAll(f.Dir, 0o700)
	}
	if err != nil {
		return err
	}
	// Sites name the path; a symlink to it would be another one for a reader of /proc.
	if f.Dir, err = filepath.EvalSymlinks(f.Dir); err != nil {
		return err
	}
	if f.lock, err = os.OpenFile(f.path("lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := unix.Flock(int(f.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%s: %w: %w", f.Dir, ErrBusy, err)
	}
	return nil
}

// readRecord takes up the fleet that the directory holds, or makes a new one.
// What an earlier run may have left running is ended first.
func (f *Fleet) readRecord(ctx context.Context) error {
	var r record
	data, err := os.ReadFile(f.path(recordFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("%s: %w", f.path(recordFile), err)
		}
		if err := Kill(ctx, r.ID, ""); err != nil {
			return fmt.Errorf("end what an earlier run has left: %w", err)
		}
		f.Servers = r.Servers
	}
	if len(f.Servers) == 0 {
		list, err := addresses(ctx, serverCount, 8080)
		if err != nil {
			return err
		}
		for i, addr := range list {
			f.Servers = append(f.Servers, Server{Name: serverName(i), Addr: addr, Volume: f.path("volumes", serverName(i))})
		}
	}
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	f.ID = hex.EncodeToString(id[:])
	if data, err = json.MarshalIndent(record{ID: f.ID, Servers: f.Servers}, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(f.path(recordFile), append(data, '\n'), 0o600)
}

func (f *Fleet) path(parts ...string) string {
	return filepath.Join(append([]string{f.Dir}, parts...)...)
}

// ClientConfig is the path of the client.json with which people reach the fleet.
func (f *Fleet) ClientConfig() string { return f.path(clientFile) }

// DocumentFile is the path of the fleet's documents.
func (f *Fleet) DocumentFile() string { return f.path(fleetFile) }

// URL is where the controller serves.
func (f *Fleet) URL() string { return "https://" + f.api }

// Hosts lists the fleet's hosts.
func (f *Fleet) Hosts() []string {
	var out []string
	for i := range hostCount {
		out = append(out, hostName(i))
	}
	return out
}

// declare applies the fleet's documents, which a person may have changed. The
// fleet is frozen until each server could go to the host that it prefers: hosts
// tell one after the other that they reach its volume.
func (f *Fleet) declare(ctx context.Context) error {
	now, err := f.client.Freeze(ctx)
	if err != nil {
		return err
	}
	if now.Freeze != nil && now.Freeze.Reason != declaring {
		return f.apply(ctx) // a person froze the fleet of this directory and will clear it
	}
	if _, err := f.client.SetFreeze(ctx, declaring); err != nil {
		return err
	}
	if err := f.apply(ctx); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, placesWithin)
	defer cancel()
	for _, s := range f.Servers {
		// Best effort: a person may have changed the documents.
		_ = rack.Poll(bounded, func() (bool, error) { return f.placed(bounded, s.Name) })
	}
	return f.client.ClearFreeze(ctx)
}

// declaring is the reason of our own freeze, by which a later run knows one that a
// crash has left.
const declaring = "the fleet is being declared"

// placesWithin is how long a start waits for the hosts that servers prefer.
const placesWithin = 4 * time.Second

// placed reports whether a server that never ran would go to its first choice.
func (f *Fleet) placed(ctx context.Context, name string) (bool, error) {
	view, err := f.client.Server(ctx, name)
	if err != nil || view.Status.Epoch > 0 || len(view.Server.Spec.Placement.Sites) == 0 {
		return err == nil, err
	}
	plan, err := f.client.Plan(ctx, name, client.PlanQuery{})
	if err != nil {
		return false, err
	}
	for _, c := range plan.Candidates {
		if c.Chosen {
			return c.Host == view.Server.Spec.Placement.Sites[0], nil
		}
	}
	return false, nil
}

func (f *Fleet) apply(ctx context.Context) error {
	text, err := os.ReadFile(f.DocumentFile())
	if errors.Is(err, os.ErrNotExist) {
		text = []byte(document(f.Dir, f.opt.Exe, f.Servers))
		err = os.WriteFile(f.DocumentFile(), text, 0o600)
	}
	if err != nil {
		return err
	}
	return rack.Apply(ctx, f.client, fleetFile, string(text))
}

// settle waits until all servers run verified.
func (f *Fleet) settle(ctx context.Context) error {
	return rack.Poll(ctx, func() (bool, error) {
		list, err := f.client.Servers(ctx, client.ListQuery{})
		if err != nil {
			return false, err
		}
		running := 0
		for _, s := range list.Items {
			if s.Phase == fleet.PhaseRunning && s.Verdict == fleet.Healthy {
				running++
			}
		}
		if running < len(f.Servers) {
			return false, fmt.Errorf("%d of %d servers run", running, len(f.Servers))
		}
		return true, nil
	})
}

// Client returns the client with which the fleet was declared.
func (f *Fleet) Client() *client.Client { return f.client }

// closeWithin bounds the end of a fleet.
const closeWithin = 10 * time.Second

// Keep has Close leave the directory in place.
func (f *Fleet) Keep() { f.temporary = false }

// Stop ends every process of the fleet and looks that none is left. Its files stay
// for whoever wants to read them before Close.
func (f *Fleet) Stop() error {
	if f.ID == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	// The controller first: it would heal what ends now.
	f.stopController(ctx)
	if err := Kill(ctx, f.ID, ""); err != nil {
		return fmt.Errorf("end the fleet: %w", err)
	}
	return nil
}

// Close stops the fleet and removes a temporary directory.
func (f *Fleet) Close() error {
	errs := []error{f.Stop()}
	if f.client != nil {
		f.client.Close()
	}
	if f.temporary {
		errs = append(errs, os.RemoveAll(f.Dir))
	}
	if f.lock != nil {
		errs = append(errs, f.lock.Close())
	}
	if f.warden != nil {
		errs = append(errs, f.warden.Dismiss(errors.Join(errs...) == nil))
	}
	return errors.Join(errs...)
}
