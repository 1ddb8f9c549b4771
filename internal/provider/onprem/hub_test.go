package onprem

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider/onprem/link"
)

func TestExpand(t *testing.T) {
	id := fleet.Identity{
		Volumes:   []fleet.Volume{{Name: "data", Path: "/srv/a"}, {Name: "cloud", ID: "vol-1"}},
		Addresses: []fleet.Address{{IP: "192.0.2.7/24"}},
	}
	got, err := expand("--data=${volume:data} --listen=${address:0}:80 $HOME", id)
	if err != nil || got != "--data=/srv/a --listen=192.0.2.7:80 $HOME" {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{"${volume:none}", "${volume:cloud}", "${address:1}", "${address:-1}", "${HOME}"} {
		if got, err := expand(bad, id); err == nil {
			t.Errorf("%s became %q", bad, got)
		}
	}
}

func TestChosenMovesFew(t *testing.T) {
	hosts := []string{"h1", "h2", "h3", "h4", "h5"}
	load := map[string]int{}
	for i := range 500 {
		subject := strings.Repeat("s", i%7) + time.Duration(i).String()
		before := chosen(subject, hosts, 2)
		for _, h := range before {
			load[h]++
		}
		after := chosen(subject, []string{"h1", "h2", "h3", "h4"}, 2)
		for _, h := range before {
			if h != "h5" && !slices.Contains(after, h) {
				t.Fatalf("%s moved from %v to %v though h5 was the one that went", subject, before, after)
			}
		}
	}
	for _, h := range hosts {
		if load[h] < 120 || load[h] > 280 {
			t.Errorf("uneven: %v", load)
		}
	}
	if got := chosen("a", []string{"h1"}, 3); len(got) != 1 {
		t.Errorf("%v of one host", got)
	}
}

// An agent may give no evidence but what its step can show, about nothing but the
// instance that it was told about.
func TestEvidenceIsNotTakenOnTrust(t *testing.T) {
	now := time.Now()
	stop := fleet.Step{Kind: fleet.StepStop, Server: "a", Epoch: 2}
	seal := fleet.Step{Kind: fleet.StepSeal, Server: "a", Epoch: 2, Object: fleet.Object{Volume: "data"}}
	off := fleet.Step{Kind: fleet.StepPowerOff, Server: "a", Epoch: 2, Host: "host-1"}
	reaped := fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 2}
	sealed := fleet.Evidence{Method: fleet.Sealed, Server: "a", Epoch: 2, Volume: "data"}
	dark := fleet.Evidence{Method: fleet.PoweredOff, Server: "a", Epoch: 2, Host: "host-1"}
	with := func(e fleet.Evidence, f func(*fleet.Evidence)) fleet.Evidence { f(&e); return e }
	for name, c := range map[string]struct {
		step     fleet.Step
		e        fleet.Evidence
		replayed bool
		ok       bool
	}{
		"reaped":             {stop, reaped, false, true},
		"reaped, replayed":   {stop, reaped, true, true},
		"sealed":             {seal, sealed, false, true},
		"off":                {off, dark, false, true},
		"off, replayed":      {off, dark, true, false},
		"other server":       {stop, with(reaped, func(e *fleet.Evidence) { e.Server = "b" }), false, false},
		"other epoch":        {stop, with(reaped, func(e *fleet.Evidence) { e.Epoch = 3 }), false, false},
		"other volume":       {seal, with(sealed, func(e *fleet.Evidence) { e.Volume = "logs" }), false, false},
		"other host":         {off, with(dark, func(e *fleet.Evidence) { e.Host = "host-2" }), false, false},
		"sealed by a stop":   {stop, sealed, false, false},
		"reaped by a seal":   {seal, reaped, false, false},
		"attested by agents": {stop, with(reaped, func(e *fleet.Evidence) { e.Method = fleet.Attested }), false, false},
		"terminated":         {stop, with(reaped, func(e *fleet.Evidence) { e.Method = fleet.Terminated }), false, false},
	} {
		c.e.By, c.e.At = "somebody", now.Add(time.Hour)
		got, err := believed(c.step, "host-9", &link.Result{Evidence: []fleet.Evidence{c.e}, Replayed: c.replayed}, now)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, errEvidence) {
			t.Errorf("%s: %v, want taken %v", name, err, c.ok)
		}
		if err == nil && (got[0].By != "the agent of host-9" || !got[0].At.Equal(now)) {
			t.Errorf("%s: by %s at %s; who and when are the hub's to say", name, got[0].By, got[0].At)
		}
	}
}

func TestQueue(t *testing.T) {
	now := time.Now()
	x := newHost(enrol.Host{Name: "host-1"})
	cmd := link.Command{ID: "t1", Step: fleet.Step{Kind: fleet.StepLaunch, Server: "a"}}
	a := x.enqueue(cmd, now.Add(time.Second))
	if b := x.enqueue(cmd, now.Add(2*time.Second)); b != a || a.callers != 2 {
		t.Fatal("two calls with one token are two jobs")
	}
	first := x.hand(nil, now)
	if len(first) != 1 || first[0].Within.Std() != 2*time.Second || !x.may["a"] {
		t.Fatalf("handed %+v", first)
	}
	if again := x.hand([]string{"t1"}, now); len(again) != 0 {
		t.Fatalf("handed out twice: %+v", again)
	}
	if lost := x.hand(nil, now); len(lost) != 1 {
		t.Fatal("a command that got lost is not handed out again")
	}
	if late := x.hand(nil, now.Add(3*time.Second)); len(late) != 0 {
		t.Fatalf("handed out after its time: %+v", late)
	}
	x.leave(a)
	if len(x.doubts) != 0 || len(x.jobs) != 1 {
		t.Fatal("the job went with its first caller")
	}
	x.leave(a)
	if len(x.jobs) != 0 || !x.busyWith("a") {
		t.Fatal("a command that was handed out and given up must leave a doubt")
	}
	if _, waited := x.finish(&link.Result{ID: "t1"}, now); waited || x.busyWith("a") {
		t.Fatal("its late result must end the doubt")
	}
}

func TestChangedNamesWhatIsNews(t *testing.T) {
	before := &link.Report{
		Instances: []link.Instance{{Server: "a", Epoch: 1, State: fleet.InstanceRunning}, {Server: "b", Epoch: 1, State: fleet.InstanceRunning}},
		Checks:    []link.Answer{{Server: "c", Epoch: 1, Works: fleet.Yes, Ago: 5}},
	}
	after := &link.Report{
		Instances: []link.Instance{{Server: "a", Epoch: 1, State: fleet.InstanceReaped}, {Server: "b", Epoch: 1, State: fleet.InstanceRunning, SinceAgo: 9}},
		Checks:    []link.Answer{{Server: "c", Epoch: 1, Works: fleet.No}},
	}
	if got := changed(before, after); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("news of %v, want a and c", got)
	}
	if got := changed(after, after); len(got) != 0 {
		t.Errorf("no news is news of %v", got)
	}
	ping := &link.Report{Pings: []link.HostAnswer{{Host: "h", Alive: fleet.No}}}
	if got := changed(&link.Report{}, ping); !slices.Equal(got, []string{""}) {
		t.Errorf("news of a host is news of %q, want all", got)
	}
}

func TestPeerAddr(t *testing.T) {
	for _, c := range [][3]string{
		{"192.0.2.1:7", "10.0.0.1", "192.0.2.1:7"},
		{"0.0.0.0:7", "10.0.0.1", "10.0.0.1:7"},
		{"[::]:7", "::ffff:10.0.0.1", "10.0.0.1:7"},
		{"", "10.0.0.1", ""},
		{"host:7", "10.0.0.1", ""},
	} {
		if got := peerAddr(c[0], c[1]); got != c[2] {
			t.Errorf("%q from %s is %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
