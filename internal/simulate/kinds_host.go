package simulate

import (
	"fmt"
	"strings"

	"relight/internal/world"
)

// hostsOf returns the hosts that a fault is about: one, the one that a server is on at
// that moment (of/SERVER), or all of a site.
func (e *engine) hostsOf(f Fault) ([]string, error) {
	if server, ok := strings.CutPrefix(f.Object, "of/"); ok && f.Class == "host" {
		return e.hostOf(server)
	}
	if f.Class == "host" {
		if e.world.Host(f.Object) == nil {
			return nil, fmt.Errorf("there is no host %q", f.Object)
		}
		return []string{f.Object}, nil
	}
	var out []string
	for _, h := range e.world.Hosts() {
		if e.world.Within(h, f.Object) {
			out = append(out, h)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there is no host in site %q", f.Object)
	}
	return out, nil
}

// hostOf returns the host of a server's newest instance; none if there is none.
func (e *engine) hostOf(server string) ([]string, error) {
	if _, ok := e.isolations[server]; !ok {
		return nil, fmt.Errorf("there is no server %q", server)
	}
	all := e.world.Of(server)
	if len(all) == 0 {
		return nil, nil
	}
	return []string{all[len(all)-1].Host}, nil
}

// onHosts makes a fault of something that is done to each host.
func onHosts(do, undo func(e *engine, host string, f Fault) error) func(*engine, Fault) (func(), error) {
	return func(e *engine, f Fault) (func(), error) {
		hosts, err := e.hostsOf(f)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			if err := do(e, h, f); err != nil {
				return nil, err
			}
		}
		if undo == nil {
			return nil, nil
		}
		return func() {
			for _, h := range hosts {
				if err := undo(e, h, f); err != nil {
					e.fail(err)
				}
			}
		}, nil
	}
}

func hostKinds() []kind {
	one := func(do func(*world.World, string) error) func(*engine, string, Fault) error {
		return func(e *engine, h string, _ Fault) error { return do(e.world, h) }
	}
	verbs := []kind{
		{verb: "dies", lasts: true, apply: onHosts(one((*world.World).KillHost), one((*world.World).StartHost))},
		{verb: "returns", apply: onHosts(one((*world.World).StartHost), nil)},
		{verb: "freezes", lasts: true, apply: onHosts(one((*world.World).FreezeHost), one((*world.World).ThawHost))},
		{verb: "agent-dies", lasts: true, apply: onHosts(one((*world.World).MuteHost), one((*world.World).UnmuteHost))},
		{verb: "cut", args: "LINK[,LINK...]", min: 1, max: 1, lasts: true, apply: onHosts(cut(true), cut(false))},
		{verb: "loses", args: "SHARE", min: 1, max: 1, lasts: true, apply: onHosts(loses, func(e *engine, h string, _ Fault) error {
			delete(e.mischief.loss, h)
			return nil
		})},
		{verb: "closes", lasts: true, apply: onHosts(
			func(e *engine, h string, _ Fault) error { return e.world.CloseHost(h, "closed by a person") },
			func(e *engine, h string, _ Fault) error { return e.world.CloseHost(h, "") },
		)},
	}
	var out []kind
	for _, class := range []string{"host", "site"} {
		for _, k := range verbs {
			k.class = class
			out = append(out, k)
		}
	}
	return out
}

// cut cuts links of a host, or mends them.
func cut(is bool) func(*engine, string, Fault) error {
	return func(e *engine, host string, f Fault) error {
		c := e.world.Host(host).Cut
		for _, link := range strings.Split(f.Args[0], ",") {
			switch link {
			case "control":
				c.Control = is
			case "in":
				c.In = is
			case "out":
				c.Out = is
			case "peers":
				c.Peers = is
			case "storage":
				c.Storage = is
			default:
				return fmt.Errorf("link %q: there are control, in, out, peers, storage", link)
			}
		}
		return e.world.CutHost(host, c)
	}
}

func loses(e *engine, host string, f Fault) error {
	share, err := parseShare(f.Args[0])
	if err != nil {
		return err
	}
	if e.mischief.loss == nil {
		e.mischief.loss = map[string]float64{}
	}
	e.mischief.loss[host] = share
	return nil
}
