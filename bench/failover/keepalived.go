package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"relight/internal/lab"
)

// The hosts' priorities: the one with the higher has the address.
const vrrpFirst, vrrpSecond = 150, 100

// vrrp is a set of keepalived's timers.
type vrrp struct {
	name, global string
	// advert is the time between two heartbeats; VRRP 3 takes hundredths of a second.
	advert time.Duration
}

// lost is after how long a silence the second host takes the address: RFC 5798, 6.1.
func (v vrrp) lost() time.Duration {
	return 3*v.advert + v.advert*(256-vrrpSecond)/256
}

// seconds is the advert as keepalived reads it.
func (v vrrp) seconds() string { return strconv.FormatFloat(v.advert.Seconds(), 'f', -1, 64) }

// vrrps are the timers that are compared: the default; those with which a host counts as
// lost after as long a silence as in Relight's labs; and as short as people have them.
func vrrps() []vrrp {
	const version3 = "vrrp_version 3"
	out := []vrrp{{"keepalived, advert 1 s", "", time.Second}}
	for _, limit := range limits {
		out = append(out, vrrp{"keepalived, limit " + limit.String(), version3, (limit * 256 / (4*256 - vrrpSecond)).Round(10 * time.Millisecond)})
	}
	return append(out, vrrp{"keepalived, advert 0.1 s", version3, 100 * time.Millisecond})
}

// keepalived measures one set of timers, on a lab of its own.
func keepalived(v vrrp) func(context.Context, string, int, *table) error {
	return func(ctx context.Context, exe string, runs int, t *table) error {
		return moveByVRRP(ctx, exe, runs, t, v)
	}
}

// moveByVRRP moves an address between two hosts by VRRP. It fences nothing.
func moveByVRRP(ctx context.Context, exe string, runs int, t *table, v vrrp) (err error) {
	l, err := lab.Up(ctx, lab.Options{Name: "bench", Exe: exe, Owned: true, Bare: true})
	if err != nil {
		return err
	}
	defer func() { _ = l.Down(context.WithoutCancel(ctx)) }()
	hosts := lab.Hosts()[:2]
	address := strings.TrimSuffix(l.Address("ha"), ".11") + ".200"
	client, err := l.Call(ctx, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	t.limit(v.name, v.lost())
	for range runs {
		for _, h := range hosts {
			if err := startVRRP(ctx, l, h, address, v); err != nil {
				return err
			}
		}
		// The one with the higher priority takes it in the end, maybe from the other.
		first := hosts[0]
		err := poll(ctx, time.Minute, func() (bool, error) {
			have := holders(ctx, l, hosts, address)
			return len(have) == 1 && have[0] == first, fmt.Errorf("%s is on %v", address, have)
		})
		if err != nil {
			return err
		}
		old, err := served(ctx, client)
		if err != nil {
			return err
		}
		at := time.Now()
		if err := errors.Join(l.PowerOff(ctx, first), flush(ctx, l, first, address)); err != nil {
			return err
		}
		err = poll(ctx, time.Minute, func() (bool, error) {
			for _, h := range holders(ctx, l, hosts, address) {
				if h != first {
					return true, nil
				}
			}
			return false, errors.New("nobody took the address")
		})
		if err != nil {
			return err
		}
		t.add(v.name, addressMoved, time.Since(at))
		away, err := unserved(ctx, client, old)
		if err != nil {
			return err
		}
		t.add(v.name, "address: client", away)
		for _, h := range hosts {
			if err := errors.Join(l.PowerOff(ctx, h), flush(ctx, l, h, address)); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush takes an address off a host, as the loss of its power would.
func flush(ctx context.Context, l *lab.Lab, host, address string) error {
	return exec.CommandContext(ctx, "ip", "-n", l.Namespace(host), "addr", "flush", "to", address, "dev", lab.Bridge).Run()
}

// vrrpConf is keepalived's configuration on a host.
func vrrpConf(host, address string, v vrrp) string {
	priority := vrrpSecond
	if host == lab.Hosts()[0] {
		priority = vrrpFirst
	}
	return fmt.Sprintf("global_defs {\n router_id %s\n %s\n}\nvrrp_instance v {\n state BACKUP\n interface %s\n virtual_router_id 51\n priority %d\n advert_int %s\n virtual_ipaddress { %s/24 }\n}\n",
		host, v.global, lab.Bridge, priority, v.seconds(), address)
}

func startVRRP(ctx context.Context, l *lab.Lab, host, address string, v vrrp) error {
	if err := l.Boot(ctx, host); err != nil {
		return err
	}
	path := filepath.Join(l.Dir(), host+"-keepalived.conf")
	if err := os.WriteFile(path, []byte(vrrpConf(host, address, v)), 0o600); err != nil {
		return err
	}
	pid := filepath.Join(l.Dir(), host)
	for _, left := range []string{".pid", ".vrrp", ".check"} {
		_ = os.Remove(pid + left) // of one that was killed
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// What serves at the address runs on both hosts all the time, as it does beside VRRP.
	if _, err := l.Start(host, self, "-answer", address); err != nil {
		return err
	}
	_, err = l.Start(host, "keepalived", "-n", "-l", "-f", path, "-p", pid+".pid", "-r", pid+".vrrp", "-c", pid+".check")
	return err
}

// holders lists which hosts have the address.
func holders(ctx context.Context, l *lab.Lab, hosts []string, address string) []string {
	var out []string
	for _, h := range hosts {
		text, err := exec.CommandContext(ctx, "ip", "-n", l.Namespace(h), "-o", "addr", "show", "dev", lab.Bridge, "to", address).Output()
		if err == nil && strings.Contains(string(text), address+"/") {
			out = append(out, h)
		}
	}
	return out
}
