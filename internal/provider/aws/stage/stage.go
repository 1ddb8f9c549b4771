// Package stage sets up an account on the fake endpoint that people can play with: a
// region of three zones with room, a launch template, a target group, a hosted zone and
// some servers with their identities, and hands that break it.
package stage

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/world"
)

// Account and Region are those of the stage.
const (
	Account = "123456789012"
	Region  = "eu-west-1"
)

// Stage is an account with its world.
type Stage struct {
	World    *world.World
	Endpoint *fakeaws.Endpoint
	// Template is the launch template's id, Group the target group's ARN, Zone the
	// hosted zone.
	Template, Group, Zone string
	servers               int
	types                 []string
}

// clock is the wall clock, times a factor.
type clock struct {
	start  time.Time
	factor float64
}

// Now implements world.Clock.
func (c clock) Now() time.Time {
	return c.start.Add(time.Duration(float64(time.Since(c.start)) * c.factor))
}

// New makes a stage. On it time passes factor times as fast as on the wall; the
// delays are EC2's own, and so are the quotas.
func New(factor float64, seed uint64) *Stage {
	s := func(lo, hi int) world.Span {
		return world.Span{Min: time.Duration(lo) * time.Second, Max: time.Duration(hi) * time.Second}
	}
	w := world.New(world.Config{
		Clock: clock{time.Now(), factor}, Rand: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // a stage needs no secrets
		Delays: world.Delays{Start: s(5, 15), App: s(5, 10), Stop: s(10, 30), Hard: s(2, 5), Terminate: s(10, 30), Attach: s(1, 3), Detach: s(1, 3), DNS: s(5, 30), Snapshot: s(30, 60), Copy: s(5, 10)},
		Checks: world.Checks{Every: time.Minute, Delay: 10 * time.Second},
		Lag:    time.Second, WriteEvery: time.Second, WriteLatency: 20 * time.Millisecond,
	})
	st := &Stage{World: w, Zone: "Z0RELIGHT", types: []string{"m7i.large", "m6i.large"}}
	st.Endpoint = fakeaws.New(fakeaws.Options{World: w, Account: Account, Region: Region})
	w.AddSite(world.Site{Name: Region, Kind: fleet.SiteRegion})
	for n, z := range []string{"a", "b", "c"} {
		zone := Region + z
		w.AddSite(world.Site{Name: zone, Kind: fleet.SiteZone, Parent: Region})
		for h := range 40 { // one machine on each, so that one piece of hardware is one server's
			w.AddHost(world.Host{Name: fmt.Sprintf("%s-hw-%02d", zone, h), Parent: zone, Units: 1})
		}
		st.Endpoint.AddSubnet(fakeaws.Subnet{ID: "subnet-" + z, VPC: "vpc-1", Zone: zone, CIDR: fmt.Sprintf("10.0.%d.0/24", n+1)})
	}
	st.Endpoint.AddImage(fakeaws.Image{ID: "ami-0relight", RootDevice: "/dev/xvda", RootGiB: 8})
	for _, t := range st.types {
		st.Endpoint.AddType(fakeaws.InstanceType{Name: t, CPUs: 2, MiB: 8192, AutoRecovery: true})
	}
	st.Template = st.Endpoint.AddTemplate("licence-server", fakeaws.Template{Image: "ami-0relight", Type: "m7i.large", Subnet: "subnet-a", Profile: "arn:aws:iam::" + Account + ":instance-profile/licence"})
	st.Group = st.Endpoint.AddGroup(world.Group{Name: "licence", Every: 5 * time.Second, Rise: 2, Fall: 2}, 27000)
	st.Endpoint.AddZone(st.Zone, "example.com.")
	st.Endpoint.SetQuota("L-1216C47A", 512) // vCPUs
	w.SetQuotas(world.EC2Quotas()...)
	return st
}

// NewFleet makes an account in which servers run already, each with a volume, for
// sweeps of many. Nothing on it takes time but the status checks.
func NewFleet(servers int, seed uint64) (*Stage, error) {
	w := world.New(world.Config{
		Clock: clock{time.Now(), 1}, Rand: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // a stage needs no secrets
		Checks: world.Checks{Every: time.Minute, Delay: 10 * time.Second},
	})
	st := &Stage{World: w, Zone: "Z0RELIGHT", types: []string{"m7i.large"}, Endpoint: fakeaws.New(fakeaws.Options{World: w, Account: Account, Region: Region})}
	w.AddSite(world.Site{Name: Region, Kind: fleet.SiteRegion})
	zones := []string{"a", "b", "c"}
	for n, z := range zones {
		w.AddSite(world.Site{Name: Region + z, Kind: fleet.SiteZone, Parent: Region})
		for h := range servers/300 + 1 {
			w.AddHost(world.Host{Name: fmt.Sprintf("%s-hw-%04d", Region+z, h), Parent: Region + z, Units: 100})
		}
		st.Endpoint.AddSubnet(fakeaws.Subnet{ID: "subnet-" + z, VPC: "vpc-1", Zone: Region + z, CIDR: fmt.Sprintf("10.%d.0.0/16", n+1)})
	}
	st.Endpoint.AddImage(fakeaws.Image{ID: "ami-0relight", RootDevice: "/dev/xvda", RootGiB: 8})
	st.Endpoint.AddType(fakeaws.InstanceType{Name: "m7i.large", CPUs: 2, MiB: 8192, AutoRecovery: true})
	for n := range servers {
		err := st.Endpoint.AddRunning(fakeaws.Running{Server: ServerName(n), Subnet: "subnet-" + zones[n%3], Image: "ami-0relight", Type: "m7i.large", Volume: VolumeID(n)})
		if err != nil {
			return nil, fmt.Errorf("server %d: %w", n, err)
		}
	}
	w.SetQuotas(world.EC2Quotas()...)
	return st, nil
}

// ServerName and VolumeID name the n-th server of a fleet and its volume.
func ServerName(n int) string { return fmt.Sprintf("fleet-%06d", n) }

// VolumeID is documented at ServerName.
func VolumeID(n int) string { return fmt.Sprintf("vol-fleet-%06d", n) }

// AddServer makes the resources of one more server in a zone (a, b or c) and returns
// its name and its spec, as a person would write it.
func (s *Stage) AddServer(zone string) (name, spec string) {
	s.servers++
	n := s.servers
	name = fmt.Sprintf("lic-%02d", n)
	vol, eni, eip, ip := fmt.Sprintf("vol-data-%02d", n), fmt.Sprintf("eni-%02d", n), fmt.Sprintf("eipalloc-%02d", n), fmt.Sprintf("198.51.100.%d", n)
	s.Endpoint.AddVolume(fakeaws.VolumeSpec{ID: vol, Server: name, Zone: Region + zone, GiB: 20})
	s.Endpoint.AddInterface(eni, name, "subnet-"+zone, fmt.Sprintf("0a:fe:00:00:00:%02x", n), fmt.Sprintf("10.0.%d.%d", zone[0]-'a'+1, 200+n))
	s.Endpoint.AddAddress(eip, ip, name)
	return name, strings.TrimSpace(fmt.Sprintf(`
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: %s}
spec:
  identity:
    volumes: [{name: data, id: %s}]
    interfaces: [{id: %s, index: 1}]
    addresses: [{ip: %s, allocation: %s}]
    groups: [{id: "%s"}]
    names: [{name: %s.example.com, zone: %s, ttl: 30s}]
  template:
    ec2: {launchTemplate: %s, version: 1, subnet: subnet-%s, types: [m6i.large]}
`, name, vol, eni, ip, eip, s.Group, name, s.Zone, s.Template, zone)) + "\n"
}

// Do changes the world under its lock, after all that is due.
func (s *Stage) Do(change func(w *world.World)) {
	s.World.Lock()
	defer s.World.Unlock()
	s.World.RunUntil(s.World.Now())
	change(s.World)
}
