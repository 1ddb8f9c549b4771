package detect_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
)

func pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

func ago(t *rapid.T, label string) time.Time {
	return noon.Add(-pick(t, label, 0, 100*time.Millisecond, 900*time.Millisecond, 1100*time.Millisecond, 3*time.Second, 10*time.Second, time.Hour))
}

// drawSignal draws one of the sources that speak of a server or of its host.
func drawSignal(t *rapid.T, about string) fleet.Signal {
	server := []fleet.Source{
		{Channel: fleet.ChannelAgent, Vantage: "host-1"},
		{Channel: fleet.ChannelProvider, Vantage: "controller"},
		{Channel: fleet.ChannelApp, Vantage: "host-1"},
		{Channel: fleet.ChannelProbe, Vantage: "host-2"},
		{Channel: fleet.ChannelProbe, Vantage: "host-3"},
	}
	host := []fleet.Source{
		{Channel: fleet.ChannelBeat, Vantage: "controller"},
		{Channel: fleet.ChannelStorage, Vantage: "host-2"},
		{Channel: fleet.ChannelStorage, Vantage: "host-3"},
		{Channel: fleet.ChannelProbe, Vantage: "host-2"},
		{Channel: fleet.ChannelKernel, Vantage: "host-2"},
	}
	s := fleet.Signal{
		Question: fleet.Alive, Answer: pick(t, about+" answer", fleet.Yes, fleet.No, fleet.No, fleet.CannotTell),
		Epoch: pick(t, about+" epoch", fleet.Epoch(3), 3, 3, 0, 2), At: ago(t, about+" at"),
	}
	s.Since = s.At.Add(-pick(t, about+" since", 0, 3*time.Second, time.Minute))
	if about == "host" {
		s.Source, s.Epoch = pick(t, "host source", host...), 0
		if s.Source.Channel == fleet.ChannelKernel {
			s.Answer = fleet.Yes // nobody says that a kernel said nothing
		}
		return s
	}
	s.Source = pick(t, "source", server...)
	if s.Source.Channel == fleet.ChannelApp || chance(t, "asks for works", 20) {
		s.Question = fleet.Works
	}
	return s
}

func chance(t *rapid.T, label string, percent int) bool {
	return rapid.IntRange(1, 100).Draw(t, label) <= percent
}

func drawInput(t *rapid.T) detect.Input {
	in := newStory().in
	in.Server.Spec.OneSource = pick(t, "one source", fleet.OneSourceHold, fleet.OneSourceHold, fleet.OneSourceFence)
	for range rapid.IntRange(0, 5).Draw(t, "signals") {
		in.Signals = once(in.Signals, drawSignal(t, "server"))
	}
	for range rapid.IntRange(0, 4).Draw(t, "host signals") {
		in.Host = once(in.Host, drawSignal(t, "host"))
	}
	in.Observer.Silent = rapid.IntRange(0, 3).Draw(t, "silent")
	if chance(t, "stalled", 20) {
		in.Observer.Stall, in.Observer.StalledAt = 5*time.Second, ago(t, "stalled at")
	}
	in.Observer.Contact = pick(t, "contact", 0, time.Second, 3*time.Second)
	if chance(t, "deaf", 20) {
		in.Observer.DeafAt = ago(t, "deaf at")
	}
	if chance(t, "heard of somebody", 50) {
		in.Observer.Heard = ago(t, "heard at")
	}
	if chance(t, "lock", 20) {
		in.Observed.Volumes = []fleet.VolumeState{{Volume: "data", Host: pick(t, "looker", "host-1", "host-2"), Held: fleet.Yes, At: ago(t, "looked")}}
	}
	return in
}

// once keeps one signal of each source and question, as the collector does.
func once(list []fleet.Signal, s fleet.Signal) []fleet.Signal {
	for _, x := range list {
		if x.Source == s.Source && x.Question == s.Question {
			return list
		}
	}
	return append(list, s)
}

// Whoever doubts looks again by himself: a source that speaks once more and says what
// it said before it fell silent brings no news, and may decide all the same (L1).
func TestDoubtLooksAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := detect.Judge(drawInput(t), noon)
		if (f.Verdict == fleet.Suspect || f.Verdict == fleet.Unknown) && !f.LookAgainAt.After(noon) {
			t.Fatalf("%s, looks again at %s: %s", f.Verdict, f.LookAgainAt, f.Reason)
		}
	})
}

func TestOrderOfSignalsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		a := detect.Judge(in, noon)
		if len(in.Signals) > 0 {
			in.Signals = rapid.Permutation(in.Signals).Draw(t, "shuffled")
		}
		if len(in.Host) > 0 {
			in.Host = rapid.Permutation(in.Host).Draw(t, "host shuffled")
		}
		if b := detect.Judge(in, noon); a.Verdict != b.Verdict || a.Reason != b.Reason || !a.Since.Equal(b.Since) || !a.LookAgainAt.Equal(b.LookAgainAt) {
			t.Fatalf("in another order:\n%s %s\n%s %s", a.Verdict, a.Reason, b.Verdict, b.Reason)
		}
	})
}

// fresh reports whether a no is still worth something, by a second opinion: said
// within suspectAfter, or a heartbeat that fell silent since the observer listens.
func fresh(in detect.Input, s fleet.Signal) bool {
	suspect := in.Server.Spec.Health.SuspectAfter.Std()
	if s.Source.Channel == fleet.ChannelBeat {
		return noon.Sub(s.At) > suspect || s.Answer == fleet.No
	}
	return s.Answer == fleet.No && noon.Sub(s.At) <= 3*suspect // a stall stretches it threefold at most
}

// TestDownNeedsTwo is S4: down is said only if two sources that share neither
// channel nor vantage say no, freshly, of this very epoch, or the spec lets one do.
func TestDownNeedsTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		f := detect.Judge(in, noon)
		if f.Reason == "" || f.Cause == "" {
			t.Fatalf("a finding without reason or cause: %+v", f)
		}
		if f.Verdict != fleet.Down {
			return
		}
		if in.Observer.Silent >= in.Observer.Hosts {
			t.Fatal("down, though every host fell silent at once")
		}
		var no []fleet.Signal
		for _, s := range append(slices.Clone(in.Signals), in.Host...) {
			if s.Epoch != 2 && s.Question == fleet.Alive && fresh(in, s) {
				no = append(no, s)
			}
		}
		pair := false
		for i := range no {
			for k := range i {
				pair = pair || no[i].Source.Independent(no[k].Source)
			}
		}
		if !pair && (len(no) == 0 || in.Server.Spec.OneSource != fleet.OneSourceFence) {
			t.Fatalf("down on %d sources: %s", len(no), f.Reason)
		}
	})
}

// TestOldRecordsJustifyNothing is S4: a record of whoever cannot lie, that is older
// than any freshness, never makes a server down that is not so without it.
func TestOldRecordsJustifyNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		without := detect.Judge(in, noon)
		at := noon.Add(-pick(t, "age", 4*time.Second, time.Hour))
		if chance(t, "a signal", 50) {
			in.Signals = append(slices.Clone(in.Signals), fleet.Signal{
				Source: fleet.Source{Channel: fleet.ChannelProvider, Vantage: "cloud"}, Question: fleet.Alive, Answer: fleet.No, Epoch: 3, At: at, Since: at, CannotLie: true,
			})
		} else {
			in.Observed.Instances = []fleet.Instance{{Epoch: 3, Host: "host-1", State: fleet.InstanceStopped, At: at, Since: at}}
		}
		if f := detect.Judge(in, noon); f.Verdict == fleet.Down && without.Verdict != fleet.Down {
			t.Fatalf("it was %s, and a record of %s ago makes it down: %s", without.Verdict, noon.Sub(at), f.Reason)
		}
	})
}

// TestFurtherNoNeverDelays: where down is said, a further witness that says no too
// changes nothing.
func TestFurtherNoNeverDelays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		if detect.Judge(in, noon).Verdict != fleet.Down {
			return
		}
		at := noon.Add(-pick(t, "further", 0, 3*time.Hour))
		more := fleet.Signal{Source: fleet.Source{Channel: pick(t, "channel", fleet.ChannelProbe, fleet.ChannelStorage), Vantage: pick(t, "vantage", "host-9", "controller")}, Question: fleet.Alive, Answer: fleet.No, At: noon, Since: at}
		in.Signals = append(slices.Clone(in.Signals), more)
		if f := detect.Judge(in, noon); f.Verdict != fleet.Down {
			t.Fatalf("one more no, and it is %s: %s", f.Verdict, f.Reason)
		}
	})
}

// TestNeverDownEarly: an observer that began to listen less than suspectAfter ago
// takes no silence for death, whatever it remembers.
func TestNeverDownEarly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Observer.Since = noon.Add(-time.Duration(rapid.IntRange(0, 1000).Draw(t, "listens for")) * time.Millisecond)
		in.Host = slices.DeleteFunc(in.Host, func(s fleet.Signal) bool { return s.Source.Channel == fleet.ChannelBeat && s.Answer == fleet.No })
		f := detect.Judge(in, noon)
		for _, s := range f.Evidence {
			if f.Verdict == fleet.Down && s.Source.Channel == fleet.ChannelBeat && s.Answer == fleet.No {
				t.Fatalf("down by silence, though it listens since %s", noon.Sub(in.Observer.Since))
			}
		}
	})
}

// TestNoDeathWhileNobodyIsHeard: silence that began when the others were heard last
// is no evidence, until they had their time to fall silent too.
func TestNoDeathWhileNobodyIsHeard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Server.Spec.OneSource = pick(t, "this one source", fleet.OneSourceHold, fleet.OneSourceFence)
		in.Observer.Contact = time.Second
		in.Observer.Heard = noon.Add(-time.Duration(rapid.IntRange(0, 999).Draw(t, "heard")) * time.Millisecond)
		for i := range in.Host {
			if in.Host[i].Source.Channel == fleet.ChannelBeat {
				in.Host[i].At = in.Observer.Heard.Add(-time.Duration(rapid.IntRange(0, 500).Draw(t, "before")) * time.Millisecond)
				in.Host[i].Since, in.Host[i].Answer = in.Host[i].At, fleet.Yes
			}
		}
		f := detect.Judge(in, noon)
		for _, s := range f.Evidence {
			if f.Verdict == fleet.Down && s.Source.Channel == fleet.ChannelBeat && s.Answer == fleet.No && s.Epoch == 0 {
				t.Fatalf("down by silence, though nobody was heard for %s: %s", noon.Sub(in.Observer.Heard), f.Reason)
			}
		}
	})
}

// TestAPingKeepsAHostAlive is S4: a host that answered a peer a moment ago is cut
// off and not dead, whatever all others say.
func TestAPingKeepsAHostAlive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Signals = slices.DeleteFunc(in.Signals, func(s fleet.Signal) bool {
			return s.Source.Channel == fleet.ChannelAgent || s.Source.Channel == fleet.ChannelProvider
		})
		in.Host = append(in.Host, fleet.Signal{
			Source: fleet.Source{Channel: fleet.ChannelProbe, Vantage: "host-9"}, Question: fleet.Alive, Answer: fleet.Yes,
			At: noon.Add(-900 * time.Millisecond), Since: noon.Add(-time.Minute),
		})
		if f := detect.Judge(in, noon); f.Verdict == fleet.Down {
			t.Fatalf("down, though host-9 had its answer: %s", f.Reason)
		}
	})
}

// TestAFleetOfOneIsNeverDeaf: with one host its death and the observer's deafness
// look alike, and a doubt would hold its recovery for ever (L1).
func TestAFleetOfOneIsNeverDeaf(t *testing.T) {
	alone := detect.Observer{Contact: time.Second}.Looked(noon, noon.Add(-time.Hour), 1)
	if !alone.DeafAt.IsZero() || !alone.Heard.IsZero() {
		t.Errorf("one host: deaf at %s, heard at %s, want neither", alone.DeafAt, alone.Heard)
	}
	two := detect.Observer{Contact: time.Second}.Looked(noon, noon.Add(-501*time.Millisecond), 2)
	if !two.DeafAt.Equal(noon) {
		t.Error("two hosts were silent for more than half of the contact time, and it is not deaf")
	}
	later := two.Looked(noon.Add(time.Second), noon.Add(time.Second), 2)
	if !later.DeafAt.Equal(noon) {
		t.Errorf("one is heard again: deaf at %s, want the last look without anybody", later.DeafAt)
	}
}

func TestSuspicion(t *testing.T) {
	const s = time.Second
	for _, row := range []struct {
		agree      int
		unwellness float64
		want       time.Duration
	}{
		{0, 1, 9 * s}, {1, 1, 6 * s}, {3, 1, 3 * s}, {9, 1, 3 * s}, {0, 3, 27 * s}, {3, 2, 6 * s}, {0, 0, 9 * s}, {-1, 1, 9 * s},
	} {
		if got := detect.Suspicion(9*s, 3*s, row.agree, 3, row.unwellness); got != row.want {
			t.Errorf("%d agree, unwellness %.0f: %s, want %s", row.agree, row.unwellness, got, row.want)
		}
	}
	if got := detect.Suspicion(9*s, 3*s, 2, 0, 1); got != 9*s {
		t.Errorf("no witness is wanted: %s, want the longest", got)
	}
}

// TestSuspicionIsMonotone: more witnesses never lengthen it, an unwell observer
// never shortens it, and it stays between its bounds.
func TestSuspicionIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shortest := time.Duration(rapid.IntRange(0, 1000).Draw(t, "shortest")) * time.Millisecond
		longest := shortest + time.Duration(rapid.IntRange(0, 9000).Draw(t, "more"))*time.Millisecond
		agree, wanted := rapid.IntRange(0, 5).Draw(t, "agree"), rapid.IntRange(0, 5).Draw(t, "wanted")
		unwell := rapid.Float64Range(0, 3).Draw(t, "unwell")
		d := detect.Suspicion(longest, shortest, agree, wanted, unwell)
		if d > detect.Suspicion(longest, shortest, agree, wanted, unwell+1) {
			t.Fatal("an unwell observer is quicker")
		}
		if wanted > 0 && d < detect.Suspicion(longest, shortest, agree+1, wanted, unwell) {
			t.Fatal("one more witness makes it slower")
		}
		if well := detect.Suspicion(longest, shortest, agree, wanted, 1); well < shortest || well > longest {
			t.Fatalf("%s is not between %s and %s", well, shortest, longest)
		}
	})
}
