package capture

import (
	"encoding/base64"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relight/internal/core/fleet"
	"relight/internal/provider/guest"
	"relight/internal/spec"
)

func source() Source {
	s := Source{
		ID: "i-1", State: "running", Subnet: "subnet-a", Zone: "a", RootDevice: "/dev/xvda", AutoRecovery: "default", Tags: map[string]string{"Name": "Db 1"},
		Launch:     fleet.EC2Launch{Image: "ami-1", Type: "m7i.large", UserData: base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\ntrue\n"))},
		Disks:      []Disk{{Device: "/dev/xvda", Volume: "vol-r", Size: 8, Type: "gp3", IOPS: 3000, Throughput: 125, Ends: true}, {Device: "/dev/sdf", Volume: "vol-d", Type: "io2"}},
		Interfaces: []Interface{{Interface: fleet.Interface{ID: "eni-1", MAC: "0a:00:00:00:00:01", Addresses: []string{"10.0.1.9"}, Groups: []string{"sg-2", "sg-1"}}}},
		Addresses:  []Address{{IP: "198.51.100.1", Allocation: "e-1", Interface: "eni-1"}, {IP: "198.51.100.2", Allocation: "e-2", Interface: "eni-1"}},
		Records:    []Record{{Zone: "/hostedzone/Z1", Name: "db.example.com.", Type: "A", TTL: 60, Values: []string{"198.51.100.2"}}},
	}
	return s
}

func declared(t *testing.T, s Source, change ...string) spec.Doc {
	t.Helper()
	raw, err := Read(s, "").Document(1)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := spec.Parse(spec.File{Name: "x", Data: []byte(strings.NewReplacer(change...).Replace(string(raw)))})
	if err != nil {
		t.Fatal(err)
	}
	return docs[0]
}

// What no recovery of ours could bring back is refused, each with its reason.
func TestLacks(t *testing.T) {
	if f := Read(source(), ""); len(f.Lacks) > 0 || f.Name != "db-1" {
		t.Errorf("%q lacks %v", f.Name, f.Lacks)
	}
	for want, spoil := range map[string]func(*Source){
		"it is terminated":          func(s *Source) { s.State = "terminated" },
		"Auto Scaling group web":    func(s *Source) { s.ScalingGroup = "web" },
		"spot instance":             func(s *Source) { s.Lifecycle = "spot" },
		"instance store":            func(s *Source) { s.StoreRoot = true },
		"network card 1":            func(s *Source) { s.Interfaces[0].Card = 1 },
		"of kind efa":               func(s *Source) { s.Interfaces[0].Kind = "efa" },
		"could not be read: x":      func(s *Source) { s.Blind = []string{"x"} },
		"root disk /dev/xvda could": func(s *Source) { s.Disks = s.Disks[1:] },
	} {
		s := source()
		spoil(&s)
		if f := Read(s, ""); !slices.ContainsFunc(f.Lacks, func(l string) bool { return strings.Contains(l, want) }) {
			t.Errorf("nothing says %q: %v", want, f.Lacks)
		}
	}
}

// The ports of a place are kept where they are not the group's own.
func TestPlacesKeepTheirPorts(t *testing.T) {
	s := source()
	s.Places = []Place{{Group: "b", Port: 8443, Own: 443}, {Group: "a", Port: 443, Own: 443}, {Group: "b", Port: 8080, Own: 443}}
	got := Read(s, "").Identity.Groups
	want := []fleet.Group{{ID: "a"}, {ID: "b", Ports: []int{8080, 8443}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// The address that a name leads to comes first, for names lead to the first.
func TestNamesLeadToTheFirst(t *testing.T) {
	f := Read(source(), "")
	if f.Identity.Addresses[0].IP != "198.51.100.2" || len(f.Identity.Names) != 1 || f.Identity.Names[0].Zone != "Z1" {
		t.Errorf("%+v", f.Identity)
	}
}

// What a person decides is no drift; what the account has changed is.
func TestDrift(t *testing.T) {
	for name, x := range map[string]struct {
		write  []string
		change func(*Source)
		want   string
	}{
		"nothing": {},
		"another name of a volume, and its mount": {write: []string{`"name":"sdf"`, `"name":"data","mount":{"path":"/data"}`}},
		"no device written":                       {write: []string{`,"device":"/dev/sdf"`, ``}, change: func(s *Source) { s.Disks[1].Device = "/dev/sdg" }},
		"mode and types":                          {write: []string{`"mode":"observe"`, `"mode":"auto","priority":3`, `"autoRecovery"`, `"types":["m6i.large"],"autoRecovery"`}, change: func(s *Source) { s.Launch.Type = "m6i.large" }},
		"another type":                            {change: func(s *Source) { s.Launch.Type = "x2.big" }, want: "launch.type"},
		"a group":                                 {change: func(s *Source) { s.Interfaces[0].Groups = []string{"sg-3"} }, want: "interfaces[eni-1].groups"},
		"an interface by hand":                    {write: []string{`,"mac":"0a:00:00:00:00:01","addresses":["10.0.1.9"],"groups":["sg-1","sg-2"]`, ``}, change: func(s *Source) { s.Interfaces[0].Groups = []string{"sg-3"} }},
		"another volume":                          {change: func(s *Source) { s.Disks[1].Volume = "vol-x" }, want: "vol-x"},
		"metadata":                                {change: func(s *Source) { s.Launch.Metadata = &fleet.EC2Metadata{Tokens: fleet.TokensOptional} }, want: "metadata.tokens"},
		"our own recovery":                        {change: func(s *Source) { s.AutoRecovery = "disabled" }, want: "autoRecovery"},
		"a tag":                                   {change: func(s *Source) { s.Tags["team"] = "x" }, want: "tags.team"},
		"our tags":                                {change: func(s *Source) { s.Tags["relight:epoch"] = "7"; s.Tags["aws:x"] = "y" }},
		"the order of what is told":               {change: func(s *Source) { slices.Reverse(s.Addresses); slices.Reverse(s.Disks) }},
	} {
		s := source()
		doc := declared(t, s, x.write...)
		if x.change != nil {
			x.change(&s)
		}
		changes, err := Drift(doc, Read(s, doc.Name))
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case x.want == "" && len(changes) > 0:
			t.Errorf("%s: %v", name, changes)
		case x.want != "" && !slices.ContainsFunc(changes, func(c spec.Change) bool { return strings.Contains(c.String(), x.want) }):
			t.Errorf("%s: no %q in %v", name, x.want, changes)
		}
	}
}

// A server from a launch template gets a primary interface with each launch, unless its
// document names one: that it has another one than before is no drift.
func TestDrift_TheLaunchMakesItsInterface(t *testing.T) {
	s := source()
	found := Read(s, "db-1")
	for name, x := range map[string]struct {
		interfaces string
		drifts     bool
	}{"made by the launch": {"", false}, "declared": {`"interfaces":[{"id":"eni-9"}],`, true}} {
		docs, err := spec.Parse(spec.File{Name: "s.json", Data: []byte(`{"apiVersion":"relight/v1alpha1","kind":"Server","metadata":{"name":"db-1"},"spec":{"identity":{` + x.interfaces +
			`"volumes":[{"name":"data","id":"` + s.Disks[1].Volume + `"}]},"template":{"ec2":{"launchTemplate":"lt-1","version":1}}}}`)})
		if err != nil {
			t.Fatal(err)
		}
		changes, err := Drift(docs[0], found)
		if told := slices.ContainsFunc(changes, func(c spec.Change) bool { return strings.Contains(c.Path, "interfaces[eni-1]") }); err != nil || told != x.drifts {
			t.Errorf("%s: %v, %v", name, changes, err)
		}
	}
}

// The next capture takes over what differs, and leaves a person's words.
func TestRenew(t *testing.T) {
	s := source()
	doc := declared(t, s, `"name":"sdf"`, `"name":"data","fromSnapshot":{"maxLoss":"1h"},"mount":{"path":"/data","fsck":true}`, `"id":"eni-1"`, `"id":"eni-1","newAddress":true`,
		`"ec2":{`, `"ec2":{"elsewhere":{"zones":[{"zone":"b","subnet":"subnet-b"}]},`, `"mode":"observe"`, `"mode":"ask","priority":3`)
	s.Launch.Type, s.Tags["team"] = "x2.big", "billing"
	next, err := Renew(doc, Read(s, doc.Name))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"capture":2`, `"type":"x2.big"`, `"team":"billing"`, `"mode":"ask"`, `"priority":3`, `"name":"data"`, `"path":"/data"`, `"fsck":true`, `"newAddress":true`, `"zone":"b"`} {
		if !strings.Contains(string(next.Raw), want) {
			t.Errorf("no %s in %s", want, next.Raw)
		}
	}
	if changes, err := Drift(next, Read(s, doc.Name)); err != nil || len(changes) > 0 || Number(next) != 2 {
		t.Errorf("capture %d: %v, %v", Number(next), changes, err)
	}
}

// The agent's script is joined to a server's own user data at each launch: it is no part
// of them.
func TestUserDataWithoutTheAgents(t *testing.T) {
	s := source()
	doc := declared(t, s)
	ours, err := guest.Script(guest.Plan{Server: "db-1"})
	if err != nil {
		t.Fatal(err)
	}
	joined, err := guest.Combine([]byte("#!/bin/sh\ntrue\n"), ours)
	if err != nil {
		t.Fatal(err)
	}
	s.Launch.UserData = base64.StdEncoding.EncodeToString(joined)
	if changes, err := Drift(doc, Read(s, doc.Name)); err != nil || len(changes) > 0 {
		t.Errorf("%v, %v", changes, err)
	}
}
