package agent

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/agent/volume"
	"relight/internal/core/fleet"
	"relight/internal/provider/providertest"
)

// truth is what the operating system says of the instances, whatever the agents do.
type truth struct {
	t       *testing.T
	drivers map[string]*Processes
}

// running counts the instances that have a process, by epoch.
func (w truth) running(server string) map[fleet.Epoch]int {
	out := map[fleet.Epoch]int{}
	for _, p := range w.drivers {
		for _, in := range p.Driver.Instances() {
			if in.Server == server && in.PID != 0 && unix.Kill(in.PID, 0) == nil {
				out[in.Epoch]++
			}
		}
	}
	return out
}

// holders asks the volume itself.
func (w truth) holders(s fleet.Server, name string) []fleet.Epoch {
	w.t.Helper()
	for _, v := range s.Spec.Identity.Volumes {
		if v.Name != name {
			continue
		}
		st, err := volume.Inspect(v.Path)
		must(w.t, err)
		if st.Locked {
			return []fleet.Epoch{st.Epoch}
		}
	}
	return nil
}

func (w truth) kill(server string, epoch fleet.Epoch) {
	for _, p := range w.drivers {
		for _, in := range p.Driver.Instances() {
			if in.Server == server && in.Epoch == epoch && in.PID != 0 {
				_ = unix.Kill(in.PID, unix.SIGKILL)
			}
		}
	}
}

// The whole way: provider suite, hub, TLS, agents, keepers, real processes.
func TestProviderSuite(t *testing.T) {
	addresses := 0
	providertest.Run(t, func(t *testing.T) providertest.Harness {
		s := newSite(t)
		world := truth{t: t, drivers: map[string]*Processes{}}
		relays := map[string]*relay{}
		hosts := []string{"host-1", "host-2"}
		claims := t.TempDir()
		for _, name := range hosts {
			dir := t.TempDir()
			p := processes(t, dir, claims)
			world.drivers[name], relays[name] = p, newRelay(t, s.addr)
			s.agent(name, dir, func(o *Options) {
				o.Driver, o.Units, o.BeatAddr, o.Controller = p, 8, "", "https://"+relays[name].addr
			})
		}
		var servers []fleet.Server
		data := t.TempDir()
		return providertest.Harness{
			Provider: s.hub, Hosts: hosts, Now: time.Now,
			Server: func() fleet.Server {
				addresses++
				name := fmt.Sprintf("srv-%d", len(servers))
				srv := server(name, fleet.Volume{Name: "data", Path: filepath.Join(data, name), Reach: fleet.ReachMachine})
				must(t, unix.Mkdir(srv.Spec.Identity.Volumes[0].Path, 0o755))
				srv.Spec.Identity.Addresses = []fleet.Address{{IP: fmt.Sprintf("127.0.77.%d", 1+addresses%250)}}
				srv.Spec.Fence = fleet.FenceStorage
				servers = append(servers, srv)
				s.hub.SetServers(servers)
				eventually(t, "reach of "+name, func() error {
					for _, h := range hosts {
						sight := s.sweep().host(h)
						if sight == nil || !slices.Contains(sight.Reaches[name], "data") {
							return errNotYet
						}
					}
					return nil
				})
				return srv
			},
			Eventually: func(cond func() bool) bool {
				limit := time.After(15 * time.Second)
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for !cond() {
					select {
					case <-tick.C:
					case <-limit:
						return false
					}
				}
				return true
			},
			Running: world.running, Holders: world.holders, Kill: world.kill,
			Cut:  func(host string) { relays[host].setWhole(false) },
			Mend: func(host string) { relays[host].setWhole(true) },
		}
	})
}
