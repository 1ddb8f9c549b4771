package decide_test

import (
	"strings"
	"testing"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// A host where a standby guest waits comes first; its room is kept for its server
// and refused to others.
func TestWarmHostComesFirst(t *testing.T) {
	choose := func(change func(hosts []fleet.Host)) (string, string) {
		t.Helper()
		s := newStory(func(cell) {})
		for _, line := range []string{"host host-1", "host host-2", "host host-3", "status epoch=0", `finding down 1h "it was never started"`} {
			if err := s.do(line); err != nil {
				t.Fatal(err)
			}
		}
		for i := range s.v.Hosts {
			s.v.Hosts[i].Units = 4
		}
		change(s.v.Hosts)
		host, refused := "", ""
		for _, c := range decide.Next(s.v, noon).Candidates {
			if c.Chosen {
				host = c.Host
			}
			if c.Refused != "" {
				refused += c.Host + ": " + c.Refused + "\n"
			}
		}
		return host, refused
	}
	server := newStory(func(cell) {}).v.Server.Name
	if host, _ := choose(func([]fleet.Host) {}); host != "host-1" {
		t.Fatalf("without a standby: %s", host)
	}
	host, _ := choose(func(h []fleet.Host) {
		h[2].UsedUnits = 3
		h[2].Warm = []fleet.Warm{{Server: server, Units: 1, Ready: true}}
	})
	if host != "host-3" {
		t.Errorf("a standby waits on host-3, and %s is chosen", host)
	}
	host, _ = choose(func(h []fleet.Host) { h[2].Warm = []fleet.Warm{{Server: server, Units: 1}} })
	if host != "host-1" {
		t.Errorf("a standby that is not ready draws it to %s", host)
	}
	host, refused := choose(func(h []fleet.Host) { h[0].Warm = []fleet.Warm{{Server: "other", Units: 4, Ready: true}} })
	if host == "host-1" || !strings.Contains(refused, "host-1: 4 of 4 units are used") {
		t.Errorf("the room of another server's standby is given away to %s:\n%s", host, refused)
	}
}
