package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/spec"
	"relight/internal/store"
	"relight/internal/store/mem"
	"relight/internal/world"
)

// The shape of a generated fleet.
const (
	fleetZones = 3
	perHost    = 20
	// hostUnits is the room of a host: two zones can take what a third one ran.
	hostUnits   = 2 * perHost
	hostsOfRack = 20
	buildBatch  = 10_000
)

func serverName(n int) string { return fmt.Sprintf("server-%07d", n) }
func hostName(n int) string   { return fmt.Sprintf("host-%06d", n) }
func zoneName(n int) string   { return fmt.Sprintf("zone-%d", n+1) }
func rackName(n int) string   { return fmt.Sprintf("rack-%05d", n) }

// fleetSites are the documents besides the servers: the rules for all, and zones.
const fleetRules = `
apiVersion: relight/v1alpha1
kind: Policy
metadata: {name: default}
spec:
  mode: auto
  oneSource: fence
  health: {suspectAfter: 90s, downAfter: 30s, impairedAfter: 1m, startupGrace: 2m}
  ladder: {verifyWithin: 2m, backOff: 1m, maxBackOff: 10m, window: 1h}
  budget: {steps: %d, window: 10m}
---
apiVersion: relight/v1alpha1
kind: Site
metadata: {name: region-1}
spec: {kind: region}
`

const fleetZone = `---
apiVersion: relight/v1alpha1
kind: Site
metadata: {name: %s}
spec: {kind: zone, parent: region-1}
`

// The two shapes of servers. Names and addresses stand for those of each server.
const fleetServer = `
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: NAME}
spec:
  provider: sim
  identity:
    volumes: [{name: data, %s}]
    addresses: [{ip: 10.0.0.1}]
  template: {sim: {}}
  health: {check: {beat: true, interval: 10s, timeout: 5s}}
%s`

const fleetBound = "  placement: {sites: [ZONE]}\n"

// zoneOf is where a server is declared; its host lies there.
func (r *fleetRun) zoneOf(server int) int { return r.zoneOfHost(server / perHost) }

// zoneOfHost gives each zone racks in a row.
func (r *fleetRun) zoneOfHost(host int) int {
	racks := (r.report.Hosts + hostsOfRack - 1) / hostsOfRack
	return min(host/hostsOfRack*fleetZones/racks, fleetZones-1)
}

func ipOf(n int) string { return fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255) }

// build makes world and store, and starts the controller on them.
func (r *fleetRun) build() error {
	begun := time.Now()
	r.report.Hosts = (r.opt.Servers + perHost - 1) / perHost
	r.base = heapNow()
	if err := r.buildWorld(); err != nil {
		return err
	}
	r.report.Bytes.World = heapNow() - r.base
	if err := r.buildStore(); err != nil {
		return err
	}
	r.report.Bytes.Store = heapNow() - r.base - r.report.Bytes.World
	r.report.Build = time.Since(begun)
	begun = time.Now()
	if err := r.boot(); err != nil {
		return err
	}
	r.report.Load = time.Since(begun)
	r.report.Begun = r.clock.Now()
	r.line("%d servers on %d hosts, made in %s, read by the controller in %s", r.opt.Servers, r.report.Hosts, r.report.Build.Round(time.Millisecond), r.report.Load.Round(time.Millisecond))
	return nil
}

// buildWorld makes the hosts and starts every server on its own.
func (r *fleetRun) buildWorld() error {
	span := func(from, to time.Duration) world.Span { return world.Span{Min: from, Max: to} }
	delays := world.Delays{
		Start: span(5*time.Second, 20*time.Second), App: span(5*time.Second, 20*time.Second), Stop: span(time.Second, 10*time.Second),
		Terminate: span(time.Second, 10*time.Second), Attach: span(time.Second, 5*time.Second),
	}
	if r.opt.Quotas {
		delays = quotaDelays()
	}
	r.world = world.New(world.Config{
		Clock: r.clock, Rand: rand.New(rand.NewPCG(r.opt.Seed, 1)), WriteEvery: fleetWrite, WriteLatency: 10 * time.Millisecond, Forget: time.Hour, //nolint:gosec // a seed that repeats
		Delays: delays,
	})
	w := r.world
	w.AddSite(world.Site{Name: "region-1", Kind: fleet.SiteRegion})
	for z := range fleetZones {
		w.AddSite(world.Site{Name: zoneName(z), Kind: fleet.SiteZone, Parent: "region-1"})
	}
	for h := range r.report.Hosts {
		if h%hostsOfRack == 0 {
			w.AddSite(world.Site{Name: rackName(h / hostsOfRack), Kind: fleet.SiteRack, Parent: zoneName(r.zoneOfHost(h))})
		}
		w.AddHost(world.Host{Name: hostName(h), Parent: rackName(h / hostsOfRack), Units: hostUnits})
	}
	for first := 0; first < r.opt.Servers; first += buildBatch {
		for n := first; n < min(first+buildBatch, r.opt.Servers); n++ {
			if err := r.start(n); err != nil {
				return fmt.Errorf("start %s: %w", serverName(n), err)
			}
		}
		w.Advance(time.Second) // spreads the writes
	}
	w.Advance(2 * time.Minute)
	w.Check()
	return nil
}

// start brings a server up in the world, with its volume and its address.
func (r *fleetRun) start(n int) error {
	w, name := r.world, serverName(n)
	v := world.Volume{ID: name + "/data", Server: name, Reach: fleet.ReachShared}
	if bound(n) {
		v.Reach, v.Place = fleet.ReachZone, zoneName(r.zoneOf(n))
	}
	w.AddVolume(v)
	w.AddAddress(world.Address{IP: ipOf(n), Server: name, Exclusive: true})
	i, err := w.Prepare(world.Request{Server: name, Epoch: 1, Host: hostName(n / perHost), Units: 1, Style: world.Machine})
	if err != nil {
		return err
	}
	if err := w.Start(i); err != nil {
		return err
	}
	if err := w.Attach(v.ID, i); err != nil {
		return err
	}
	return w.HoldAddress(ipOf(n), i, false)
}

// bound reports whether the server's volume never leaves its zone.
func bound(n int) bool { return n%2 == 0 }

// buildStore writes documents and statuses as a controller has left them.
func (r *fleetRun) buildStore() error {
	r.store = mem.New(mem.Options{Now: r.clock.Now})
	text := fmt.Sprintf(fleetRules, r.opt.Budget)
	if r.opt.Quotas {
		text = strings.Replace(text, "ladder: {", "ladder: {rungs: [{rung: relaunch, tries: 3}], ", 1)
	}
	for z := range fleetZones {
		text += fmt.Sprintf(fleetZone, zoneName(z))
	}
	docs, err := spec.Parse(spec.File{Name: "fleet.yaml", Data: []byte(text)})
	if err != nil {
		return err
	}
	var ops []store.Op
	for _, d := range docs {
		ops = append(ops, documentOp(d.Kind, d.Name, d.Raw))
	}
	shapes, err := fleetShapes(docs)
	if err != nil {
		return err
	}
	for n := range r.opt.Servers {
		shape := shapes[n%len(shapes)]
		ops = append(ops, documentOp(spec.KindServer, serverName(n), r.as(shape, n)), r.statusOp(n))
		if len(ops) >= 1000 || n == r.opt.Servers-1 {
			rev, err := r.store.Commit(context.Background(), store.Txn{Ops: ops})
			if err != nil {
				return err
			}
			r.store.Compact(rev)
			ops = ops[:0]
		}
	}
	return nil
}

// fleetShapes are the stored documents of the two shapes, checked with the rest.
func fleetShapes(others []spec.Doc) ([][]byte, error) {
	var shapes [][]byte
	for _, text := range []string{fmt.Sprintf(fleetServer, "id: vol-NAME, reach: zone", fleetBound), fmt.Sprintf(fleetServer, "path: /fs/NAME, reach: shared", "  fence: power\n")} {
		docs, err := spec.Parse(spec.File{Name: "server.yaml", Data: []byte(strings.NewReplacer("NAME", "server-0", "ZONE", zoneName(0)).Replace(text))})
		if err != nil {
			return nil, err
		}
		if _, err := spec.Resolve(docs, others); err != nil {
			return nil, err
		}
		shapes = append(shapes, docs[0].Raw)
	}
	return shapes, nil
}

// as is a shape's document under the names of server n.
func (r *fleetRun) as(shape []byte, n int) []byte {
	return []byte(strings.NewReplacer("server-0", serverName(n), "10.0.0.1", ipOf(n), zoneName(0), zoneName(r.zoneOf(n))).Replace(string(shape)))
}

func documentOp(kind spec.Kind, name string, raw []byte) store.Op {
	value, err := json.Marshal(map[string]json.RawMessage{"raw": raw})
	if err != nil {
		panic(err) // what the parser wrote is JSON
	}
	return store.Op{Key: "relight/v1/" + strings.ToLower(string(kind)) + "/" + name, Value: value}
}

// statusOp is the record of a server that was launched and verified.
func (r *fleetRun) statusOp(n int) store.Op {
	name := serverName(n)
	i := r.world.Find(name, 1)
	value, err := json.Marshal(fleet.Status{
		Server: name, Phase: fleet.PhaseRunning, Epoch: 1, Host: i.Host, LaunchedAt: i.Since, VerifiedAt: i.AppSince,
		Verdict: fleet.Healthy, VerdictSince: i.AppSince, Cause: "server " + name,
	})
	if err != nil {
		panic(err) // a status always encodes
	}
	return store.Op{Key: "relight/v1/status/" + name, Value: value}
}
