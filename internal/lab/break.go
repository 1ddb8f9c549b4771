package lab

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fault is one thing that can be broken on a node.
type fault struct {
	name, does string
	nodes      []string
	do, undo   func(l *Lab, ctx context.Context, node string) error
}

func faults() []fault {
	everyone := append([]string{nodeController}, Hosts()...)
	return []fault{
		{
			"management", "cut off the management network, on which clients are as well", append(everyone, nodeClient),
			func(l *Lab, ctx context.Context, n string) error { return l.Cut(ctx, n, Management) },
			func(l *Lab, ctx context.Context, n string) error { return l.Mend(ctx, n, Management) },
		},
		{
			"storage", "cut off the storage network", append(everyone, nodeSAN),
			func(l *Lab, ctx context.Context, n string) error { return l.Cut(ctx, n, Storage) },
			func(l *Lab, ctx context.Context, n string) error { return l.Mend(ctx, n, Storage) },
		},
		{"power", "switch a host off: all of its processes are gone at once", Hosts(), (*Lab).PowerOff, (*Lab).PowerOn},
		{"agent", "kill a host's agent alone", Hosts(), (*Lab).KillAgent, (*Lab).StartAgent},
		{"vm", "kill the processes of a host's virtual machines", Hosts(), (*Lab).KillVMs, nil},
		{"hang", "stop the virtual CPUs of a host's machines (and restart its agent, which holds their monitors)", Hosts(), (*Lab).HangVMs, nil},
		{"freeze", "stop the processes of a host's virtual machines: they live and do nothing", Hosts(), (*Lab).FreezeVMs, (*Lab).ThawVMs},
		{
			"restart", "restart the SAN, which forgets all that it was told; or kill the controller and start it again",
			[]string{nodeSAN, nodeController},
			(*Lab).restart, nil,
		},
		{
			"kill", "kill the SAN's target daemon, or the controller",
			[]string{nodeSAN, nodeController},
			(*Lab).kill,
			(*Lab).startNode,
		},
		{"mute", "have the SAN take no orders, as if its management were cut off; it serves on", []string{nodeSAN}, (*Lab).MuteSAN, (*Lab).UnmuteSAN},
	}
}

// FaultList says for people what can be broken, and on which nodes.
func FaultList() string {
	var b strings.Builder
	for _, f := range faults() {
		fmt.Fprintf(&b, "  %-11s %s (%s)\n", f.name, f.does, strings.Join(f.nodes, ", "))
	}
	return b.String()
}

func findFault(node, name string) (fault, error) {
	for _, f := range faults() {
		if f.name == name && slices.Contains(f.nodes, node) {
			return f, nil
		}
	}
	return fault{}, fmt.Errorf("nothing called %q can be broken on %q; next: relight lab break --help", name, node)
}

// Break breaks one thing on a node; FaultList names them.
func (l *Lab) Break(ctx context.Context, node, name string) error {
	f, err := findFault(node, name)
	if err != nil {
		return err
	}
	return f.do(l, ctx, node)
}

// MendFault undoes what Break did.
func (l *Lab) MendFault(ctx context.Context, node, name string) error {
	f, err := findFault(node, name)
	if err != nil {
		return err
	}
	if f.undo == nil {
		return fmt.Errorf("%s on %s leaves nothing to mend", name, node)
	}
	return f.undo(l, ctx, node)
}

func (l *Lab) startNode(ctx context.Context, node string) error {
	if node == nodeSAN {
		return l.StartSAN(ctx)
	}
	return l.StartController(ctx)
}

func (l *Lab) kill(ctx context.Context, node string) error {
	if node == nodeSAN {
		return l.KillSAN(ctx)
	}
	return killAll(ctx, l.namespace(node))
}

func (l *Lab) restart(ctx context.Context, node string) error {
	if err := l.kill(ctx, node); err != nil {
		return err
	}
	return l.startNode(ctx, node)
}

// VMs lists the processes of a host's virtual machines.
func (l *Lab) VMs(host string) ([]int, error) {
	found, err := processes(l.namespace(host))
	var out []int
	for _, p := range found {
		if isVM(p) {
			out = append(out, p.PID)
		}
	}
	return out, err
}

// StartedVM is when the first virtual machine of those that began to run within that time
// did so, to a hundredth of a second; zero if none did.
func (l *Lab) StartedVM(from, to time.Time) (first time.Time, err error) {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, err
	}
	booted := time.Now().Add(-time.Duration(up.Nano()))
	for _, host := range Hosts() {
		found, err := processes(l.namespace(host))
		if err != nil {
			return time.Time{}, err
		}
		for _, p := range found {
			at := booted.Add(time.Duration(p.Start) * clockTick)
			if isVM(p) && !at.Before(from) && !at.After(to) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	return first, nil
}

// clockTick is the unit in which /proc tells when a process began, the same on every
// Linux that Go runs on: proc_pid_stat(5), USER_HZ.
const clockTick = time.Second / 100

// KillVMs kills the processes of a host's virtual machines. None is an error.
func (l *Lab) KillVMs(ctx context.Context, host string) error {
	n, err := killSome(ctx, l.namespace(host), isVM)
	if err == nil && n == 0 {
		err = fmt.Errorf("%s runs no virtual machine", host)
	}
	return err
}

// FreezeVMs stops the processes of a host's virtual machines (SIGSTOP).
func (l *Lab) FreezeVMs(_ context.Context, host string) error { return l.signalVMs(host, unix.SIGSTOP) }

// ThawVMs lets them go on.
func (l *Lab) ThawVMs(_ context.Context, host string) error { return l.signalVMs(host, unix.SIGCONT) }

func (l *Lab) signalVMs(host string, sig unix.Signal) error {
	found, err := processes(l.namespace(host))
	if err != nil {
		return err
	}
	n := 0
	for _, p := range found {
		if isVM(p) {
			n++
			if err := p.Signal(sig); err != nil {
				return err
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("%s runs no virtual machine", host)
	}
	return nil
}

// Describe says for people what runs and what is cut.
func (l *Lab) Describe(ctx context.Context, out io.Writer) error {
	fmt.Fprintf(out, "lab %s, in %s\n\n", l.Name, l.Dir())
	for _, n := range nodes() {
		if n == nodeSwitch {
			continue
		}
		found, err := processes(l.namespace(n))
		if err != nil {
			return err
		}
		var what []string
		for _, p := range found {
			switch {
			case isController(p), isAgent(p), isTarget(p):
				what = append(what, fmt.Sprintf("%s (pid %d)", map[bool]string{isController(p): "controller", isAgent(p): "agent", isTarget(p): "iSCSI target"}[true], p.PID))
			case isVM(p):
				what = append(what, fmt.Sprintf("virtual machine (pid %d)", p.PID))
			}
		}
		if len(found) == 0 && n != nodeClient {
			what = append(what, "off")
		}
		if n == nodeSAN && l.isMute() {
			what = append(what, "takes no orders")
		}
		for _, net := range networksOf(n) {
			cut, err := l.IsCut(ctx, n, net)
			if err != nil {
				return err
			}
			if cut {
				what = append(what, "cut off the "+string(net)+" network")
			}
		}
		fmt.Fprintf(out, "  %-4s %s\n", n, strings.Join(what, ", "))
	}
	fmt.Fprintf(out, `
  export RELIGHT_CONFIG=%[1]s
  relight get hosts

Break something: relight lab break --help
Drill it: relight drill run --all --with "relight lab drill --name %[3]s" --report drills.html --yes
Run a command on a node: ip netns exec %[2]s COMMAND
Take it down: relight lab down --name %[3]s
`, l.ClientConfig(), l.namespace("ha"), l.Name)
	return nil
}
