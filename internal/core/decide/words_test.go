package decide_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	stories "relight/internal/core/story"
)

// do carries out one line. A line is a word followed by arguments: key=value,
// bare words, and "quoted text"; a quoted value may follow key= too. Times are
// given as ages (4s means 4 s ago) unless the word says otherwise. Each command
// is documented at its function.
func (s *story) do(line string) error {
	a, err := stories.Parse(line)
	if err != nil || a.Word == "" {
		return err
	}
	commands := map[string]func(args) error{
		"server": s.doServer, "traits": s.doTraits, "host": s.doHost, "neighbour": s.doNeighbour, "status": s.doStatus, "attempt": s.doAttempt,
		"evidence": s.doEvidence, "finding": s.doFinding, "observed": s.doObserved, "instance": s.doInstance,
		"volume": s.doVolume, "address": s.doAddress, "mode": s.doMode, "freeze": s.doFreeze, "pause": s.doPause,
		"window": s.doWindow, "approve": s.doApprove, "deny": s.doApprove, "clear": s.doClear, "lease": s.doLease,
		"store": s.doStore, "around": s.doAround, "storm": s.doStorm, "request": s.doRequest, "needs": s.doNeeds, "drill": s.doDrill, "watching": s.doWatching,
		"decide": s.doDecide, "why": s.doWhy, "show": s.doShow, "plan": s.doPlan, "survey": s.doSurvey,
		"done": s.doDone, "failed": s.doFailed, "unknown": s.doFailed, "after": s.doAfter,
	}
	do, ok := commands[a.Word]
	if !ok {
		return fmt.Errorf("unknown command %q", a.Word)
	}
	if err := do(a); err != nil {
		return fmt.Errorf("%s: %w", a.Word, err)
	}
	return a.Err()
}

// args are one parsed line.
type args = stories.Args

func epochOf(a args, key string) fleet.Epoch { return fleet.Epoch(a.Number(key, 0)) }

// doServer sets the spec; keys that are left out keep their value:
//
//	server NAME volumes=NAME:REACH[:GiB],… addresses=IP,… rungs=RUNG:TRIES,… window= backoff=
//	  maxBackoff= verifyWithin= isolatedFor= fence=storage|power approvals=N priority=N
//	  sites=A,B apart=LABEL labels=K:V units=N stopGrace= quiesce= check=URL [vm]
//
// Volumes of reach zone get a provider's ID, those of reach array a LUN of san-1, all
// others a path.
func (s *story) doServer(a args) error {
	sp := &s.v.Server.Spec
	sp.Health.Check.HTTP = a.Get("check", sp.Health.Check.HTTP)
	if n := a.At(0); n != "" {
		s.v.Server.Name, s.v.Status.Server, s.v.Observed.Server = n, n, n
	}
	if _, ok := a.Pairs["volumes"]; ok {
		sp.Identity.Volumes = nil
		for _, v := range a.List("volumes") {
			name, reach, _ := strings.Cut(v, ":")
			reach, size, _ := strings.Cut(reach, ":")
			vol := fleet.Volume{Name: name, Reach: fleet.Reach(reach), Path: "/srv/" + name}
			if vol.Reach == fleet.ReachZone {
				vol.Path, vol.ID = "", "vol-"+name
			}
			if vol.OnArray() {
				gib, _ := strconv.Atoi(size)
				vol.Path, vol.LUN = "", &fleet.LUN{Array: "san-1", Name: s.v.Server.Name + "-" + name, Unit: len(sp.Identity.Volumes) + 1, Size: gib}
			}
			sp.Identity.Volumes = append(sp.Identity.Volumes, vol)
		}
	}
	if _, ok := a.Pairs["addresses"]; ok {
		sp.Identity.Addresses = nil
		for _, ip := range a.List("addresses") {
			sp.Identity.Addresses = append(sp.Identity.Addresses, fleet.Address{IP: ip})
		}
	}
	if _, ok := a.Pairs["rungs"]; ok {
		sp.Ladder.Rungs = nil
		for _, r := range a.List("rungs") {
			name, tries, _ := strings.Cut(r, ":")
			n, err := strconv.Atoi(tries)
			if err != nil {
				return err
			}
			sp.Ladder.Rungs = append(sp.Ladder.Rungs, fleet.RungSpec{Rung: fleet.Rung(name), Tries: n})
		}
	}
	for key, d := range map[string]*fleet.Duration{
		"window": &sp.Ladder.Window, "backoff": &sp.Ladder.BackOff, "maxBackoff": &sp.Ladder.MaxBackOff,
		"verifyWithin": &sp.Ladder.VerifyWithin, "isolatedFor": &sp.IsolatedFor,
	} {
		*d = fleet.Duration(a.Duration(key, d.Std()))
	}
	if a.Has("vm") {
		sp.Template = fleet.Template{VM: &fleet.VMTemplate{Boot: fleet.BootKernel, Kernel: "/boot/vmlinuz", StopGrace: fleet.Duration(30 * time.Second)}}
		s.v.Traits = s.v.Traits.For(s.v.Server)
	} else if _, ok := a.Pairs["stopGrace"]; ok {
		sp.Template.Process = &fleet.ProcessTemplate{StopGrace: fleet.Duration(a.Duration("stopGrace", 0))}
	}
	if _, ok := a.Pairs["quiesce"]; ok {
		sp.Quiesce = &fleet.Quiesce{Command: []string{"/usr/local/bin/flush"}, Within: fleet.Duration(a.Duration("quiesce", 0)), OnFailure: fleet.QuiesceRefuse}
	}
	sp.Fence = fleet.FenceDemand(a.Get("fence", string(sp.Fence)))
	sp.Approvals, sp.Priority = a.Number("approvals", sp.Approvals), a.Number("priority", sp.Priority)
	sp.Placement.Units = a.Number("units", sp.Placement.Units)
	if v := a.List("sites"); v != nil {
		sp.Placement.Sites = v
	}
	if v := a.List("apart"); v != nil {
		sp.Placement.Apart = v
	}
	for _, l := range a.List("labels") {
		k, v, _ := strings.Cut(l, ":")
		if s.v.Server.Labels == nil {
			s.v.Server.Labels = map[string]string{}
		}
		s.v.Server.Labels[k] = v
	}
	return nil
}

// doTraits sets what the provider can do: "traits onprem" are our host agents
// (a restarted application is a new epoch), "traits cloud" a provider that chooses
// the host, "traits guest" our hosts with machines that can be reset in place.
func (s *story) doTraits(a args) error {
	all := fleet.Rungs()
	known := map[string]fleet.Traits{
		"onprem": {
			Provider: "onprem", Rungs: []fleet.Rung{fleet.RestartApp, fleet.Relaunch, fleet.Move},
			AttachFirst: true, AppIsInstance: true, Seals: true, Places: true,
		},
		"cloud": {Provider: "cloud", Rungs: all},
		"guest": {Provider: "guest", Rungs: all, AttachFirst: true, Seals: true, Places: true},
	}
	t, ok := known[a.At(0)]
	if !ok {
		return fmt.Errorf("unknown traits %q", a.At(0))
	}
	s.v.Traits, s.v.Server.Spec.Provider = t, t.Provider
	return nil
}

// doHost adds a host or changes one; it is in contact unless it is told to be
// silent or unheard:
//
//	host NAME [silent|unheard|in-contact] sites=RACK,ZONE reaches=VOLUME,… units=USED/ALL
//	  power=yes|no apart=LABEL:VALUE closed="reason"
//
// A new host lies in rack-1, zone-a, reaches volume data and has 0/4 units.
func (s *story) doHost(a args) error {
	h := hostOf(&s.v, a.At(0))
	if h == nil {
		s.v.Hosts = append(s.v.Hosts, fleet.Host{
			Name: a.At(0), Sites: []string{"rack-1", "zone-a"}, InContact: fleet.Yes, Units: 4, Reaches: []string{"data"},
		})
		h = &s.v.Hosts[len(s.v.Hosts)-1]
	}
	switch {
	case a.Has("silent"):
		h.InContact = fleet.No
	case a.Has("unheard"):
		h.InContact = fleet.CannotTell
	case a.Has("in-contact"):
		h.InContact = fleet.Yes
	}
	if _, ok := a.Pairs["sites"]; ok {
		h.Sites = a.List("sites")
	}
	if _, ok := a.Pairs["reaches"]; ok {
		h.Reaches = a.List("reaches")
	}
	if u, ok := a.Pairs["units"]; ok {
		if _, err := fmt.Sscanf(u, "%d/%d", &h.UsedUnits, &h.Units); err != nil {
			return err
		}
	}
	h.Power = a.Get("power", map[bool]string{true: "yes"}[h.Power]) == "yes"
	h.Closed = a.Get("closed", h.Closed)
	for _, l := range a.List("apart") {
		h.Apart = append(h.Apart, strings.Replace(l, ":", "=", 1))
	}
	return nil
}

// doNeighbour puts another server on a host, and what is recorded of it there:
//
//	neighbour NAME host=H VERDICT AGE isolatedFor= [recovering=RUNG] [paused=BY]
//	  [mode=MODE] [reaped]
func (s *story) doNeighbour(a args) error {
	host := a.Get("host", "host-1")
	v := decide.View{Server: fleet.Server{Name: a.At(0)}, Traits: s.v.Traits, Guards: s.v.Guards}
	v.Server.Spec.IsolatedFor = fleet.Duration(a.Duration("isolatedFor", 0))
	verdict := fleet.Verdict(a.At(1))
	if verdict == "unknown" {
		verdict = fleet.Unknown
	}
	v.Status = fleet.Status{Server: a.At(0), Epoch: 2, Host: host, Phase: fleet.PhaseRunning, Verdict: verdict, VerdictSince: s.ago(a, 2)}
	if rung := a.Get("recovering", ""); rung != "" {
		v.Status.Recovery = &fleet.Recovery{Rung: fleet.Rung(rung), From: 2, FromHost: host}
	}
	if a.Has("reaped") {
		v.Status.Evidence = []fleet.Evidence{{Method: fleet.Reaped, Server: a.At(0), Epoch: 2, At: s.now}}
	}
	if by := a.Get("paused", ""); by != "" {
		v.Guards.Pauses = []fleet.Pause{{Server: a.At(0), By: by, Reason: "I look at it"}}
	}
	if mode := a.Get("mode", ""); mode != "" {
		v.Guards.Modes = []fleet.ModeSetting{{Scope: "server " + a.At(0), Mode: fleet.Mode(mode)}}
	}
	for i := range s.v.Hosts {
		if n, ok := decide.NeighbourOn(s.v.Hosts[i].Name, v, s.now); ok {
			s.v.Hosts[i].Neighbours = append(s.v.Hosts[i].Neighbours, n)
		}
	}
	return nil
}

func hostOf(v *decide.View, name string) *fleet.Host {
	for i := range v.Hosts {
		if v.Hosts[i].Name == name {
			return &v.Hosts[i]
		}
	}
	return nil
}
