package agent

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"relight/internal/agent/volume"
	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// subject names what a sight is about.
type subject struct {
	server string
	epoch  fleet.Epoch // 0 for probes
	host   string      // for pings and storage heartbeats
}

// sight is what a check, probe, ping or heartbeat said last. Times are the agent's
// lease clock.
type sight struct {
	alive, works fleet.Answer
	at, since    int64
	detail       string
	progress     uint64
}

// board is what the agent's lookers have seen. It is safe for concurrent use.
type board struct {
	clock beat.Clock
	news  func()

	mu     sync.Mutex
	checks map[subject]sight
	probes map[subject]sight
	pings  map[subject]sight
	// kernels has the hosts whose kernels say that their agents are gone.
	kernels map[subject]sight
	storage map[subject]sight
	disks   map[string]disk
	// rivals has who answers elsewhere for addresses of instances of this host.
	rivals map[contested]rival
	// alone has the addresses for which nobody else answered, once at least.
	alone map[contested]bool
	// portals says when each array's portal answered last.
	portals map[string]int64
	// own is whether the host's own storage heartbeat could be written at ownAt.
	own   fleet.Answer
	ownAt int64
}

func newBoard(clock beat.Clock, news func()) *board {
	return &board{
		clock: clock, news: news, checks: map[subject]sight{}, probes: map[subject]sight{},
		pings: map[subject]sight{}, kernels: map[subject]sight{}, storage: map[subject]sight{}, disks: map[string]disk{}, rivals: map[contested]rival{}, alone: map[contested]bool{}, portals: map[string]int64{},
	}
}

// disk is a volume as it was seen last.
type disk struct {
	state volume.State
	err   error
	at    int64
}

// putVolume takes a look at a volume that ended just now and began at began: its
// age counts from there, because a slow look may have seen what is long over.
func (b *board) putVolume(dir string, st volume.State, err error, began int64) {
	b.mu.Lock()
	before, ok := b.disks[dir]
	if began < before.at {
		b.mu.Unlock()
		return // overtaken by a look that began later
	}
	b.disks[dir] = disk{state: st, err: err, at: began}
	b.mu.Unlock()
	if !ok || before.state != st || (before.err == nil) != (err == nil) {
		b.news()
	}
}

func (b *board) volume(dir string) (disk, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, ok := b.disks[dir]
	return d, ok
}

// put takes what a looker saw just now; a new answer is news.
func (b *board) put(on map[subject]sight, s subject, saw sight) {
	b.mu.Lock()
	now := b.clock()
	saw.at = now
	before, ok := on[s]
	changed := !ok || before.alive != saw.alive || before.works != saw.works
	if saw.since = now; !changed {
		saw.since = before.since
	}
	on[s] = saw
	b.mu.Unlock()
	if changed {
		b.news()
	}
}

func (b *board) drop(on map[subject]sight, s subject) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(on, s)
}

func (b *board) get(on map[subject]sight, s subject) (sight, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	saw, ok := on[s]
	return saw, ok
}

// answers lists what is known about servers; mu is held.
func (b *board) answers(from map[subject]sight) []link.Answer {
	now := b.clock()
	var out []link.Answer
	for s, saw := range from {
		out = append(out, link.Answer{
			Server: s.server, Epoch: s.epoch, Alive: saw.alive, Works: saw.works,
			Ago: ago(now, saw.at), SinceAgo: ago(now, saw.since), Detail: link.Cut(saw.detail),
		})
	}
	slices.SortFunc(out, func(a, b link.Answer) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Epoch, b.Epoch))
	})
	return out
}

// hosts lists what is known about hosts; mu is held.
func (b *board) hosts(from map[subject]sight) []link.HostAnswer {
	now := b.clock()
	var out []link.HostAnswer
	for s, saw := range from {
		out = append(out, link.HostAnswer{
			Host: s.host, Alive: saw.alive,
			Ago: ago(now, saw.at), SinceAgo: ago(now, saw.since), Detail: link.Cut(saw.detail),
		})
	}
	slices.SortFunc(out, func(a, b link.HostAnswer) int { return cmp.Compare(a.Host, b.Host) })
	return out
}

func ago(now, then int64) fleet.Duration { return fleet.Duration(max(now-then, 0)) }

// report says everything that is known now.
func (a *Agent) report() link.Report {
	a.mu.Lock()
	a.seq++
	r := link.Report{
		V: link.Version, Run: a.run, Seq: a.seq, Boot: a.boot, Look: a.look,
		Units: a.opt.Units, PeerAddr: a.peerAddr(),
	}
	a.mu.Unlock()
	instances := a.opt.Driver.Instances()
	now := time.Now()
	for _, i := range instances {
		r.Instances = append(r.Instances, link.Instance{
			Server: i.Server, Epoch: i.Epoch, State: i.State, Alive: i.Alive,
			SinceAgo: fleet.Duration(max(now.Sub(i.Since), 0)), Detail: link.Cut(i.Detail),
		})
		r.UsedUnits += a.unitsOf(i)
		for _, ip := range i.Addresses {
			if i.State != fleet.InstanceReaped {
				r.Addresses = append(r.Addresses, link.Address{Server: i.Server, IP: ip, Holder: i.Epoch})
			}
		}
	}
	r.Watchdog = a.watchdog.status()
	r.Volumes = a.volumes(instances)
	r.Warm = a.warm()
	for _, w := range r.Warm {
		r.UsedUnits += w.Units
	}
	if m, ok := a.machines(); ok {
		r.Hypervisor = m.Hypervisor()
	}
	a.board.mu.Lock()
	defer a.board.mu.Unlock()
	r.Checks, r.Probes = a.board.answers(a.board.checks), a.board.answers(a.board.probes)
	r.Pings, r.StorageBeats = a.board.hosts(a.board.pings), a.board.hosts(a.board.storage)
	r.Kernels, r.Contests = a.board.hosts(a.board.kernels), a.board.contests()
	r.StorageBeat = a.board.ownBeat(storageStale(a.opt.StorageBeatEvery))
	return r
}

// volumes tells which volumes the host reaches, and where it runs the server or is
// a witness, their seals and locks.
func (a *Agent) volumes(instances []Instance) []link.Volume {
	now := a.opt.Clock()
	var out []link.Volume
	for _, w := range a.memory.watched().Servers {
		here := slices.ContainsFunc(instances, func(i Instance) bool { return i.Server == w.Server })
		for _, v := range w.Volumes {
			if at, ok := a.reachesLUN(v); ok {
				out = append(out, link.Volume{Server: w.Server, Volume: v.Name, Ago: ago(now, at)})
			}
			saw, ok := a.board.volume(v.Path)
			if !ok || saw.err != nil {
				continue
			}
			seen := link.Volume{Server: w.Server, Volume: v.Name, Fresh: saw.state.Server == "", Ago: ago(now, saw.at)}
			if here || w.Look {
				seen.Looked, seen.Epoch, seen.Sealed, seen.Held = true, saw.state.Epoch, saw.state.Sealed, fleet.No
				if saw.state.Locked {
					seen.Held, seen.Holder = fleet.Yes, holder(instances, w.Server, v.Path, saw.state)
				}
			}
			out = append(out, seen)
		}
	}
	return out
}

// holder is the epoch of this host's own instance that holds the volume, or 0.
func holder(instances []Instance, server, dir string, st volume.State) fleet.Epoch {
	for _, i := range instances {
		if i.Server == server && i.Epoch == st.Epoch && i.State != fleet.InstanceReaped && slices.Contains(i.Volumes, dir) {
			return i.Epoch
		}
	}
	return 0
}

// items is what the agent's beats say: each instance that runs, and the end of
// each that was the last of its server here.
func (a *Agent) items() []beat.Item {
	newest := map[string]Instance{}
	for _, i := range a.opt.Driver.Instances() {
		if i.Epoch >= newest[i.Server].Epoch {
			newest[i.Server] = i
		}
	}
	var out []beat.Item
	for _, server := range slices.Sorted(maps.Keys(newest)) {
		i := newest[server]
		item := beat.Item{
			Server: server, Epoch: i.Epoch, Alive: i.Alive, CannotLie: i.State == fleet.InstanceReaped,
			Since: a.opt.Clock() - int64(max(time.Since(i.Since), 0)),
		}
		if saw, ok := a.board.get(a.board.checks, subject{server: server, epoch: i.Epoch}); ok && i.Alive == fleet.Yes {
			item.Works, item.Progress = saw.works, saw.progress
			item.Since = max(item.Since, saw.since)
		}
		out = append(out, item)
	}
	return out
}

func isLoopback(ip string) bool {
	p, err := netip.ParsePrefix(ip)
	if err == nil {
		return p.Addr().IsLoopback()
	}
	addr, err := netip.ParseAddr(ip)
	return err == nil && addr.IsLoopback()
}
