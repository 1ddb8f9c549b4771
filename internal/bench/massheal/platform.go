package massheal

import (
	"math/rand/v2"
	"time"
)

// answer is what the platform says to a call.
type answer int

// The answers. A lost one is an error whose effect took place.
const (
	accepted answer = iota
	throttled
	failed
	lost
	noCapacity
	notFound
	wrongState
)

// bucket is the platform's own: it counts by itself what it grants.
type bucket struct {
	rate, burst, tokens float64
	at                  time.Time
}

func (b *bucket) fill(now time.Time) {
	b.tokens = min(b.burst, b.tokens+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
}

// machine is what the platform knows about one server's instances.
type machine struct {
	terminated, launched, running, works time.Time
	volumes                              [volumes]time.Time
	plugged                              time.Time
}

// tally counts what the platform saw.
type tally struct {
	calls, throttled map[string]int
	// early counts what gave a server of a wave its volume or interface while one
	// of a lower wave did not work.
	early int
}

// platform is a fake EC2: exact buckets, effects that take time, reads that lag,
// calls that fail.
type platform struct {
	*engine
	s        Scenario
	fleet    []server
	rng      *rand.Rand
	requests map[string]*bucket
	units    map[string]*bucket
	machines []machine
	unready  []int // by wave
	lowest   int
	tally    tally
	// ready is told of each server whose application works.
	ready func(i int)
}

func newPlatform(e *engine, s Scenario, fleet []server) *platform {
	p := &platform{
		engine: e, s: s, fleet: fleet, rng: rand.New(rand.NewPCG(s.Seed, 2)), //nolint:gosec // a seed that repeats
		requests: map[string]*bucket{}, units: map[string]*bucket{}, machines: make([]machine, len(fleet)),
		unready: make([]int, s.Waves+2), lowest: 1,
		tally: tally{calls: map[string]int{}, throttled: map[string]int{}},
	}
	for _, q := range Quotas() {
		p.requests[q.Name] = &bucket{q.Requests.PerSecond, q.Requests.Burst, q.Requests.Burst, e.now}
		if !q.Resources.IsZero() {
			p.units[q.Name] = &bucket{q.Resources.PerSecond, q.Resources.Burst, q.Resources.Burst, e.now}
		}
	}
	for _, srv := range fleet {
		p.unready[srv.wave]++
	}
	return p
}

// send makes a call; the answer comes later. Volume is the one to attach.
func (p *platform) send(api string, servers []int, volume int, then func(answer)) {
	trip := time.Duration((0.3 + 0.7*p.rng.Float64()) * float64(roundTrip))
	p.after(trip/2, func() {
		a := p.arrive(api, servers, volume)
		p.after(trip-trip/2, func() { then(a) })
	})
}

func (p *platform) arrive(api string, servers []int, volume int) answer {
	p.tally.calls[api]++
	fault := p.rng.Float64() < p.s.Errors
	kind := p.rng.IntN(4)
	if !p.take(api, len(servers)) || fault && kind == 0 {
		p.tally.throttled[api]++
		return throttled
	}
	if fault && kind == 1 {
		return failed
	}
	a := accepted
	for _, i := range servers {
		if one := p.effect(api, i, volume); one != accepted {
			a = one
		}
	}
	if fault && a == accepted {
		return lost
	}
	return a
}

func (p *platform) take(api string, n int) bool {
	r, u := p.requests[api], p.units[api]
	r.fill(p.now)
	if u != nil {
		u.fill(p.now)
	}
	if r.tokens < 1 || u != nil && u.tokens < float64(n) {
		return false
	}
	r.tokens--
	if u != nil {
		u.tokens -= float64(n)
	}
	return true
}

func (p *platform) lasts(d time.Duration) time.Time {
	return p.now.Add(time.Duration(float64(d) * (1 + jitter*p.rng.Float64())))
}

// effect is what one call does to one server. Done twice, it is done once.
func (p *platform) effect(api string, i, volume int) answer {
	m := &p.machines[i]
	switch api {
	case terminate:
		if m.terminated.IsZero() {
			m.terminated = p.lasts(terminateTakes)
		}
	case launch:
		return p.launch(i)
	case attach:
		return p.give(i, &m.volumes[volume])
	case plug:
		return p.give(i, &m.plugged)
	}
	return accepted
}

func (p *platform) launch(i int) answer {
	m := &p.machines[i]
	if !m.launched.IsZero() {
		return accepted
	}
	for _, s := range p.s.Shortages {
		if s.Type == p.fleet[i].kind && p.since() >= s.From && p.since() < s.To {
			return noCapacity
		}
	}
	m.launched, m.running = p.now, p.lasts(bootTakes)
	return accepted
}

// give attaches a volume or an interface: the old instance must be gone and the
// new one run.
func (p *platform) give(i int, usable *time.Time) answer {
	m := &p.machines[i]
	switch {
	case !usable.IsZero():
		return accepted
	case m.launched.IsZero() || p.now.Before(m.launched.Add(visibleAfter)):
		return notFound
	case p.now.Before(m.running) || m.terminated.IsZero() || p.now.Before(m.terminated):
		return wrongState
	}
	if p.fleet[i].wave > p.lowest {
		p.tally.early++
	}
	*usable = p.lasts(attachTakes)
	p.tryStart(i)
	return accepted
}

// tryStart brings the application up once it has all that is its own.
func (p *platform) tryStart(i int) {
	m := &p.machines[i]
	from := m.plugged
	for _, v := range m.volumes {
		if v.IsZero() || from.IsZero() {
			return
		}
		if v.After(from) {
			from = v
		}
	}
	p.at(from, func() {
		p.at(p.lasts(appTakes), func() {
			m.works = p.now
			wave := p.fleet[i].wave
			p.unready[wave]--
			for p.lowest < len(p.unready)-1 && p.unready[p.lowest] == 0 {
				p.lowest++
			}
			p.after(time.Duration(p.rng.Float64()*float64(beatEvery)), func() { p.ready(i) })
		})
	})
}

// sight is what a describe shows of one server.
type sight struct{ terminated, running bool }

func (p *platform) look(i int) sight {
	m := &p.machines[i]
	return sight{
		terminated: !m.terminated.IsZero() && !p.now.Before(m.terminated),
		running:    !m.launched.IsZero() && !p.now.Before(m.launched.Add(visibleAfter)) && !p.now.Before(m.running),
	}
}

// throttledShare is the part of the calls that change something which was refused
// for want of tokens.
func (t tally) throttledShare() float64 {
	calls, refused := 0, 0
	for _, api := range []string{terminate, launch, attach, plug} {
		calls += t.calls[api]
		refused += t.throttled[api]
	}
	if calls == 0 {
		return 0
	}
	return float64(refused) / float64(calls)
}
