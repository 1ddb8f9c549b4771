package onprem

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider/onprem/link"
)

// A server with boot warm has standbys on two hosts that may run it; another has none.
func TestWhereStandbysWait(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var hosts []enrol.Host
		for i := range 6 {
			hosts = append(hosts, record(fmt.Sprintf("host-%d", i), beat.AgentID(i+1)))
		}
		h := open(t, dir, hosts...)
		server := func(name string, boot fleet.Boot) fleet.Server {
			s := fleet.Server{Name: name}
			s.Spec.Template.VM = &fleet.VMTemplate{Boot: boot}
			s.Spec.Placement = fleet.Placement{Sites: []string{"host-0", "host-1", "host-2"}, Units: 3}
			return s
		}
		h.SetServers([]fleet.Server{server("cold", fleet.BootKernel), server("warm", fleet.BootWarm)})
		h.mu.Lock()
		var on []string
		for _, name := range sortedNames(h.hosts) {
			for _, s := range h.watchOf(h.hosts[name]).Servers {
				if s.Warm != nil {
					on = append(on, s.Server+" "+name)
					if s.Units != 3 || s.Warm.Boot != fleet.BootWarm {
						t.Errorf("%+v", s)
					}
				}
			}
		}
		h.mu.Unlock()
		if len(on) != standbys || slices.ContainsFunc(on, func(s string) bool { return s < "warm host-0" || s > "warm host-2" }) {
			t.Errorf("standbys wait on %v", on)
		}
		h.take("host-0", &link.Report{
			Run: "r", Seq: 1, Units: 4, Warm: []fleet.Warm{{Server: "warm", Units: 3, Ready: true}}, Hypervisor: &fleet.Hypervisor{Emulated: true},
		}, "")
		_, seen := h.sight(t)
		for name, host := range seen {
			if w := host.WarmFor("warm"); (w != nil && w.Ready) != (name == "host-0") {
				t.Errorf("%s: %+v", name, w)
			}
		}
	})
}
