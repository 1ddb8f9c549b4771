package onprem

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider/onprem/link"
)

// seersOf lists who pings the host and who probes server a, by the hosts' watches.
func (h *Hub) seersOf(host string) (pings, probes []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range sortedNames(h.hosts) {
		w := h.watchOf(h.hosts[name])
		if slices.ContainsFunc(w.Peers, func(p link.Peer) bool { return p.Host == host && p.Ping }) {
			pings = append(pings, name)
		}
		if slices.ContainsFunc(w.Servers, func(s link.WatchedServer) bool { return s.Server == "a" && s.Probe != nil }) {
			probes = append(probes, name)
		}
	}
	return pings, probes
}

// Two seers that die leave others to look; they come back only after a while, one
// that comes and goes moves nothing, and our own deafness moves nothing either.
func TestSeersAreHostsInContact(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var hosts []enrol.Host
		for i := range 8 {
			hosts = append(hosts, record(fmt.Sprintf("host-%d", i), beat.AgentID(i+1)))
		}
		h := open(t, dir, hosts...)
		server := fleet.Server{Name: "a"}
		server.Spec.Health.Check.TCP = "192.0.2.1:80"
		h.SetServers([]fleet.Server{server})
		seq := uint64(0)
		pass := func(d time.Duration, silent ...string) {
			t.Helper()
			for range int(d / time.Second) {
				seq++
				for _, x := range hosts {
					if !slices.Contains(silent, x.Name) {
						h.take(x.Name, &link.Report{Run: "r", Seq: seq}, "")
					}
				}
				<-time.After(time.Second)
				h.sight(t)
			}
		}
		pass(2 * time.Second)
		pings, probes := h.seersOf("host-7")
		if len(pings) != pingers || len(probes) != witnesses {
			t.Fatalf("host-7 is pinged by %v and a probed by %v", pings, probes)
		}
		plan := h.plan
		dead := append(slices.Clone(pings), probes...)
		pass(5*time.Second, dead...)
		after, probesAfter := h.seersOf("host-7")
		if len(after) != pingers || len(probesAfter) != witnesses {
			t.Errorf("with %v dead, host-7 is pinged by %v and a probed by %v", dead, after, probesAfter)
		}
		for _, name := range dead {
			if slices.Contains(after, name) || slices.Contains(probesAfter, name) {
				t.Errorf("%s is dead and was chosen: %v %v", name, after, probesAfter)
			}
		}
		if h.plan != plan+1 {
			t.Errorf("the plan changed %d times, want once", h.plan-plan)
		}
		plan = h.plan
		pass(10 * time.Second)       // they are back,
		pass(5*time.Second, dead...) // gone again,
		pass(15 * time.Second)       // and back
		all := sortedNames(h.hosts)  //
		pass(5*time.Second, all...)  // we hear nobody
		if h.plan != plan {
			t.Errorf("hosts that come and go changed the plan %d times", h.plan-plan)
		}
		pass(35 * time.Second)
		back, probesBack := h.seersOf("host-7")
		if !slices.Equal(back, pings) || !slices.Equal(probesBack, probes) {
			t.Errorf("long after they came back: %v %v, want %v %v", back, probesBack, pings, probes)
		}
	})
}

// Where too few hosts are in contact the silent ones stand in: a choice of them
// costs nothing.
func TestSilentHostsStandIn(t *testing.T) {
	h := &Hub{absent: map[string]time.Time{"h2": {}, "h3": {}}}
	if got := h.seers("a", []string{"h1", "h2", "h3"}, 2); len(got) != 2 || got[0] != "h1" {
		t.Errorf("%v, want h1 and one of the others", got)
	}
}

// A change of the plan that changes nothing for a host is not sent to it again.
func TestAWatchThatStaysKeepsItsNumber(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, record("host-1", 1), record("host-2", 2))
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.watchOf(h.hosts["host-1"]).Version
	h.planChanged()
	if got := h.watchOf(h.hosts["host-1"]).Version; got != before {
		t.Errorf("version %d became %d, though nothing changed", before, got)
	}
	h.hosts["host-2"].peerAddr = "192.0.2.2:7"
	h.planChanged()
	if got := h.watchOf(h.hosts["host-1"]).Version; got == before {
		t.Error("its peer has another address, and the watch kept its number")
	}
}
