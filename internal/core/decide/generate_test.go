package decide_test

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// people, hostNames and racks are few, so that drawn values meet each other.
var (
	people    = []string{"kim", "lee", "mo", "ana"}
	hostNames = []string{"host-1", "host-2", "host-3", "host-4"}
	racks     = []string{"rack-1", "rack-2"}
)

func pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

func chance(t *rapid.T, label string, percent int) bool {
	return rapid.IntRange(1, 100).Draw(t, label) <= percent
}

func some[T any](t *rapid.T, label string, most int, draw func(*rapid.T, string) T) []T {
	var out []T
	for i := range rapid.IntRange(0, most).Draw(t, label+"s") {
		out = append(out, draw(t, fmt.Sprintf("%s%d", label, i)))
	}
	return out
}

// ageOf draws a time before noon, often close to a limit.
func ageOf(t *rapid.T, label string) time.Time {
	return noon.Add(-pick(t, label, 0, time.Second, 5*time.Second, 14*time.Second, 16*time.Second, time.Minute, 5*time.Minute, 11*time.Minute, -20*time.Second))
}

// drawView draws a view of a server about which no recovery runs.
func drawView(t *rapid.T) decide.View {
	s := newStory(func(cell) {})
	v := s.v
	v.Traits = drawTraits(t)
	drawSpec(t, &v.Server)
	v.Hosts = nil
	if v.Traits.Places || chance(t, "hosts known", 30) {
		for _, name := range hostNames[:pick(t, "hosts", 0, 2, 3, 4, 4, 4)] {
			v.Hosts = append(v.Hosts, drawHost(t, name))
		}
	}
	v.Status = drawStatus(t, v.Server)
	v.Finding = drawFinding(t, v.Status)
	v.Observed = drawObserved(t, v.Server, v.Status.Epoch, noon)
	v.Guards = drawGuards(t)
	v.Around = drawAround(t)
	if chance(t, "requested", 35) {
		v.Request = &fleet.Request{
			Server: v.Server.Name, Epoch: v.Status.Epoch, By: pick(t, "requester", people...), At: noon,
			Rung: pick(t, "asked", append(fleet.Rungs(), "")...), To: pick(t, "to", "", "", "rack-2", "host-3"),
		}
	}
	likely := pick(t, "approved rung", fleet.Rungs()...)
	if v.Request != nil && v.Request.Rung != "" {
		likely = v.Request.Rung
	}
	v.Guards.Approvals = some(t, "approval", 4, func(t *rapid.T, l string) fleet.Approval {
		return fleet.Approval{
			Server: pick(t, l+"server", v.Server.Name, v.Server.Name, v.Server.Name, "other"), By: pick(t, l+"by", people...),
			Epoch: v.Status.Epoch + pick(t, l+"epoch", fleet.Epoch(0), 0, 0, 1), Denied: chance(t, l+"denied", 10),
			Plan: pick(t, l+"plan", decide.PlanHash(v, likely), decide.PlanHash(v, likely), "other"),
			At:   noon, Until: noon.Add(pick(t, l+"until", time.Hour, time.Hour, 0)),
		}
	})
	return v
}

func drawTraits(t *rapid.T) fleet.Traits {
	s := newStory(func(cell) {})
	if err := s.do("traits " + pick(t, "traits", "onprem", "onprem", "guest", "cloud")); err != nil {
		t.Fatal(err)
	}
	return s.v.Traits
}

func drawSpec(t *rapid.T, s *fleet.Server) {
	sp := &s.Spec
	sp.Fence = pick(t, "fence", fleet.FenceStorage, fleet.FencePowerFirst, fleet.FencePower, fleet.FenceBoth)
	sp.Identity.Volumes = nil
	for _, name := range []string{"data", "log"}[:rapid.IntRange(0, 2).Draw(t, "volumes")] {
		sp.Identity.Volumes = append(sp.Identity.Volumes, fleet.Volume{
			Name: name, Path: "/srv/" + name, Reach: pick(t, "reach", fleet.ReachMachine, fleet.ReachMachine, fleet.ReachHost, fleet.ReachShared, fleet.ReachZone, fleet.ReachArray, fleet.ReachArray),
		})
	}
	sp.Ladder.Rungs = nil
	for _, r := range fleet.Rungs() {
		if chance(t, "has "+string(r), 70) {
			sp.Ladder.Rungs = append(sp.Ladder.Rungs, fleet.RungSpec{Rung: r, Tries: rapid.IntRange(1, 3).Draw(t, "tries")})
		}
	}
	sp.Approvals = rapid.IntRange(0, 2).Draw(t, "approvals")
	sp.Priority = rapid.IntRange(0, 3).Draw(t, "priority")
	sp.IsolatedFor = fleet.Duration(pick(t, "isolatedFor", 0, 3*time.Second, time.Minute))
	sp.Placement.Units = rapid.IntRange(0, 2).Draw(t, "units")
	sp.Placement.Sites = pick(t, "sites", nil, nil, []string{"rack-1"}, []string{"rack-2", "rack-1"}, []string{"host-2"})
	if chance(t, "apart", 30) {
		s.Labels, sp.Placement.Apart = map[string]string{"app": "lic"}, []string{"app", "color"}
	}
}

func answer(t *rapid.T, label string) fleet.Answer {
	return pick(t, label, fleet.Yes, fleet.Yes, fleet.Yes, fleet.No, fleet.CannotTell)
}

func drawHost(t *rapid.T, name string) fleet.Host {
	return fleet.Host{
		Name: name, Sites: pick(t, name+" sites", []string{racks[0], "zone-a"}, []string{racks[0], "zone-a"}, []string{racks[1], "zone-a"}, nil),
		InContact: answer(t, name+" contact"), Units: 4, UsedUnits: rapid.IntRange(0, 4).Draw(t, name+" used"), Power: chance(t, name+" power", 50),
		Reaches: pick(t, name+" reaches", []string{"data", "log"}, []string{"data", "log"}, []string{"data"}, nil),
		Apart:   pick(t, name+" apart", nil, nil, []string{"app=lic"}, []string{"app=web"}), Closed: pick(t, name+" closed", "", "", "", "to be replaced"),
	}
}

func drawStatus(t *rapid.T, s fleet.Server) fleet.Status {
	st := fleet.Status{Server: s.Name, Epoch: fleet.Epoch(rapid.IntRange(0, 4).Draw(t, "epoch"))}
	if st.Epoch > 0 {
		st.Phase, st.Host = pick(t, "phase", fleet.PhaseRunning, fleet.PhaseRunning, fleet.PhaseNeedsPerson), pick(t, "on", hostNames...)
		st.Message = "given up"
	}
	st.Evidence = some(t, "stored", 3, func(t *rapid.T, l string) fleet.Evidence { return drawEvidence(t, l, s.Name) })
	if chance(t, "reaped", 40) { // so that many views are about to place and start
		st.Evidence = append(st.Evidence, fleet.Evidence{Method: fleet.Reaped, Server: s.Name, Epoch: st.Epoch, At: noon})
	}
	st.Attempts = some(t, "attempt", 4, func(t *rapid.T, l string) fleet.Attempt {
		return fleet.Attempt{Rung: pick(t, l, fleet.Rungs()...), At: ageOf(t, l+"at")}
	})
	return st
}

func drawEvidence(t *rapid.T, l, server string) fleet.Evidence {
	return fleet.Evidence{
		Method: pick(t, l+"method", fleet.Reaped, fleet.Terminated, fleet.Stopped, fleet.PoweredOff, fleet.Sealed, fleet.InitiatorRemoved, fleet.Attested, fleet.NeverStarted, fleet.FirstEpoch),
		Server: pick(t, l+"server", server, server, server, "other"), Epoch: fleet.Epoch(rapid.IntRange(0, 6).Draw(t, l+"epoch")),
		Volume: pick(t, l+"volume", "data", "log"), Host: pick(t, l+"host", hostNames...), At: ageOf(t, l+"at"),
	}
}

func drawFinding(t *rapid.T, st fleet.Status) fleet.Finding {
	verdicts := []fleet.Verdict{fleet.Down, fleet.Down, fleet.Impaired, fleet.Isolated, fleet.Healthy, fleet.Suspect, fleet.Unknown}
	f := fleet.Finding{Verdict: pick(t, "verdict", verdicts...), Since: ageOf(t, "since"), Reason: "the signals say so"}
	if st.Epoch == 0 {
		f.Verdict = fleet.Down
	}
	if f.Verdict == fleet.Healthy {
		at := ageOf(t, "seen")
		f.Evidence = []fleet.Signal{{Question: fleet.Works, Answer: fleet.Yes, Epoch: st.Epoch, At: at, Since: at}}
	}
	return f
}

func drawObserved(t *rapid.T, s fleet.Server, epoch fleet.Epoch, now time.Time) fleet.Observed {
	near := func(t *rapid.T, l string) fleet.Epoch {
		return fleet.Epoch(max(0, int(epoch)+rapid.IntRange(-2, 2).Draw(t, l)))
	}
	states := []fleet.InstanceState{
		fleet.InstanceRunning, fleet.InstanceStopped,
		fleet.InstancePending, fleet.InstanceRunning, fleet.InstanceRunning, fleet.InstanceStopping, fleet.InstanceStopped,
		fleet.InstanceTerminated, fleet.InstanceReaped, fleet.InstanceLost,
	}
	if chance(t, "nothing special", 50) {
		return fleet.Observed{Server: s.Name, At: now, Complete: true}
	}
	return fleet.Observed{
		Server: s.Name, At: now, Complete: chance(t, "complete", 70),
		Instances: some(t, "instance", 2, func(t *rapid.T, l string) fleet.Instance {
			return fleet.Instance{Server: s.Name, Epoch: max(near(t, l+"epoch"), 1), Host: pick(t, l+"host", hostNames...), State: pick(t, l+"state", states...), At: ageOf(t, l+"at")}
		}),
		Volumes: some(t, "volume", 2, func(t *rapid.T, l string) fleet.VolumeState {
			return fleet.VolumeState{
				Volume: pick(t, l+"name", "data", "log"), Epoch: near(t, l+"epoch"), Sealed: pick(t, l+"sealed", 0, 0, near(t, l+"seal")),
				Holder: pick(t, l+"holder", 0, near(t, l+"hold")), Host: pick(t, l+"host", hostNames...), Held: answer(t, l+"held"), At: ageOf(t, l+"at"),
			}
		}),
		Addresses: some(t, "address", 2, func(t *rapid.T, l string) fleet.AddressState {
			return fleet.AddressState{
				IP: pick(t, l+"ip", "10.0.0.7", "10.0.0.8"), Holder: near(t, l+"holder"), Host: pick(t, l+"host", hostNames...),
				Rival: pick(t, l+"rival", "", "02:00:00:00:00:07", "02:00:00:00:00:08"), At: ageOf(t, l+"at"),
			}
		}),
	}
}

func drawGuards(t *rapid.T) fleet.Guards {
	g := fleet.Guards{Authority: fleet.Authority{Term: 7, Until: noon.Add(time.Hour)}}
	if chance(t, "no lease", 3) {
		g.Authority.Until = noon
	}
	if chance(t, "no store", 3) {
		g.StoreTrouble = "no space left"
	}
	g.Modes = []fleet.ModeSetting{{Scope: "fleet", Mode: pick(t, "fleet mode", fleet.Auto, fleet.Auto, fleet.Ask)}}
	if chance(t, "many modes", 20) {
		modes := []fleet.Mode{fleet.Auto, fleet.Auto, fleet.Ask, fleet.Observe, "", "nonsense"}
		g.Modes = some(t, "mode", 3, func(t *rapid.T, l string) fleet.ModeSetting {
			return fleet.ModeSetting{Scope: "fleet", Mode: pick(t, l, modes...)}
		})
	}
	if chance(t, "frozen", 5) {
		g.Freeze = &fleet.Freeze{By: "kim", Reason: "audit"}
	}
	if chance(t, "paused", 5) {
		g.Pauses = []fleet.Pause{{Server: pick(t, "pause", "lic-01", "other", ""), By: "kim"}}
	}
	g.Windows = some(t, "window", pick(t, "most windows", 0, 0, 2), func(t *rapid.T, l string) fleet.Maintenance {
		return fleet.Maintenance{
			ID: l, Owner: "lee", Scope: pick(t, l, "fleet", "site rack-1", "site rack-9", "server lic-01", "server other", "", "site ", "nonsense"),
			From: noon.Add(-time.Hour), Until: noon.Add(pick(t, l+"until", -time.Minute, 0, time.Minute)),
		}
	})
	return g
}

func drawAround(t *rapid.T) fleet.Around {
	var a fleet.Around
	domains := []string{"fleet", "rack-1", "host-1"}
	for _, name := range domains[:pick(t, "domains", 0, 1, 3)] {
		d := fleet.Domain{Name: name, Total: 6, Healthy: rapid.IntRange(0, 5).Draw(t, name+" healthy")}
		if chance(t, name+" velocity", 30) {
			d.Budget.Steps, d.Budget.Window = rapid.IntRange(1, 3).Draw(t, name+" steps"), fleet.Duration(10*time.Minute)
		}
		if chance(t, name+" keep", 40) {
			d.Budget.KeepAlive = rapid.IntRange(1, 3).Draw(t, name+" keep alive")
		}
		d.Begun = some(t, name+" begun", 3, func(t *rapid.T, l string) fleet.Begun {
			return fleet.Begun{At: ageOf(t, l), Count: pick(t, l+" count", 1, 2)}
		})
		d.Claims = some(t, name+" claims", 2, func(t *rapid.T, l string) fleet.Claim {
			return fleet.Claim{Priority: rapid.IntRange(0, 4).Draw(t, l), Units: pick(t, l+" units", 1, 3)}
		})
		d.Waiting = some(t, name+" waiting", 2, func(t *rapid.T, l string) fleet.Waiting {
			return fleet.Waiting{Priority: rapid.IntRange(0, 4).Draw(t, l), Servers: pick(t, l+" servers", 1, 2), Since: ageOf(t, l+" since")}
		})
		if chance(t, name+" waits", 30) {
			d.Waits = ageOf(t, name+" waits since")
		}
		a.Domains = append(a.Domains, d)
	}
	if chance(t, "storm", 10) {
		a.Storm = &fleet.Trouble{Cause: "4 hosts", Reason: "4 hosts lost their servers"}
	}
	return a
}

// drawReached draws a view and lets some rounds of decisions and outcomes pass,
// so that most of what is drawn has a recovery under way. Between the rounds the
// world changes as it likes.
func drawReached(t *rapid.T) (decide.View, time.Time) {
	v, now := drawView(t), noon
	calm := v.Guards
	calm.Modes, calm.Freeze, calm.Pauses, calm.Windows = []fleet.ModeSetting{{Scope: "fleet", Mode: fleet.Auto}}, nil, nil, nil
	calm.StoreTrouble, calm.Authority.Until = "", noon.Add(24*time.Hour)
	for i := range pick(t, "rounds", 0, 0, 0, 1, 2, 3, 4, 6) {
		past := v
		past.Guards, past.Around = calm, fleet.Around{}
		d := decide.Next(past, now)
		if d.Step != nil {
			v.Status = decide.Intend(v.Status, d, now)
			if d.Begins != nil {
				v.Request = nil
			}
			if !d.Step.Kind.Record() && !chance(t, "crash", 10) {
				v.Status = decide.Record(v.Status, *d.Step, drawResult(t, *d.Step, now), now)
			}
		}
		now = now.Add(pick(t, "passes", 0, time.Second, 20*time.Second))
		if chance(t, "look", 30) {
			v.Observed = drawObserved(t, v.Server, v.Status.Epoch, now)
		}
		if chance(t, "news", 20) && v.Status.Epoch > 0 {
			v.Finding = drawFinding(t, v.Status)
		}
		if chance(t, "flip", 20) && len(v.Hosts) > 0 {
			v.Hosts[i%len(v.Hosts)].InContact = answer(t, "flipped")
		}
	}
	return v, now
}

// drawResult draws an outcome; a fence that is done gives its evidence mostly.
func drawResult(t *rapid.T, step fleet.Step, now time.Time) decide.Result {
	switch pick(t, "outcome", fleet.StepDone, fleet.StepDone, fleet.StepDone, fleet.StepFailed, fleet.StepUnknown) {
	case fleet.StepFailed:
		return decide.Result{State: fleet.StepFailed, Class: pick(t, "class", "retry", "capacity", "notFound", "conflict", "refused", "permanent"), Error: "it failed"}
	case fleet.StepUnknown:
		return decide.Result{State: fleet.StepUnknown, Class: "retry", Error: "no reply"}
	}
	e := fleet.Evidence{Server: step.Server, Epoch: step.Epoch, At: now, Volume: step.Object.Volume, Host: step.Host}
	switch step.Kind {
	case fleet.StepStop:
		e.Method = pick(t, "stopped as", fleet.Reaped, fleet.Stopped)
	case fleet.StepSeal:
		e.Method = fleet.Sealed
		if step.Via == "" {
			e.Method = fleet.InitiatorRemoved
		}
	case fleet.StepPowerOff:
		e.Method = fleet.PoweredOff
	}
	if e.Method == "" || chance(t, "no evidence", 10) {
		return decide.Result{State: fleet.StepDone}
	}
	return decide.Result{State: fleet.StepDone, Evidence: []fleet.Evidence{e}}
}
