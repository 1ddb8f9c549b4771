package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"relight/internal/api/client"
	"relight/internal/rack"
)

// ErrRunning means that a host that is to be started has living processes.
var ErrRunning = errors.New("host runs")

// host is how one host is started, as it lies in its directory, so that the power
// device can do it, too.
type host struct {
	Fleet   string   `json:"fleet"`
	Name    string   `json:"name"`
	Command []string `json:"command"`
}

func hostDir(dir, name string) string { return filepath.Join(dir, "hosts", name) }

func (h host) write(dir string) error {
	data, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(hostDir(dir, h.Name), "host.json")
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readHost(dir, name string) (host, error) {
	if dir == "" || name == "" || strings.ContainsAny(name, "/.") {
		return host{}, fmt.Errorf("options dir %q and plug %q name no host", dir, name)
	}
	var h host
	data, err := os.ReadFile(filepath.Join(hostDir(dir, name), "host.json"))
	if err != nil {
		return host{}, err
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return host{}, fmt.Errorf("host %s: %w", name, err)
	}
	if h.Name != name || h.Fleet == "" || len(h.Command) == 0 {
		return host{}, fmt.Errorf("host %s: its record says nothing", name)
	}
	return h, nil
}

// start starts the whole host. ErrRunning means that it has living processes.
func (h host) start(dir string) (*child, error) {
	found, err := living(h.Fleet, h.Name)
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return nil, fmt.Errorf("%s: %w: %d processes", h.Name, ErrRunning, len(found))
	}
	return h.agent(dir)
}

// agent starts the host's agent in a session of its own, whatever else runs there.
func (h host) agent(dir string) (*child, error) {
	return startChild(h.Command, filepath.Join(hostDir(dir, h.Name), "agent.log"), marks(h.Fleet, h.Name))
}

// on starts the host unless it runs: a switch that is on already is no error.
func (h host) on(dir string) error {
	_, err := h.start(dir)
	if errors.Is(err, ErrRunning) {
		return nil
	}
	return err
}

func marks(id, host string) []string {
	m := []string{fleetMark + "=" + id}
	if host != "" {
		m = append(m, hostMark+"="+host)
	}
	return m
}

// child is a process that we started.
type child struct {
	cmd *exec.Cmd
	// ended is closed after the process was waited for; err is then how it ended.
	ended chan struct{}
	err   error
}

// startChild starts a command in a session of its own, so that neither Ctrl-C in
// our terminal nor the end of our session reaches it.
func startChild(command []string, log string, env []string) (*child, error) {
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(command[0], command[1:]...)    //nolint:noctx // the power device leaves it running
	cmd.Env = append(rack.Plain(os.Environ()), env...) // without marks of another fleet
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, ended: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

func (c *child) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// pid is the process's id.
func (c *child) pid() int { return c.cmd.Process.Pid }

// FleetOf returns the mark of the fleet that a host's directory belongs to, for Pids.
func FleetOf(dir, name string) (string, error) {
	h, err := readHost(dir, name)
	return h.Fleet, err
}

// Connect makes a client of the fleet in a directory, which somebody else has started.
func Connect(dir string) (*client.Client, error) {
	return rack.Connect((&Fleet{Dir: dir}).ClientConfig(), 0)
}
