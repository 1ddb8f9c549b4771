package virsh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"relight/internal/core/fleet"
)

// DefaultURI is the system's own libvirt.
const DefaultURI = "qemu:///system"

const (
	// callWithin bounds one call of virsh: a libvirtd that hangs on a dead disk must
	// not hold everything else.
	callWithin = 20 * time.Second
	maxOutput  = 4 << 20
)

// Errors of libvirt.
var (
	// ErrNotFound: there is no such domain.
	ErrNotFound = errors.New("no such domain")
	// ErrOutput: virsh answered in a way that is not understood.
	ErrOutput = errors.New("virsh gave an answer that is not understood")
)

// Conn is a libvirt. It is safe for concurrent use.
type Conn struct {
	// URI is where it is; DefaultURI if empty.
	URI string
	// Run runs virsh with the arguments and returns its standard output; nil runs
	// the program of that name.
	Run func(ctx context.Context, args ...string) ([]byte, error)
}

func (c *Conn) call(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	run := c.Run
	if run == nil {
		run = virsh
	}
	uri := c.URI
	if uri == "" {
		uri = DefaultURI
	}
	out, err := run(ctx, append([]string{"--quiet", "--connect", uri}, args...)...)
	if err != nil {
		return "", fmt.Errorf("virsh %s: %w", args[0], err)
	}
	return string(out), nil
}

// absent are the words with which libvirt says that there is no such domain. Its
// exit codes do not tell: they are 1 for everything.
var absent = regexp.MustCompile(`(?i)domain not found|failed to get domain`)

func virsh(ctx context.Context, args ...string) ([]byte, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, "virsh", args...)
	cmd.Stdout, cmd.Stderr = &limited{&out}, &limited{&said}
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch text := strings.Join(strings.Fields(said.String()), " "); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil:
		return out.Bytes(), nil
	case absent.MatchString(text):
		return nil, fmt.Errorf("%w: %s", ErrNotFound, cut(text))
	default:
		return nil, fmt.Errorf("%w: %s", err, cut(text))
	}
}

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), 400)], "?") }

// limited keeps the start of what is written to it.
type limited struct{ buf *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.buf.Write(p[:min(len(p), maxOutput-l.buf.Len())])
	return len(p), nil
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// Domains lists all domains. One that ended while it was looked at is left out.
func (c *Conn) Domains(ctx context.Context) ([]Domain, error) {
	text, err := c.call(ctx, "list", "--all", "--uuid")
	if err != nil {
		return nil, err
	}
	var out []Domain
	for _, id := range strings.Fields(text) {
		d, err := c.Domain(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return nil, err
		default:
			out = append(out, d)
		}
	}
	return out, nil
}

// Domain reads one domain by its UUID. Errors: ErrNotFound.
func (c *Conn) Domain(ctx context.Context, id string) (Domain, error) {
	if !uuid.MatchString(id) {
		return Domain{}, fmt.Errorf("domain %q: %w", id, ErrOutput)
	}
	// The state comes first: a domain that starts in between then looks stopped and
	// is looked at again, instead of one that ended looking alive.
	info, err := c.call(ctx, "dominfo", id)
	if err != nil {
		return Domain{}, err
	}
	description, err := c.call(ctx, "dumpxml", id)
	if err != nil {
		return Domain{}, err
	}
	d, err := ParseXML([]byte(description))
	if err != nil {
		return Domain{}, fmt.Errorf("domain %s: %w", id, err)
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); strings.TrimSpace(name) {
		case "State":
			d.State = State(value)
		case "Persistent":
			d.Persistent = value == "yes"
		case "Autostart":
			d.Autostart = value == "enable"
		}
	}
	if d.UUID != id || d.State == "" {
		return Domain{}, fmt.Errorf("domain %s: %w", id, ErrOutput)
	}
	return d, nil
}

// State is a domain's state in libvirt's words.
type State string

// The states that differ from running in what they mean to us.
const (
	ShutOff State = "shut off"
	Crashed State = "crashed"
	Paused  State = "paused"
)

// Alive reports whether the domain has a process. Whatever is not known to have
// none counts as alive.
func (s State) Alive() bool { return s != ShutOff && s != Crashed }

// Start starts a domain that is defined.
func (c *Conn) Start(ctx context.Context, id string) error {
	_, err := c.call(ctx, "start", id)
	return err
}

// Shutdown asks the guest to end.
func (c *Conn) Shutdown(ctx context.Context, id string) error {
	_, err := c.call(ctx, "shutdown", id)
	return err
}

// Destroy ends the domain's process. libvirt answers once it is gone.
func (c *Conn) Destroy(ctx context.Context, id string) error {
	_, err := c.call(ctx, "destroy", id)
	return err
}

// Reset resets the machine in place.
func (c *Conn) Reset(ctx context.Context, id string) error {
	_, err := c.call(ctx, "reset", id)
	return err
}

// NoAutostart keeps the domain from starting with its host.
func (c *Conn) NoAutostart(ctx context.Context, id string) error {
	_, err := c.call(ctx, "autostart", "--disable", id)
	return err
}

// Mark writes into the domain's own description which epoch of which server it is;
// it outlives the agent, and moves with the domain.
func (c *Conn) Mark(ctx context.Context, d Domain, server string, epoch fleet.Epoch) error {
	args := []string{
		"metadata", d.UUID, "--uri", markSpace, "--key", "relight", "--set",
		"<instance server='" + server + "' epoch='" + strconv.FormatUint(uint64(epoch), 10) + "'/>",
	}
	if !ValidName(server) {
		return fmt.Errorf("server %q: %w", server, ErrOutput)
	}
	if d.Persistent {
		args = append(args, "--config")
	}
	if d.State.Alive() {
		args = append(args, "--live")
	}
	_, err := c.call(ctx, args...)
	return err
}

var serverName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ValidName reports whether a domain's name can be a server's.
func ValidName(name string) bool { return serverName.MatchString(name) }
