package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Network is one of a lab's two networks, which fail one by one.
type Network string

// The networks.
const (
	// Management carries agents, beats and clients; the servers' own network
	// interfaces are on it as well.
	Management Network = "management"
	// Storage carries iSCSI, and with it the hosts' heartbeats on the SAN.
	Storage Network = "storage"
)

// Networks lists both.
func Networks() []Network { return []Network{Management, Storage} }

// port is the name of a node's port on the switch.
func port(node string, n Network) string { return node + "-" + string(n[0]) }

// run runs a command; its complaint becomes the error.
func run(ctx context.Context, in, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// output runs a command and returns what it prints.
func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}

// batch runs lines of ip's commands, in a namespace if one is named.
func batch(ctx context.Context, namespace string, lines []string) error {
	args := []string{"-batch", "-"}
	if namespace != "" {
		args = append([]string{"-n", namespace}, args...)
	}
	return run(ctx, strings.Join(lines, "\n")+"\n", "ip", args...)
}

// buildNet makes the namespaces and the networks.
//
//	  +-------- management 10.78.N.0/24 --------+
//	ctl (.2)   ha (.11)  hb (.12)  hc (.13)    cl (.50)
//	  +--------- storage 10.77.N.0/24 ----------- san (.1)
func (l *Lab) buildNet(ctx context.Context) error {
	for _, n := range nodes() {
		if err := run(ctx, "", "ip", "netns", "add", l.namespace(n)); err != nil {
			return err
		}
		// No duplicate address detection, no router solicitations: fewer packets that
		// are nobody's.
		if err := run(ctx, "", "ip", "netns", "exec", l.namespace(n), "sh", "-c",
			"echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"); err != nil {
			return err
		}
		if err := batch(ctx, l.namespace(n), []string{"link set lo up"}); err != nil {
			return err
		}
	}
	sw := []string{}
	for _, n := range Networks() {
		sw = append(sw, "link add name "+string(n)+" type bridge forward_delay 0", "link set dev "+string(n)+" up")
	}
	if err := batch(ctx, l.namespace(nodeSwitch), sw); err != nil {
		return err
	}
	for _, n := range nodes() {
		if err := l.plugNode(ctx, n); err != nil {
			return fmt.Errorf("plug in %s: %w", n, err)
		}
	}
	return l.plugPeople(ctx)
}

// networksOf lists to which networks a node belongs.
func networksOf(node string) []Network {
	switch node {
	case nodeSwitch:
		return nil
	case nodeSAN:
		return []Network{Storage}
	case nodeClient:
		return []Network{Management}
	default:
		return Networks()
	}
}

func (l *Lab) plugNode(ctx context.Context, node string) error {
	in := l.namespace(node)
	for _, n := range networksOf(node) {
		sw := []string{
			fmt.Sprintf("link add name %s type veth peer name %s netns %s", port(node, n), n, in),
			fmt.Sprintf("link set dev %s master %s up", port(node, n), n),
		}
		if err := batch(ctx, l.namespace(nodeSwitch), sw); err != nil {
			return err
		}
		dev, addr := string(n), l.storage(last(node))
		lines := []string{"link set dev " + dev + " up"}
		if n == Management {
			addr = l.management(last(node))
			if slices.Contains(Hosts(), node) {
				// The servers' taps join the host's bridge.
				dev = Bridge
				lines = append(lines, "link add name "+dev+" type bridge forward_delay 0", "link set dev management master "+dev, "link set dev "+dev+" up")
			}
		}
		if err := batch(ctx, in, append(lines, "addr add "+addr+"/24 dev "+dev)); err != nil {
			return err
		}
	}
	return nil
}

// Bridge is the name of each host's bridge.
const Bridge = "br0"

// plugPeople joins this machine with the controller.
func (l *Lab) plugPeople(ctx context.Context) error {
	dev := prefix + l.Name
	err := batch(ctx, "", []string{
		fmt.Sprintf("link add name %s type veth peer name people netns %s", dev, l.namespace(nodeController)),
		"addr add " + l.people(1) + "/24 dev " + dev,
		"link set dev " + dev + " up",
	})
	if err != nil {
		return err
	}
	return batch(ctx, l.namespace(nodeController), []string{"addr add " + l.people(2) + "/24 dev people", "link set dev people up"})
}

// Cut takes a node off a network: its port on the switch goes down.
func (l *Lab) Cut(ctx context.Context, node string, n Network) error {
	if err := l.setPort(ctx, node, n, "down"); err != nil {
		return fmt.Errorf("cut %s off %s: %w", node, n, err)
	}
	return nil
}

// Mend plugs a node in again. A network that is whole is no error.
func (l *Lab) Mend(ctx context.Context, node string, n Network) error {
	if err := l.setPort(ctx, node, n, "up"); err != nil {
		return fmt.Errorf("plug %s into %s: %w", node, n, err)
	}
	return nil
}

func (l *Lab) setPort(ctx context.Context, node string, n Network, state string) error {
	if !slices.Contains(networksOf(node), n) {
		return fmt.Errorf("%s is not on this network", node)
	}
	return batch(ctx, l.namespace(nodeSwitch), []string{"link set dev " + port(node, n) + " " + state})
}

// IsCut reports whether a node is cut off a network.
func (l *Lab) IsCut(ctx context.Context, node string, n Network) (bool, error) {
	out, err := exec.CommandContext(ctx, "ip", "-n", l.namespace(nodeSwitch), "-br", "link", "show", "dev", port(node, n)).Output()
	if err != nil {
		return false, fmt.Errorf("port of %s: %w", node, err)
	}
	flags := strings.Fields(string(out))
	return len(flags) == 0 || !strings.Contains(flags[len(flags)-1], ",UP"), nil
}

// freePart finds a part of our networks that this machine and other labs do not
// use.
func freePart(pick func(n int) int) (int, error) {
	taken := map[int]bool{}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return 0, err
	}
	labs, err := List()
	if err != nil {
		return 0, err
	}
	for _, name := range labs {
		if l, err := Open(name); err == nil {
			taken[l.Part] = true
		}
	}
	for range 1000 {
		part := 1 + pick(254)
		free := !taken[part]
		for _, a := range addrs {
			ours := &net.IPNet{IP: net.IPv4(10, 79, byte(part), 0), Mask: net.CIDRMask(24, 32)}
			if n, ok := a.(*net.IPNet); ok && (ours.Contains(n.IP) || n.Contains(ours.IP)) {
				free = false
			}
		}
		if free {
			return part, nil
		}
	}
	return 0, errors.New("no free part of 10.77.0.0/16, 10.78.0.0/16 and 10.79.0.0/16 was found")
}

// dropNet removes the link to people and the namespaces, and with them all that is
// in them.
func (l *Lab) dropNet(ctx context.Context) error {
	var errs []error
	if _, err := net.InterfaceByName(prefix + l.Name); err == nil {
		errs = append(errs, run(ctx, "", "ip", "link", "delete", prefix+l.Name))
	}
	for _, n := range nodes() {
		if _, err := os.Stat(filepath.Join(netns, l.namespace(n))); err == nil {
			errs = append(errs, run(ctx, "", "ip", "netns", "delete", l.namespace(n)))
		}
	}
	return errors.Join(errs...)
}
