package stage

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"relight/internal/world"
)

// faultKind is one sort of fault; the table faultKinds is the language.
type faultKind struct {
	class, verb, args string
	// lasts is true if it can end by itself.
	lasts bool
	// aim finds what a fault is about. Only hit changes anything, and returns what ends it.
	aim func(s *Stage, w *world.World, f Fault) (hit func() (end func()), err error)
}

func (k faultKind) usage() string {
	text := "[at TIME] "
	if k.lasts {
		text += "[for TIME] "
	}
	return strings.TrimSpace(text + k.class + " NAME " + k.verb + " " + k.args)
}

// ofServer is before the name of a server whose host is meant.
const ofServer = "of/"

func faultKinds() []faultKind {
	var out []faultKind
	for _, class := range []string{"host", "site"} {
		out = append(out,
			faultKind{class, "dies", "", true, onHosts((*world.World).KillHost, (*world.World).StartHost)},
			faultKind{class, "returns", "", false, onHosts((*world.World).StartHost, nil)},
			faultKind{class, "cut", "control|storage", true, cut})
	}
	return append(out,
		faultKind{"site", "api-fails", "", true, apiFails},
		faultKind{"site", "sold-out", "TYPE", true, soldOut},
		faultKind{"server", "app-mute", "", false, onServer(func(w *world.World, i *world.Instance) { w.SetApp(i, world.AppMute) })},
		faultKind{"server", "app-fails", "", false, onServer(func(w *world.World, i *world.Instance) { w.SetApp(i, world.AppFails) })},
		faultKind{"server", "app-dies", "", false, onServer(func(w *world.World, i *world.Instance) { w.SetApp(i, world.AppDead) })},
		faultKind{"server", "app-returns", "", false, onServer(func(w *world.World, i *world.Instance) { w.SetApp(i, world.AppOK) })},
		faultKind{"server", "crashes", "", false, onServer((*world.World).Crash)},
		faultKind{"server", "killed", "", false, onServer(func(w *world.World, i *world.Instance) { _ = w.Kill(i) })}, // it executes, which Kill never refuses
		faultKind{"server", "ignores-shutdown", "", false, onServer((*world.World).HangGuest)},
		faultKind{"volume", "stuck", "", false, stuck},
		faultKind{"api", "throttle", "", true, throttle},
		faultKind{"api", "refused", "", true, refused},
	)
}

// newest is the newest instance of a server, or one by its id, that executes.
func newest(w *world.World, name string) (*world.Instance, error) {
	all := w.Of(name)
	if i := w.Instance(name); i != nil {
		all = []*world.Instance{i}
	}
	for _, i := range slices.Backward(all) {
		if i.Executes {
			return i, nil
		}
	}
	return nil, fmt.Errorf("no instance of server %q runs now, and none has that id", name)
}

func onServer(do func(*world.World, *world.Instance)) func(*Stage, *world.World, Fault) (func() func(), error) {
	return func(_ *Stage, w *world.World, f Fault) (func() func(), error) {
		i, err := newest(w, f.Object)
		return func() func() { do(w, i); return nil }, err
	}
}

// hostsOf are the hosts that a fault is about: one, the one below a server's instance, or
// all of a site.
func hostsOf(w *world.World, f Fault) ([]string, error) {
	name, ofOne := strings.CutPrefix(f.Object, ofServer)
	switch {
	case f.Class == "host" && ofOne:
		i, err := newest(w, name)
		if err != nil {
			return nil, err
		}
		return []string{i.Host}, nil
	case f.Class == "host" && w.Host(f.Object) == nil:
		return nil, fmt.Errorf("there is no host %q: they are called %s … and %sSERVER", f.Object, w.Hosts()[0], ofServer)
	case f.Class == "host":
		return []string{f.Object}, nil
	}
	hosts := w.HostsOf(f.Object)
	if f.Object == "" || len(hosts) == 0 {
		return nil, fmt.Errorf("there is no site %q: there are %s and its zones, such as %sa", f.Object, Region, Region)
	}
	return hosts, nil
}

func onHosts(do, undo func(*world.World, string) error) func(*Stage, *world.World, Fault) (func() func(), error) {
	return func(_ *Stage, w *world.World, f Fault) (func() func(), error) {
		hosts, err := hostsOf(w, f)
		each := func(do func(*world.World, string) error) {
			for _, h := range hosts {
				_ = do(w, h) // the host is there, which is all that can be wrong
			}
		}
		return func() func() {
			each(do)
			if undo == nil {
				return nil
			}
			return func() { each(undo) }
		}, err
	}
}

// cut takes hosts' way to what controls them, or to their volumes.
func cut(s *Stage, w *world.World, f Fault) (func() func(), error) {
	set := func(is bool) func(*world.World, string) error {
		return func(w *world.World, host string) error {
			c := w.Host(host).Cut
			if f.Args[0] == "storage" {
				c.Storage = is
			} else {
				c.Control = is
			}
			return w.CutHost(host, c)
		}
	}
	if link := f.Args[0]; link != "control" && link != "storage" {
		return nil, fmt.Errorf("link %q: there are control and storage", link)
	}
	return onHosts(set(true), set(false))(s, w, f)
}

func apiFails(_ *Stage, w *world.World, f Fault) (func() func(), error) {
	_, err := hostsOf(w, f)
	return func() func() {
		w.BreakAPI(f.Object)
		return func() { w.MendAPI(f.Object) }
	}, err
}

// soldOut leaves a site without room for a machine type. When it ends, hosts alone bound
// what fits again.
func soldOut(s *Stage, w *world.World, f Fault) (func() func(), error) {
	kind := f.Args[0]
	if !slices.Contains(s.types, kind) {
		return nil, fmt.Errorf("there is no machine type %q here: there are %s", kind, strings.Join(s.types, ", "))
	}
	_, err := hostsOf(w, f)
	return func() func() {
		w.SetCapacity(f.Object, kind, 0, false)
		return func() { w.SetCapacity(f.Object, kind, math.MaxInt32, false) }
	}, err
}

func stuck(_ *Stage, w *world.World, f Fault) (func() func(), error) {
	if w.Volume(f.Object) == nil {
		return nil, fmt.Errorf("there is no volume %q; next: aws ec2 describe-volumes --query 'Volumes[].VolumeId'", f.Object)
	}
	return func() func() { w.StickVolume(f.Object); return nil }, nil
}

// everyAPI is the name of all calls that have a quota.
const everyAPI = "any"

// throttle leaves an API next to no tokens.
func throttle(_ *Stage, w *world.World, f Fault) (func() func(), error) {
	var quotas []world.Quota
	for _, q := range world.EC2Quotas() {
		if !q.Resource && (f.Object == everyAPI || q.API == f.Object) {
			quotas = append(quotas, q)
		}
	}
	if quotas == nil {
		return nil, fmt.Errorf("there is no quota of calls of %q: name one such as RunInstances, or any", f.Object)
	}
	return func() func() {
		for _, q := range quotas {
			w.SetQuota(q.API, q.PerSecond/20, 1)
		}
		return func() { w.SetQuotas(quotas...) }
	}, nil
}

// refused has the calls of an action refused for want of a right.
func refused(s *Stage, _ *world.World, f Fault) (func() func(), error) {
	service, action, _ := strings.Cut(f.Object, ":")
	if services := s.Endpoint.Services(); action == "" || !slices.Contains(services, service) {
		return nil, fmt.Errorf("%q is no right such as ec2:RunInstances: it begins with one of %s", f.Object, strings.Join(services, ", "))
	}
	return func() func() {
		s.Endpoint.Refuse(f.Object, true)
		return func() { s.Endpoint.Refuse(f.Object, false) }
	}, nil
}
