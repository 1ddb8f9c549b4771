package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"relight/internal/lab"
)

// keepalived moves an address between two hosts by VRRP. It fences nothing.
func keepalived(ctx context.Context, exe string, runs int, t *table) (err error) {
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
	for _, c := range []struct{ name, global, advert string }{
		{"keepalived, advert 1 s", "", "1"},
		{"keepalived, advert 0.1 s", "vrrp_version 3", "0.1"},
	} {
		for range runs {
			for _, h := range hosts {
				if err := startVRRP(ctx, l, h, address, c.global, c.advert); err != nil {
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
			t.add(c.name, "address moved", time.Since(at))
			away, err := unserved(ctx, client, old)
			if err != nil {
				return err
			}
			t.add(c.name, "address: client", away)
			for _, h := range hosts {
				if err := errors.Join(l.PowerOff(ctx, h), flush(ctx, l, h, address)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// flush takes an address off a host, as the loss of its power would.
func flush(ctx context.Context, l *lab.Lab, host, address string) error {
	return exec.CommandContext(ctx, "ip", "-n", l.Namespace(host), "addr", "flush", "to", address, "dev", lab.Bridge).Run()
}

func startVRRP(ctx context.Context, l *lab.Lab, host, address, global, advert string) error {
	if err := l.Boot(ctx, host); err != nil {
		return err
	}
	priority := 100
	if host == "ha" {
		priority = 150
	}
	path := filepath.Join(l.Dir(), host+"-keepalived.conf")
	text := fmt.Sprintf("global_defs {\n router_id %s\n %s\n}\nvrrp_instance v {\n state BACKUP\n interface %s\n virtual_router_id 51\n priority %d\n advert_int %s\n virtual_ipaddress { %s/24 }\n}\n",
		host, global, lab.Bridge, priority, advert, address)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
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
