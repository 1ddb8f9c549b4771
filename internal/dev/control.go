package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/rack"
)

// errEnded means that a process ended that was to serve.
var errEnded = errors.New("it ended")

// StartController starts the controller and returns once it serves.
func (f *Fleet) StartController(ctx context.Context) error {
	if err := os.Remove(f.ClientConfig()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c, err := startChild([]string{
		f.opt.Exe, "controller", "--dir", f.path("controller"), "--name", "dev",
		"--listen", f.api, "--beat-listen", f.beat, "--beat-lease", BeatLease.String(),
		"--contact", contact.String(), "--sweep", "250ms", "--ready-file", f.ClientConfig(),
	}, f.path("controller.log"), marks(f.ID, ""))
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.controller = c
	f.mu.Unlock()
	err = rack.Poll(ctx, func() (bool, error) {
		if !c.running() {
			return true, nil
		}
		_, err := os.Stat(f.ClientConfig())
		return err == nil, err
	})
	if err == nil && !c.running() {
		err = fmt.Errorf("controller: %w: %w", errEnded, c.err)
	}
	if err != nil || f.client != nil {
		return err
	}
	f.client, err = rack.Connect(f.ClientConfig(), 0)
	return err
}

// KillController kills the controller and returns once it is gone.
func (f *Fleet) KillController() error {
	f.mu.Lock()
	c := f.controller
	f.mu.Unlock()
	if err := c.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the controller: %w", err)
	}
	<-c.ended
	return nil
}

// stopController asks the controller to end well.
func (f *Fleet) stopController(ctx context.Context) {
	f.mu.Lock()
	c := f.controller
	f.mu.Unlock()
	if c == nil || c.cmd.Process.Signal(syscall.SIGTERM) != nil {
		return
	}
	select {
	case <-c.ended:
	case <-ctx.Done():
	}
}

// startHosts enrols the hosts that are new, starts all, and waits for their first
// words.
func (f *Fleet) startHosts(ctx context.Context) error {
	for _, name := range f.Hosts() {
		if err := f.makeHost(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := f.StartHost(name); err != nil {
			return err
		}
	}
	for _, name := range f.Hosts() {
		if err := f.AwaitHost(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) makeHost(ctx context.Context, name string) error {
	dir := hostDir(f.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	api, beat := f.api, f.beat
	if f.opt.Between != nil {
		var err error
		if api, beat, err = f.opt.Between(name, f.api, f.beat); err != nil {
			return err
		}
	}
	peer, err := freePort(ctx, "udp")
	if err != nil {
		return err
	}
	token, err := f.token(ctx, name)
	if err != nil {
		return err
	}
	return host{Fleet: f.ID, Name: name, Command: []string{
		f.opt.Exe, "agent", "host", "--dir", dir + "/agent", "--name", name,
		"--controller", "https://" + api, "--beat-addr", beat, "--token-file", token,
		"--units", strconv.Itoa(hostUnits), "--report-every", reportEvery.String(), "--storage-beats", f.path("beats"), "--storage-every", reportEvery.String(), "--peer", peer,
	}}.write(f.Dir)
}

// token writes a join token into the host's directory. One that joined keeps its
// certificate and needs none.
func (f *Fleet) token(ctx context.Context, name string) (string, error) {
	path := hostDir(f.Dir, name) + "/token"
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	t, err := f.client.CreateJoinToken(ctx, client.JoinTokenRequest{Host: name})
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(t.Token+"\n"), 0o600)
}

// StartHost starts a host's agent. ErrRunning means that the host has processes.
func (f *Fleet) StartHost(name string) error {
	return f.begin(name, host.start)
}

// startAgent starts a host's agent though its servers may run on: the new agent
// finds them again.
func (f *Fleet) startAgent(name string) error { return f.begin(name, host.agent) }

func (f *Fleet) begin(name string, start func(host, string) (*child, error)) error {
	h, err := readHost(f.Dir, name)
	if err != nil {
		return err
	}
	c, err := start(h, f.Dir)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts[name] = c
	return nil
}

// KillHost kills all processes of a host: its agent, keepers and applications.
func (f *Fleet) KillHost(ctx context.Context, name string) error {
	return Kill(ctx, f.ID, name)
}

// AwaitHost waits until the controller is in contact with the host.
func (f *Fleet) AwaitHost(ctx context.Context, name string) error {
	return rack.Poll(ctx, func() (bool, error) {
		list, err := f.client.Hosts(ctx)
		if err != nil {
			return false, err
		}
		for _, h := range list.Items {
			if h.Name == name {
				return h.InContact == fleet.Yes.String() && h.Closed == "", fmt.Errorf("%s: in contact: %s %s", name, h.InContact, h.Closed)
			}
		}
		return false, fmt.Errorf("%s has not joined", name)
	})
}

// Logs lists the log files of the fleet's own processes.
func (f *Fleet) Logs() []string {
	list := []string{f.path("controller.log")}
	for _, h := range f.Hosts() {
		list = append(list, hostDir(f.Dir, h)+"/agent.log")
	}
	return list
}

// complaints are the last lines of the logs, for a start that failed: its
// directory may be gone when a person looks.
func (f *Fleet) complaints() string {
	const keep = 1500
	var b strings.Builder
	for _, path := range f.Logs() {
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			continue
		}
		if len(data) > keep {
			data = data[len(data)-keep:]
		}
		fmt.Fprintf(&b, "\n--- the end of %s\n%s", path, data)
	}
	return b.String()
}
