package decide_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/detect"
	"relight/internal/core/fleet"
)

// loss is what a host has lost, and who else can tell.
type loss struct {
	control, storage, peers bool
	// witnesses is how many other hosts look; with storage they also see heartbeats.
	witnesses int
	// none is true where no host beats on shared storage at all.
	none bool
	// otherLost is true if the other hosts have lost the storage too.
	otherLost bool
}

func (l loss) String() string {
	word := func(lost bool, name string) string {
		if lost {
			return "no " + name
		}
		return name
	}
	storage := word(l.storage, "storage")
	if l.none {
		storage = "no heartbeat there"
	}
	others := fmt.Sprintf("%d witnesses", l.witnesses)
	if l.otherLost {
		others += " without storage"
	}
	return fmt.Sprintf("%-10s  %-18s  %-8s  %s", word(l.control, "control"), storage, word(l.peers, "peers"), others)
}

func answerOf(ok bool) fleet.Answer {
	if ok {
		return fleet.Yes
	}
	return fleet.No
}

// signals are those about the host and about its server, 20 s after the loss.
func (l loss) signals(now time.Time) (host, server []fleet.Signal) {
	lost, began := now.Add(-20*time.Second), now.Add(-time.Hour)
	sig := func(ch fleet.Channel, from string, q fleet.Question, a fleet.Answer) fleet.Signal {
		s := fleet.Signal{Source: fleet.Source{Channel: ch, Vantage: from}, Question: q, Answer: a, At: now, Since: began}
		if a == fleet.No {
			s.Since = lost
		}
		return s
	}
	beat := sig(fleet.ChannelBeat, "controller", fleet.Alive, fleet.Yes)
	if l.control {
		beat.At = lost
	}
	host = append(host, beat)
	own := sig(fleet.ChannelAgent, "host-1", fleet.Alive, fleet.Yes)
	check := sig(fleet.ChannelApp, "host-1", fleet.Works, answerOf(!l.storage)) // it hangs on its disk
	own.Epoch, check.Epoch = 3, 3
	if l.control {
		own.At, check.At, check.Answer, check.Since = lost, lost, fleet.Yes, began
	}
	server = append(server, own, check)
	for n := range l.witnesses {
		seer := fmt.Sprintf("host-%d", n+2)
		host = append(host, sig(fleet.ChannelProbe, seer, fleet.Alive, answerOf(!l.peers)))
		server = append(server, sig(fleet.ChannelProbe, seer, fleet.Alive, answerOf(!l.peers)), sig(fleet.ChannelProbe, seer, fleet.Works, answerOf(!l.peers && !l.storage)))
		if !l.none && !l.otherLost {
			host = append(host, sig(fleet.ChannelStorage, seer, fleet.Alive, answerOf(!l.storage)))
		}
	}
	return host, server
}

// view is what the controller knows of a server on that host.
func (l loss) view(now time.Time) decide.View {
	s := newStory(func(cell) {})
	for _, line := range []string{
		"host host-1 in-contact", "host host-2 in-contact", "host host-3 in-contact", "status epoch=3 host=host-1 verified",
		"server lic-01 rungs=restartApp:3,relaunch:3 isolatedFor=10s", "instance epoch=3 host=host-1 running",
	} {
		if err := s.do(line); err != nil {
			panic(err)
		}
	}
	v := s.v
	v.Server.Spec.Health.SuspectAfter, v.Server.Spec.Health.DownAfter = fleet.Duration(time.Second), fleet.Duration(2*time.Second)
	v.Server.Spec.Health.ImpairedAfter = fleet.Duration(5 * time.Second)
	v.Hosts[0].InContact = answerOf(!l.control)
	if !l.none {
		v.Hosts[0].StorageBeat = answerOf(!l.storage)
		v.Hosts[1].StorageBeat, v.Hosts[2].StorageBeat = answerOf(!l.otherLost), answerOf(!l.otherLost)
	}
	for n := l.witnesses; n < 2; n++ { // a host that does not look is one that is not there
		v.Hosts = v.Hosts[:len(v.Hosts)-1]
	}
	v.Observed.Instances[0].At = now
	if l.control {
		v.Observed.Instances[0].At = now.Add(-20 * time.Second)
	}
	host, server := l.signals(now)
	v.Finding = detect.Judge(detect.Input{
		Server: v.Server, Status: v.Status, Observed: v.Observed, Signals: server, Host: host,
		Observer: detect.Observer{Since: now.Add(-time.Hour), Contact: 3 * time.Second, Hosts: len(v.Hosts)},
	}, now)
	return v
}

// TestHostLoss is the table of all that a host can lose, alone or together, with what
// is said of its server and done about it. Run with -update to write it.
func TestHostLoss(t *testing.T) {
	const path = "testdata/hostloss.golden"
	var b strings.Builder
	for _, control := range []bool{false, true} {
		for _, storage := range []string{"has", "lost", "none", "all"} {
			for _, peers := range []bool{false, true} {
				for witnesses := range 3 {
					l := loss{control: control, storage: storage == "lost" || storage == "all", peers: peers, witnesses: witnesses, none: storage == "none", otherLost: storage == "all"}
					if l.otherLost && witnesses == 0 {
						continue // there is no other
					}
					v := l.view(noon)
					d := decide.Next(v, noon)
					fmt.Fprintf(&b, "%s\n    %s: %s\n", l, v.Finding.Verdict, v.Finding.Reason)
					switch {
					case d.Step != nil:
						fmt.Fprintf(&b, "    %s: %s\n", d.Step.Kind, d.Reason)
					case d.Hold != nil:
						fmt.Fprintf(&b, "    hold %s (person: %v): %s\n", d.Hold.Gate, d.Hold.NeedsPerson, d.Reason)
					default:
						fmt.Fprintf(&b, "    nothing: %s\n", d.Reason)
					}
					l.holds(t, v, d)
				}
			}
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("%s is not what is decided now; look at the difference and run with -update:\n%s", path, b.String())
	}
}

// holds says what must be so of each cell, whatever the words are.
func (l loss) holds(t *testing.T, v decide.View, d decide.Decision) {
	t.Helper()
	serves := !l.storage && !l.peers
	if serves && d.Step != nil && v.Finding.Verdict != fleet.Isolated {
		t.Errorf("%s: it serves, and %s is done", l, d.Step.Kind)
	}
	if l.storage && d.Step != nil && d.Step.Kind == fleet.StepRestartApp {
		t.Errorf("%s: it is started again on the storage that its host has lost", l)
	}
	if l.otherLost && d.Step != nil && !l.control {
		t.Errorf("%s: %s is done though no host has the storage", l, d.Step.Kind)
	}
	if d.Step != nil && d.Step.Kind == fleet.StepSeal {
		for _, h := range v.Hosts {
			if h.Name == d.Step.Via && h.StorageBeat == fleet.No && !l.otherLost {
				t.Errorf("%s: the seal is asked of %s, which has lost the storage", l, d.Step.Via)
			}
		}
	}
	for _, c := range d.Candidates {
		if h := hostOf(&v, c.Host); c.Chosen && h.StorageBeat == fleet.No {
			t.Errorf("%s: %s is chosen without storage", l, c.Host)
		}
	}
}
