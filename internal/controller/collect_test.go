package controller

import (
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// While one server is looked at before its step, the others must keep their places.
func TestLookAtOneServerKeepsTheReachOfOthers(t *testing.T) {
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	c := NewCollector(now, time.Second)
	sweep := func(reaches map[string][]string, servers ...string) {
		s := provider.Sweep{At: now, Hosts: []provider.HostSight{{Host: fleet.Host{Name: "host-1"}, Reaches: reaches}}}
		for _, name := range servers {
			s.Servers = append(s.Servers, provider.ServerSight{Observed: fleet.Observed{Server: name, At: now}})
		}
		c.Take(s)
	}
	reached := func(server string) int { return len(c.Hosts(server, now)[0].Reaches) }
	sweep(map[string][]string{"db": {"data"}, "web": {"data"}}, "db", "web")
	sweep(map[string][]string{"db": {"data"}}, "db")
	if reached("db") != 1 || reached("web") != 1 {
		t.Errorf("after a look at db the host reaches %d volumes of db and %d of web, want 1 and 1", reached("db"), reached("web"))
	}
	sweep(map[string][]string{}, "db")
	if reached("db") != 0 || reached("web") != 1 {
		t.Errorf("after db's volume went the host reaches %d volumes of db and %d of web, want 0 and 1", reached("db"), reached("web"))
	}
	c.Forget("web")
	if reached("web") != 0 {
		t.Error("the volumes of a forgotten server are still reached")
	}
}
