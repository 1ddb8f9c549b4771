package detector

import (
	"fmt"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
)

// stallAfter is the controller's: a gap between two scans that counts as its own
// stall.
const stallAfter = time.Second

// longestContact is the controller's default silence after which a host counts as
// out of contact; a fleet that is judged faster lowers it.
const longestContact = 3 * time.Second

// epoch0 is when the simulations begin.
var epoch0 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func wall(d time.Duration) time.Time { return epoch0.Add(d) }

// Setting is one detector that looks at a fleet.
type Setting struct {
	Name string
	// Suspect and Down are the server's suspectAfter and downAfter.
	Suspect, Down time.Duration
	// Storage says that hosts write a heartbeat to shared storage, which no loss on
	// the network touches.
	Storage bool
	// Judge is detect.Judge if nil.
	Judge func(detect.Input, time.Time) fleet.Finding
}

// observer is the controller's collector and judge for one setting: it folds what
// each sweep sees, and judges the servers whose hosts are silent.
type observer struct {
	world      *world
	setting    Setting
	contact    time.Duration
	sweepEvery time.Duration
	state      detect.Observer
	lastScan   time.Duration
	// Of each host.
	at      []time.Duration // its last sign of life, as the last sweep saw it
	signals [][]fleet.Signal
	about   [][]fleet.Signal
	down    []bool
	since   []time.Duration
	servers []fleet.Server
	status  []fleet.Status
	// seers of each host in the lists of reports.
	pings, probes, storage [][]seen
	hot                    time.Duration // no host is silent for long enough before
	turn                   int           // who is judged next while all are silent
	tally                  *Tally
	counts                 bool
	// started is told of each verdict that starts a recovery; may be nil.
	started func(host int, f fleet.Finding, state detect.Observer)
}

// seen is where a host's sight stands in its seer's reports.
type seen struct {
	seer, index int
	source      fleet.Source
}

func newObserver(w *world, s Setting) *observer {
	n := w.plan.Members
	o := &observer{
		world: w, setting: s, contact: min(s.Suspect, longestContact), at: make([]time.Duration, n),
		signals: make([][]fleet.Signal, n), about: make([][]fleet.Signal, n), down: make([]bool, n), since: make([]time.Duration, n),
		tally: &Tally{Setting: s}, state: detect.Observer{Since: wall(0), Contact: min(s.Suspect, longestContact)}, counts: true,
	}
	if o.setting.Judge == nil {
		o.setting.Judge = detect.Judge
	}
	o.sweepEvery = o.contact / 4
	o.pings = seers(w.pings, n, func(a *agent) []int { return a.pings }, w, fleet.ChannelProbe)
	o.probes = seers(w.probes, n, func(a *agent) []int { return a.probes }, w, fleet.ChannelProbe)
	if s.Storage {
		o.storage = seers(w.storage, n, func(a *agent) []int { return a.storage }, w, fleet.ChannelStorage)
	}
	for i := range n {
		server := fleet.Server{Name: fmt.Sprintf("server-%d", i)}
		server.Spec.Health = fleet.Health{SuspectAfter: fleet.Duration(s.Suspect), DownAfter: fleet.Duration(s.Down), Check: fleet.Check{TCP: "server:1"}}
		server.Spec.OneSource = fleet.OneSourceHold
		o.servers = append(o.servers, server)
		o.status = append(o.status, fleet.Status{Epoch: 1, Host: hostName(i), LaunchedAt: wall(-time.Hour), VerifiedAt: wall(-time.Hour)})
	}
	return o
}

func hostName(i int) string { return fmt.Sprintf("host-%d", i) }

func seers(pairs []pair, n int, of func(*agent) []int, w *world, c fleet.Channel) [][]seen {
	out := make([][]seen, n)
	for s := range w.agents {
		for index, k := range of(&w.agents[s]) {
			t := pairs[k].target
			out[t] = append(out[t], seen{seer: s, index: index, source: fleet.Source{Channel: c, Vantage: hostName(s)}})
		}
	}
	return out
}

// sweep takes what the controller knows now. Signals of a host that was heard of a
// moment ago can change no verdict to down and are not folded.
func (o *observer) sweep() {
	w := o.world
	o.hot = 1 << 62
	newest := time.Duration(0)
	for i := range w.agents {
		a := &w.agents[i]
		newest = max(newest, a.heard)
		o.at[i] = a.heard
		o.hot = min(o.hot, a.heard+o.setting.Suspect)
		if w.now-a.heard < o.setting.Suspect/2 && !o.down[i] {
			o.signals[i], o.about[i] = o.signals[i][:0], o.about[i][:0]
			continue
		}
		o.fold(i)
	}
	o.state = o.state.Looked(wall(w.now), wall(newest), len(w.agents))
}

func (o *observer) fold(i int) {
	a := &o.world.agents[i]
	beat := fleet.Signal{
		Source:   fleet.Source{Channel: fleet.ChannelBeat, Vantage: "controller"},
		Question: fleet.Alive, Answer: fleet.Yes, At: wall(a.heard), Since: wall(a.heard),
	}
	o.about[i] = foldIn(o.about[i], beat)
	beat.Epoch = 1
	o.signals[i] = foldIn(o.signals[i], beat)
	beat.Source = fleet.Source{Channel: fleet.ChannelAgent, Vantage: hostName(i)}
	o.signals[i] = foldIn(o.signals[i], beat)
	for _, s := range o.pings[i] {
		o.about[i] = o.foldSight(o.about[i], s, func(r *report) []sight { return r.pings })
	}
	for _, s := range o.probes[i] {
		o.signals[i] = o.foldSight(o.signals[i], s, func(r *report) []sight { return r.probes })
	}
	if o.storage == nil {
		return
	}
	for _, s := range o.storage[i] {
		o.about[i] = o.foldSight(o.about[i], s, func(r *report) []sight { return r.storage })
	}
}

// foldSight folds what a seer reported last. Its times travel as ages, and count
// back from the arrival of the report.
func (o *observer) foldSight(list []fleet.Signal, s seen, of func(*report) []sight) []fleet.Signal {
	seer := &o.world.agents[s.seer]
	if seer.report == nil {
		return list
	}
	saw := of(seer.report)[s.index]
	if !saw.known {
		return list
	}
	late := seer.reportAt - seer.report.sentAt
	return foldIn(list, fleet.Signal{
		Source: s.source, Question: fleet.Alive, Answer: saw.answer, At: wall(saw.at + late), Since: wall(saw.since + late),
	})
}

func foldIn(list []fleet.Signal, s fleet.Signal) []fleet.Signal {
	for k := range list {
		if list[k].Source == s.Source {
			list[k] = detect.Fold(list[k], s)
			return list
		}
	}
	return append(list, detect.Fold(fleet.Signal{}, s))
}

// scan is the controller's pass over its deadlines.
func (o *observer) scan() {
	now := o.world.now
	if gap := now - o.lastScan; gap > stallAfter {
		o.state.StalledAt, o.state.Stall = wall(now), gap
	}
	o.lastScan = now
	if now <= o.hot && o.tally.open == 0 {
		return
	}
	o.state.Hosts, o.state.Silent = len(o.at), 0
	for _, at := range o.at {
		if now-at > o.contact {
			o.state.Silent++
		}
	}
	if o.state.Silent == o.state.Hosts && o.tally.open == 0 {
		// Nearly always the verdict is that the observer is blind; asking for one
		// host in each scan keeps long outages cheap and sees all within a second.
		o.turn = (o.turn + 1) % len(o.at)
		o.judge(o.turn)
		return
	}
	for i, at := range o.at {
		if now-at > o.setting.Suspect || o.down[i] {
			o.judge(i)
		}
	}
}

func (o *observer) judge(i int) {
	if len(o.about[i]) == 0 {
		return // no sweep has looked at it since it fell silent
	}
	now := o.world.now
	f := o.setting.Judge(detect.Input{
		Server: o.servers[i], Status: o.status[i], Signals: o.signals[i], Host: o.about[i], Observer: o.state,
	}, wall(now))
	down := f.Verdict == fleet.Down && vantages(f.Evidence) >= 2
	if down == o.down[i] {
		return
	}
	o.down[i] = down
	o.note(i, down)
	if down && o.started != nil {
		o.started(i, f, o.state)
	}
}

func vantages(list []fleet.Signal) int {
	seen := map[string]bool{}
	for _, s := range list {
		seen[s.Source.Vantage] = true
	}
	return len(seen)
}

// note keeps the score: a verdict of down on a host that lives is a mistake.
func (o *observer) note(i int, down bool) {
	w, t := o.world, o.tally
	if down {
		t.open++
	} else {
		t.open--
	}
	if k, dead := within(w.dead[i], w.now); dead {
		if down && !o.found(i, k) {
			t.Detected = append(t.Detected, w.now-k.from)
			t.last[i] = k.from
		}
		return
	}
	switch {
	case !down && o.since[i] >= 0 && o.counts:
		t.Lasted = append(t.Lasted, w.now-o.since[i])
	case down && o.counts:
		t.Mistakes++
		if !w.net.Starved(i) {
			t.Healthy++
		}
	}
	o.since[i] = -1
	if down {
		o.since[i] = w.now
	}
}

// found reports whether this death was counted already.
func (o *observer) found(i int, k span) bool {
	if o.tally.last == nil {
		o.tally.last = map[int]time.Duration{}
	}
	at, ok := o.tally.last[i]
	return ok && at == k.from
}
