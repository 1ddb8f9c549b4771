package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/rack"
)

// BeatLease is the length of the lease that agents hold, as a site would set it that
// wants to be quick.
const BeatLease = 3 * time.Second

// hostUnits lets two hosts carry all servers.
const hostUnits = 4

// errEnded means that a process ended that was to serve.
var errEnded = errors.New("it ended")

// Start starts a command in a node, in a session of its own: it outlives us. Its
// output goes to the node's log.
func (l *Lab) Start(node string, command ...string) (*exec.Cmd, error) {
	out, err := os.OpenFile(l.Log(node), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command("ip", append([]string{"netns", "exec", l.namespace(node)}, command...)...) //nolint:noctx // it outlives us: that is what hosts do
	cmd.Env = rack.Plain(os.Environ())
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }()
	// Until it has entered the namespace, nobody who looks there would find it: a host
	// that was switched off now would come to life afterwards. Until ip has become the
	// command, whoever looks for the command would say that it has ended.
	ctx, cancel := context.WithTimeout(context.Background(), enterWithin)
	defer cancel()
	return cmd, poll(ctx, func() (bool, error) {
		p, lives := rack.Look(cmd.Process.Pid)
		if !lives {
			return true, nil // what waits for it to serve will say so
		}
		in, err := isIn(p.PID, l.namespace(node))
		begun := in && p.Args[0] != "" && p.Args[0] != cmd.Args[0]
		return begun, errors.Join(err, fmt.Errorf("process %d has not become %s in %s", p.PID, command[0], l.namespace(node)))
	})
}

// enterWithin bounds the start of a process.
const enterWithin = 10 * time.Second

// complaint is the end of a node's log, for an error: the lab may be gone when a
// person looks.
func (l *Lab) complaint(node string) string {
	const keep = 1500
	data, err := os.ReadFile(l.Log(node))
	if err != nil || len(data) == 0 {
		return ""
	}
	return fmt.Sprintf("\n--- the end of %s\n%s", l.Log(node), data[max(len(data)-keep, 0):])
}

// lives returns a process of a node that fits, or an error.
func (l *Lab) lives(node string, fits func(process) bool) (process, error) {
	found, err := processes(l.namespace(node))
	if err != nil {
		return process{}, err
	}
	for _, p := range found {
		if fits(p) {
			return p, nil
		}
	}
	return process{}, fmt.Errorf("%s: %w", node, errEnded)
}

func isController(p process) bool { return p.Is("controller", "--dir") }
func isAgent(p process) bool      { return p.Is("agent", "host") }
func isTarget(p process) bool     { return p.Program() == "tgtd" }

// StartSAN starts the target daemon, which has forgotten all targets, and returns
// once it answers.
func (l *Lab) StartSAN(ctx context.Context) error {
	for _, s := range l.sockets() {
		_ = os.Remove(s)
	}
	if _, err := l.Start(nodeSAN, "tgtd", "-C", strconv.Itoa(l.Control), "--iscsi", "portal="+l.Portal(), "-f"); err != nil {
		return err
	}
	err := poll(ctx, func() (bool, error) {
		return l.tgtadm(ctx, "--op", "show", "--mode", "target") == nil, fmt.Errorf("the SAN does not answer")
	})
	if err != nil {
		return fmt.Errorf("start the SAN: %w%s", err, l.complaint(nodeSAN))
	}
	return l.serveBeats(ctx)
}

func (l *Lab) tgtadm(ctx context.Context, args ...string) error {
	return run(ctx, "", "tgtadm", append([]string{"-C", strconv.Itoa(l.Control), "--lld", "iscsi"}, args...)...)
}

// socket is where the target daemon takes orders.
func (l *Lab) socket() string { return fmt.Sprintf("/var/run/tgtd/socket.%d", l.Control) }

// muted is where its socket lies while nobody can find it.
func (l *Lab) muted() string { return l.socket() + ".muted" }

func (l *Lab) sockets() []string { return []string{l.socket(), l.socket() + ".lock", l.muted()} }

// MuteSAN has the SAN take no orders any more, as an array whose management is cut off; it
// serves its LUNs on.
func (l *Lab) MuteSAN(context.Context, string) error { return os.Rename(l.socket(), l.muted()) }

// UnmuteSAN undoes that. A SAN that takes orders is no error.
func (l *Lab) UnmuteSAN(context.Context, string) error {
	if !l.isMute() {
		return nil
	}
	return os.Rename(l.muted(), l.socket())
}

func (l *Lab) isMute() bool {
	_, err := os.Stat(l.muted())
	return err == nil
}

// freeControl finds a control socket of the target daemon that nobody has.
func freeControl(pick func(n int) int) (int, error) {
	for range 1000 {
		n := 1000 + pick(30000)
		if _, err := os.Stat(fmt.Sprintf("/var/run/tgtd/socket.%d", n)); errors.Is(err, os.ErrNotExist) {
			return n, nil
		}
	}
	return 0, errors.New("no free control socket for tgtd was found")
}

// KillSAN ends the target daemon as a power failure of the array would.
func (l *Lab) KillSAN(ctx context.Context) error {
	return killAll(ctx, l.namespace(nodeSAN))
}

// Client returns a client of the lab's controller.
func (l *Lab) Client() (*client.Client, error) {
	return rack.Connect(l.ClientConfig(), 5*time.Second)
}

// join makes the token with which a host's agent joins.
func (l *Lab) join(ctx context.Context, c *client.Client, host string) error {
	if err := os.MkdirAll(l.path(host), 0o700); err != nil {
		return err
	}
	t, err := c.CreateJoinToken(ctx, client.JoinTokenRequest{Host: host})
	if err != nil {
		return fmt.Errorf("join %s: %w", host, err)
	}
	return os.WriteFile(l.path(host, "token"), []byte(t.Token+"\n"), 0o600)
}

// StartAgent starts a host's agent, whatever else runs there: it finds its servers
// again.
func (l *Lab) StartAgent(ctx context.Context, host string) error {
	if err := l.Boot(ctx, host); err != nil {
		return err
	}
	address := l.management(last(nodeController)) + ":7443"
	_, err := l.Start(host,
		l.Exe, "agent", "host", "--dir", l.path(host, "agent"), "--name", host,
		"--controller", "https://"+address, "--beat-addr", address, "--token-file", l.path(host, "token"),
		"--units", strconv.Itoa(hostUnits), "--device", Bridge, "--report-every", l.reportEvery().String(),
		"--storage-beats", l.beats(), "--storage-every", l.reportEvery().String(),
		"--peer", net.JoinHostPort(l.management(last(host)), "7444"),
	)
	return err
}

// KillAgent kills a host's agent alone; its servers run on.
func (l *Lab) KillAgent(ctx context.Context, host string) error {
	_, err := killSome(ctx, l.namespace(host), isAgent)
	return err
}

// AwaitHost waits until the controller is in contact with a host.
func AwaitHost(ctx context.Context, c *client.Client, host string) error {
	return poll(ctx, func() (bool, error) {
		list, err := c.Hosts(ctx)
		if err != nil {
			return false, err
		}
		for _, h := range list.Items {
			if h.Name == host {
				return h.InContact == fleet.Yes.String() && h.Closed == "", fmt.Errorf("%s: in contact: %s %s", host, h.InContact, h.Closed)
			}
		}
		return false, fmt.Errorf("%s has not joined", host)
	})
}
