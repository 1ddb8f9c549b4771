package dev

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// The timings of the fleet's policy. They are as short as one busy machine allows;
// the defaults of a real fleet are ten times longer.
const (
	CheckInterval = 100 * time.Millisecond
	CheckTimeout  = 300 * time.Millisecond
	SuspectAfter  = time.Second
	DownAfter     = 600 * time.Millisecond
	ImpairedAfter = 500 * time.Millisecond
	IsolatedFor   = 3 * time.Second
	StopGrace     = 300 * time.Millisecond
	// BeatLease is the length of the lease that agents hold.
	BeatLease = 1500 * time.Millisecond
	// reportEvery keeps what only reports carry (probes, locks) younger than a
	// suspicion.
	reportEvery = 200 * time.Millisecond
	// StorageStale is when a host's heartbeat on the storage counts as stopped: three
	// were missed.
	StorageStale = 7 * reportEvery / 2
	// contact is the controller's own limit: a host that is suspect is asked nothing.
	contact = time.Second
)

const (
	hostCount   = 3
	serverCount = 6
	// hostUnits lets two hosts carry all servers.
	hostUnits = 4
)

// Cautious is the server that is to stop rather than run where nobody can tell
// whether it was given to another host; the others run on.
const Cautious = "web-2"

// Rack is the site that holds all hosts.
const Rack = "rack-1"

func hostName(i int) string   { return fmt.Sprintf("host-%d", i+1) }
func serverName(i int) string { return fmt.Sprintf("web-%d", i+1) }

// Server is one of the fleet's servers.
type Server struct {
	Name string
	// Addr is where clients reach it, IP:PORT; Volume its directory.
	Addr, Volume string
}

// document writes the fleet's documents: a policy that may act, the sites, and
// the servers, two preferring each host.
func document(dir, exe string, servers []Server) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# The fleet of relight dev: change it and say relight apply -f %[1]s
apiVersion: relight/v1alpha1
kind: Policy
metadata: {name: default}
spec:
  mode: auto
  health:
    check: {interval: %[2]s, timeout: %[3]s}
    suspectAfter: %[4]s
    downAfter: %[5]s
    impairedAfter: %[6]s
    startupGrace: 3s
  ladder:
    rungs: [{rung: restartApp, tries: 20}, {rung: relaunch, tries: 20}]
    window: 1m
    backOff: 100ms
    maxBackOff: 1s
    verifyWithin: 5s
  isolatedFor: %[7]s
  budget: {steps: 100, window: 1m}
  storm: {hosts: 2, window: 1m}
---
apiVersion: relight/v1alpha1
kind: Site
metadata: {name: zone-1}
spec: {kind: zone}
---
apiVersion: relight/v1alpha1
kind: Site
metadata: {name: %[8]s}
spec: {kind: rack, parent: zone-1}
`, filepath.Join(dir, fleetFile), CheckInterval, CheckTimeout, SuspectAfter, DownAfter, ImpairedAfter, IsolatedFor, Rack)
	for i := range hostCount {
		fmt.Fprintf(&b, `---
apiVersion: relight/v1alpha1
kind: Site
metadata: {name: %[1]s}
spec:
  kind: host
  parent: %[2]s
  power:
    command: [%[3]q, demo-power]
    options: {dir: %[4]q}
    plug: %[1]s
    timeout: %[5]s
`, hostName(i), Rack, exe, dir, 2*powerWithin)
	}
	for i, s := range servers {
		ip, _, _ := strings.Cut(s.Addr, ":")
		fmt.Fprintf(&b, `---
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: %[1]s, labels: {app: web}}
spec:
  identity:
    volumes: [{name: data, path: %[2]q, reach: machine}]
    addresses: [{ip: %[3]s}]
  template:
    process:
      command: [%[4]q, demo-app, --listen, %[5]q, --dir, "${volume:data}"]
      stopGrace: %[6]s
  placement: {sites: [%[7]s, %[8]s]}
  onIsolation: %[9]s
  health: {check: {http: "http://%[5]s/health"}}
`, s.Name, s.Volume, ip, exe, s.Addr, StopGrace, hostName(i*hostCount/len(servers)), Rack, onIsolation(s.Name))
	}
	return b.String()
}

func onIsolation(server string) fleet.OnIsolation {
	if server == Cautious {
		return fleet.IsolationStop
	}
	return fleet.IsolationRun
}
