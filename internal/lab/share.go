package lab

import (
	"context"
	"strconv"
)

// beats is the directory of the storage heartbeats: a share that the array serves,
// as each host has it mounted.
func (l *Lab) beats() string { return l.path("beats") }

// reachesShare reports whether a host reaches the SAN, which serves the share.
func (l *Lab) reachesShare(ctx context.Context, host string) (bool, error) {
	for _, node := range []string{host, nodeSAN} {
		if cut, err := l.IsCut(ctx, node, Storage); err != nil || cut {
			return false, err
		}
	}
	found, err := processes(l.namespace(nodeSAN))
	for _, p := range found {
		if isTarget(p) {
			return true, err
		}
	}
	return false, err
}

// hide covers the directory $0 in the mount namespace of a host that does not reach the
// SAN: what is on the share cannot be read or written there. Show uncovers it.
const (
	hide = `mount -t tmpfs -o ro,size=4k none "$0"`
	show = `while mountpoint -q "$0"; do umount "$0"; done`
)

// share has the hosts, or those that are named, see the share if they reach the SAN, and
// not see it if they do not.
func (l *Lab) share(ctx context.Context, hosts ...string) error {
	if len(hosts) == 0 {
		hosts = Hosts()
	}
	for _, host := range hosts {
		p, err := l.lives(host, isAgent)
		if err != nil {
			continue // no agent, no heartbeat; a later one is started as the network is then
		}
		reached, err := l.reachesShare(ctx, host)
		if err != nil {
			return err
		}
		script := show
		if !reached {
			script = `mountpoint -q "$0" || ` + hide
		}
		if err := run(ctx, "", "nsenter", "-t", strconv.Itoa(p.PID), "-m", "sh", "-c", script, l.beats()); err != nil && p.Lives() {
			return err
		}
	}
	return nil
}
