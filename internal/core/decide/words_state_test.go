package decide_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// doStatus sets what is recorded, as of a server about which nothing else is:
// status epoch=N host=H [phase=…] [message=…] [verified] [neverWritten] [recorded=VERDICT:AGE].
// Without phase, a server with an epoch is running.
func (s *story) doStatus(a args) error {
	s.v.Status = fleet.Status{}
	st := &s.v.Status
	st.Server, st.Epoch, st.Host = s.v.Server.Name, epochOf(a, "epoch"), a.Get("host", "")
	st.Phase = fleet.PhaseRunning
	if st.Epoch == 0 {
		st.Phase = fleet.PhaseNew
	}
	st.Phase = fleet.Phase(a.Get("phase", string(st.Phase)))
	st.Message = a.Get("message", "")
	st.SetBack = a.Has("setBack")
	st.LaunchedAt = s.now.Add(-time.Hour)
	if st.Epoch > 0 && !a.Has("neverWritten") {
		st.Written = decide.Written(nil, s.v.Server, 1)
	}
	if a.Has("verified") {
		st.VerifiedAt = s.now.Add(-time.Hour)
	}
	if verdict, age, ok := strings.Cut(a.Get("recorded", ""), ":"); ok {
		st.Verdict, st.VerdictSince = fleet.Verdict(verdict), s.now.Add(-a.Length(age))
		st.AilingSince = decide.Ailing(*st, st.Verdict, st.VerdictSince)
	}
	return nil
}

// doAttempt adds a try of the ladder: attempt RUNG AGE [healed].
func (s *story) doAttempt(a args) error {
	s.v.Status.Attempts = append(s.v.Status.Attempts, fleet.Attempt{
		Rung: fleet.Rung(a.At(0)), At: s.now.Add(-a.Length(a.At(1))), Healed: a.Has("healed"),
	})
	return nil
}

// doEvidence stores evidence: evidence METHOD epoch=N [AGE] volume= host= by= server=.
func (s *story) doEvidence(a args) error {
	s.v.Status.Evidence = append(s.v.Status.Evidence, fleet.Evidence{
		Method: fleet.Method(a.At(0)), Server: a.Get("server", s.v.Server.Name), Epoch: epochOf(a, "epoch"),
		Volume: a.Get("volume", ""), Host: a.Get("host", ""), By: a.Get("by", "somebody"), At: s.ago(a, 1),
	})
	return nil
}

// ago returns the time that the ith word gives as an age; now without it.
func (s *story) ago(a args, i int) time.Time {
	if a.At(i) == "" {
		return s.now
	}
	return s.now.Add(-a.Length(a.At(i)))
}

// doFinding sets the verdict: finding VERDICT AGE "reason" [works=AGE] [alive=AGE]
// [look=IN]. works and alive add a yes to that question that was seen AGE ago.
func (s *story) doFinding(a args) error {
	verdict := fleet.Verdict(a.At(0))
	if a.At(0) == "unknown" {
		verdict = fleet.Unknown
	}
	s.v.Finding = fleet.Finding{Verdict: verdict, Since: s.ago(a, 1), Reason: a.At(2), Cause: a.Get("cause", "server "+s.v.Server.Name)}
	for _, q := range []fleet.Question{fleet.Alive, fleet.Works} {
		if age, ok := a.Pairs[string(q)]; ok {
			at := s.now.Add(-a.Length(age))
			s.v.Finding.Evidence = append(s.v.Finding.Evidence, fleet.Signal{
				Source: fleet.Source{Channel: fleet.ChannelApp, Vantage: s.v.Status.Host}, Question: q, Answer: fleet.Yes,
				Epoch: s.v.Status.Epoch, At: at, Since: at,
			})
		}
	}
	if look, ok := a.Pairs["look"]; ok {
		s.v.Finding.LookAgainAt = s.now.Add(a.Length(look))
	}
	return nil
}

// doObserved begins a new look at the resources, in which nothing is seen yet:
// observed complete|incomplete.
func (s *story) doObserved(a args) error {
	s.v.Observed = fleet.Observed{Server: s.v.Server.Name, At: s.now, Complete: a.At(0) != "incomplete"}
	return nil
}

// doInstance adds what is seen of an instance: instance epoch=N host=H STATE [AGE].
func (s *story) doInstance(a args) error {
	at := s.ago(a, 1)
	s.v.Observed.Instances = append(s.v.Observed.Instances, fleet.Instance{
		Server: s.v.Server.Name, Epoch: epochOf(a, "epoch"), Host: a.Get("host", ""), State: fleet.InstanceState(a.At(0)), At: at, Since: at,
	})
	return nil
}

// doVolume adds what is seen of a volume: volume NAME epoch=N sealed=N holder=N
// host=H held=yes|no [fresh].
func (s *story) doVolume(a args) error {
	held := map[string]fleet.Answer{"yes": fleet.Yes, "no": fleet.No}[a.Get("held", "")]
	s.v.Observed.Volumes = append(s.v.Observed.Volumes, fleet.VolumeState{
		Volume: a.At(0), Epoch: epochOf(a, "epoch"), Sealed: epochOf(a, "sealed"), Holder: epochOf(a, "holder"), Host: a.Get("host", ""), Held: held, Fresh: a.Has("fresh"), At: s.now,
	})
	return nil
}

// doAddress adds what is seen of an address: address IP holder=N host=H rival=MAC.
func (s *story) doAddress(a args) error {
	s.v.Observed.Addresses = append(s.v.Observed.Addresses, fleet.AddressState{IP: a.At(0), Holder: epochOf(a, "holder"), Host: a.Get("host", ""), Rival: a.Get("rival", ""), At: s.now})
	return nil
}

// doMode sets the only modes that hold: mode SCOPE MODE [by=].
func (s *story) doMode(a args) error {
	s.v.Guards.Modes = append(s.v.Guards.Modes, fleet.ModeSetting{Scope: a.At(0), Mode: fleet.Mode(a.At(1)), By: a.Get("by", "")})
	return nil
}

// doFreeze freezes the fleet: freeze by= reason=.
func (s *story) doFreeze(a args) error {
	s.v.Guards.Freeze = &fleet.Freeze{By: a.Get("by", "kim"), Reason: a.Get("reason", "no reason"), At: s.now}
	return nil
}

// doPause pauses a server: pause SERVER by= reason=.
func (s *story) doPause(a args) error {
	s.v.Guards.Pauses = append(s.v.Guards.Pauses, fleet.Pause{Server: a.At(0), By: a.Get("by", "kim"), Reason: a.Get("reason", "no reason"), At: s.now})
	return nil
}

// doWindow adds a maintenance window: window SCOPE from=IN until=IN owner= reason=;
// from and until count from now, and may be negative.
func (s *story) doWindow(a args) error {
	s.v.Guards.Windows = append(s.v.Guards.Windows, fleet.Maintenance{
		ID: "mw-" + strconv.Itoa(len(s.v.Guards.Windows)+1), Scope: a.At(0), Owner: a.Get("owner", "lee"), Reason: a.Get("reason", "new switch"),
		From: s.now.Add(a.Duration("from", -time.Minute)), Until: s.now.Add(a.Duration("until", time.Hour)),
	})
	return nil
}

// doApprove adds an answer to the plan that would run now: approve|deny by=
// [rung=RUNG] [epoch=N] [until=IN] [reason=]. Without rung it is for the plan
// that the last decision asked for.
func (s *story) doApprove(a args) error {
	plan := ""
	if s.last.Hold != nil {
		plan = s.last.Hold.Plan
	}
	if r, ok := a.Pairs["rung"]; ok {
		plan = decide.PlanHash(s.v, fleet.Rung(r))
	}
	epoch := s.v.Status.Epoch
	if _, ok := a.Pairs["epoch"]; ok {
		epoch = epochOf(a, "epoch")
	}
	s.v.Guards.Approvals = append(s.v.Guards.Approvals, fleet.Approval{
		ID: "ap-" + strconv.Itoa(len(s.v.Guards.Approvals)+1), Server: s.v.Server.Name, Epoch: epoch, Plan: plan, By: a.Get("by", "kim"),
		Denied: a.Word == "deny", Reason: a.Get("reason", ""), At: s.now, Until: s.now.Add(a.Duration("until", time.Hour)),
	})
	return nil
}

// doClear ends guards: clear freeze|pauses|windows|approvals|modes|around|storm|neighbours|request.
func (s *story) doClear(a args) error {
	g := &s.v.Guards
	switch a.At(0) {
	case "freeze":
		g.Freeze = nil
	case "pauses":
		g.Pauses = nil
	case "windows":
		g.Windows = nil
	case "approvals":
		g.Approvals = nil
	case "modes":
		g.Modes = nil
	case "around":
		s.v.Around.Domains = nil
	case "storm":
		s.v.Around.Storm = nil
	case "neighbours":
		for i := range s.v.Hosts {
			s.v.Hosts[i].Neighbours = nil
		}
	case "request":
		s.v.Request = nil
	default:
		return fmt.Errorf("cannot clear %q", a.At(0))
	}
	return nil
}

// doLease sets how long our lease lasts from now: lease IN.
func (s *story) doLease(a args) error {
	s.v.Guards.Authority.Until = s.now.Add(a.Length(a.At(0)))
	return nil
}

// doStore sets why the store takes no writes: store "reason".
func (s *story) doStore(a args) error {
	s.v.Guards.StoreTrouble = a.At(0)
	return nil
}

// doAround adds a domain: around NAME total= healthy= down= keep= steps= window=
// begun=AGE,… waiting=PRIORITY,… waits=AGE claims=PRIORITY:UNITS,…; waiting may be written PRIORITY:AGE, and
// waits is since when this server waits itself.
func (s *story) doAround(a args) error {
	d := fleet.Domain{
		Name: a.At(0), Total: a.Number("total", 0), Healthy: a.Number("healthy", 0), Down: a.Number("down", 0),
		Budget: fleet.Budget{KeepAlive: a.Number("keep", 0), Steps: a.Number("steps", 0), Window: fleet.Duration(a.Duration("window", 0))},
	}
	for _, age := range a.List("begun") {
		d.Begun = append(d.Begun, fleet.Begun{At: s.now.Add(-a.Length(age)), Count: 1})
	}
	for _, p := range a.List("waiting") {
		p, age, _ := strings.Cut(p, ":")
		n, err := strconv.Atoi(p)
		if err != nil {
			return err
		}
		w := fleet.Waiting{Priority: n, Servers: 1, Since: s.now}
		if age != "" {
			w.Since = s.now.Add(-a.Length(age))
		}
		d.Waiting = append(d.Waiting, w)
	}
	for _, c := range a.List("claims") {
		var claim fleet.Claim
		if _, err := fmt.Sscanf(c, "%d:%d", &claim.Priority, &claim.Units); err != nil {
			return err
		}
		d.Claims = append(d.Claims, claim)
	}
	if age := a.Get("waits", ""); age != "" {
		d.Waits = s.now.Add(-a.Length(age))
	}
	s.v.Around.Domains = append(s.v.Around.Domains, d)
	return nil
}

// doStorm sets the storm classifier's finding: storm "cause" "reason".
func (s *story) doStorm(a args) error {
	s.v.Around.Storm = &fleet.Trouble{Cause: a.At(0), Reason: a.At(1)}
	return nil
}

// doRequest sets a person's wish: request RUNG|any by= [to=SITE] [reason=]; with host=
// it is a planned move to that host, of the rung that this amounts to, and with snapshot
// one that has the arrays keep the LUNs first.
func (s *story) doRequest(a args) error {
	rung := fleet.Rung(a.At(0))
	if rung == "any" {
		rung = ""
	}
	host := a.Get("host", "")
	if host != "" {
		rung = decide.MoveRung(s.v, host)
	}
	s.v.Request = &fleet.Request{
		Server: s.v.Server.Name, Epoch: s.v.Status.Epoch, Rung: rung, To: a.Get("to", ""), Host: host, Snapshot: a.Has("snapshot"), By: a.Get("by", "ana"), Reason: a.Get("reason", "a new kernel"), At: s.now,
	}
	return nil
}

// doNeeds sets the only server that this one needs: needs NAME VERDICT within=TIME
// [phase=new|…] [recovering] [held=WHY].
func (s *story) doNeeds(a args) error {
	verdict := fleet.Verdict(a.At(1))
	if verdict == "unknown" {
		verdict = fleet.Unknown
	}
	phase := fleet.Phase(a.Get("phase", string(fleet.PhaseRunning)))
	if phase == "new" {
		phase = fleet.PhaseNew
	}
	s.v.After = []decide.Predecessor{{
		Server: a.At(0), Verdict: verdict, Phase: phase, Recovering: a.Has("recovering"),
		Held: a.Get("held", ""), Within: a.Duration("within", 0),
	}}
	return nil
}

// doWatching prints the replaced epochs that are looked for.
func (s *story) doWatching(args) error {
	list := decide.Watching(s.v)
	for _, w := range list {
		s.printf("%s", w)
	}
	if len(list) == 0 {
		s.printf("watching for none")
	}
	return nil
}

// doDrill prints whether the server may be drilled now.
func (s *story) doDrill(args) error {
	why, _ := decide.NoDrill(s.v, s.now)
	if why == "" {
		why = "may be drilled"
	}
	s.printf("%s", why)
	return nil
}

// doDecide makes a decision, prints it, and journals its step as the heal loop does.
func (s *story) doDecide(args) error { return s.decide() }

// doWhy prints the decision with all gates and candidates and changes nothing.
func (s *story) doWhy(args) error {
	s.why()
	return nil
}

// doShow prints the recorded status.
func (s *story) doShow(args) error {
	s.status()
	return nil
}

// doPlan prints what would be done if each step did what it should.
func (s *story) doPlan(args) error {
	ahead := decide.Foresee(s.v, s.now, 12)
	for _, step := range ahead.Steps {
		s.printf("would %s", s.describe(step))
	}
	s.printf("epoch %d, %d candidates", ahead.Epoch, len(ahead.Candidates))
	return nil
}

// doDone reports the effect of the step in hand, with the evidence that such a
// step gives: a seal, a power-off, and a stop by our own agent, which reaps.
// "done nothing" gives none.
func (s *story) doDone(a args) error {
	last := s.last.Step
	if last == nil {
		return fmt.Errorf("no step is in hand")
	}
	e := fleet.Evidence{Server: last.Server, Epoch: last.Epoch, By: "the agent of " + orNone(last.Via+last.Host), At: s.now}
	switch {
	case a.Has("nothing"):
	case last.Kind == fleet.StepSeal && last.Via == "":
		e.Method, e.Volume, e.By, e.Detail = fleet.InitiatorRemoved, last.Object.Volume, "array san-1", "initiator out of the map, login refused, map closed, no session listed"
	case last.Kind == fleet.StepSeal:
		e.Method, e.Volume, e.By = fleet.Sealed, last.Object.Volume, "the agent of "+last.Via
	case last.Kind == fleet.StepPowerOff:
		e.Method, e.Host, e.By = fleet.PoweredOff, last.Host, "its power device"
	case last.Kind == fleet.StepStop && (s.v.Traits.AppIsInstance || s.v.Server.Spec.Template.VM != nil):
		e.Method, e.By = fleet.Reaped, "the agent of "+last.Host
	}
	res := decide.Result{State: fleet.StepDone}
	for _, v := range s.v.Server.Spec.Identity.Volumes {
		if e.Method == fleet.InitiatorRemoved && v.OnArray() { // an array speaks of all that it has
			e.Volume = v.Name
			res.Evidence = append(res.Evidence, e)
		}
	}
	if e.Method != "" && len(res.Evidence) == 0 {
		res.Evidence = []fleet.Evidence{e}
	}
	s.v.Status = decide.Record(s.v.Status, *last, res, s.now)
	return nil
}

// doFailed reports that the step in hand had no effect (failed) or that no answer
// came (unknown), or that nobody could be asked: failed [away] class= error=.
func (s *story) doFailed(a args) error {
	if s.last.Step == nil {
		return fmt.Errorf("no step is in hand")
	}
	res := decide.Result{State: fleet.StepFailed, Class: a.Get("class", "retry"), Error: a.Get("error", "it failed"), Away: a.Has("away")}
	if a.Word == "unknown" {
		res.State, res.Error = fleet.StepUnknown, a.Get("error", "no reply")
	}
	s.v.Status = decide.Record(s.v.Status, *s.last.Step, res, s.now)
	return nil
}

// doAfter lets time pass; what was observed is observed again at the new time if
// "seen" is added: after IN [seen].
func (s *story) doAfter(a args) error {
	s.now = s.now.Add(a.Length(a.At(0)))
	if a.Has("seen") {
		s.v.Observed.At = s.now
		for i := range s.v.Observed.Instances {
			s.v.Observed.Instances[i].At = s.now
		}
	}
	return nil
}

// doSurvey prints what surrounds a server: survey hosts=N window= then rows as
// SERVER/HOST/RACK/VERDICT/AGE, one word each; the first row is the server's own.
func (s *story) doSurvey(a args) error {
	var rows []decide.Row
	for _, w := range a.Words {
		f := strings.Split(w, "/")
		if len(f) != 5 {
			return fmt.Errorf("row %q is not SERVER/HOST/RACK/VERDICT/AGE", w)
		}
		v, phase, _ := strings.Cut(f[3], "+")
		if v == "unknown" {
			v = ""
		}
		row := decide.Row{Server: f[0], Sites: []string{f[1], f[2]}, Verdict: fleet.Verdict(v), Phase: fleet.Phase(phase), Cause: "host " + f[1], Since: s.now.Add(-a.Length(f[4]))}
		if row.Verdict == fleet.Unknown {
			row.Cause = "own view"
		}
		if row.Verdict == fleet.Impaired {
			row.Cause = "server " + f[0]
		}
		rows = append(rows, row)
	}
	half := len(rows) / 2
	sum := decide.Add(decide.Survey(rows[:half]), decide.Survey(rows[half:]))
	s.v.Around = decide.Around(sum, rows[0].Sites, decide.Bounds{Storm: fleet.Storm{Hosts: a.Number("hosts", 0), Window: fleet.Duration(a.Duration("window", time.Minute))}})
	for _, d := range s.v.Around.Domains {
		var waiting []int
		for _, w := range d.Waiting {
			waiting = append(waiting, slices.Repeat([]int{w.Priority}, w.Servers)...)
		}
		s.printf("%s: %d total, %d healthy, %d suspect, %d down, %d recovering, waiting %v", d.Name, d.Total, d.Healthy, d.Suspect, d.Down, d.Recovering, waiting)
	}
	if t := s.v.Around.Storm; t != nil {
		s.printf("storm %s: %s", t.Cause, t.Reason)
	} else {
		s.printf("no storm")
	}
	return nil
}
