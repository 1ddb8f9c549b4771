package dev

import (
	"testing"

	"relight/internal/core/fleet"
	"relight/internal/spec"
)

func TestDocumentIsValid(t *testing.T) {
	var servers []Server
	for i := range serverCount {
		servers = append(servers, Server{Name: serverName(i), Addr: "127.0.9." + string(rune('1'+i)) + ":8080", Volume: "/tmp/a \"b\"/" + serverName(i)})
	}
	text := document("/tmp/a \"b\"", "/opt/my programs/relight", servers)
	docs, err := spec.Parse(spec.File{Name: fleetFile, Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	set, err := spec.Resolve(docs, nil)
	if err != nil {
		t.Fatal(err)
	}
	perHost := map[string]int{}
	for _, s := range set.Servers {
		if s.Spec.Mode != fleet.Auto || s.Spec.Identity.Volumes[0].Reach != fleet.ReachMachine || s.Spec.IsolatedFor.Std() != IsolatedFor {
			t.Errorf("%s: %+v", s.Name, s.Spec)
		}
		if want := s.Name == Cautious; want != (s.Spec.OnIsolation == fleet.IsolationStop) {
			t.Errorf("%s: onIsolation is %s", s.Name, s.Spec.OnIsolation)
		}
		perHost[s.Spec.Placement.Sites[0]]++
	}
	for i := range hostCount {
		if perHost[hostName(i)] != 2 {
			t.Errorf("%d servers prefer %s", perHost[hostName(i)], hostName(i))
		}
	}
	if (hostCount-1)*hostUnits < serverCount {
		t.Error("the loss of a host leaves no room")
	}
}

func TestAddressesDoNotCollide(t *testing.T) {
	list, err := addresses(t.Context(), serverCount, 8080)
	if err != nil || len(list) != serverCount {
		t.Fatalf("%v, %v", list, err)
	}
	seen := map[string]bool{}
	for _, a := range list {
		if seen[a] {
			t.Fatalf("%s comes twice", a)
		}
		seen[a] = true
	}
}
