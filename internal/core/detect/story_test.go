package detect_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
	stories "relight/internal/core/story"
)

var update = stories.Flag()

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// story is an input that commands build up and change, with a clock.
type story struct {
	in  detect.Input
	now time.Time
	out strings.Builder
}

func newStory() *story {
	s := &story{now: noon}
	s.in.Server = fleet.Server{Name: "lic-01"}
	h := &s.in.Server.Spec.Health
	h.SuspectAfter, h.DownAfter = fleet.Duration(time.Second), fleet.Duration(3*time.Second)
	h.ImpairedAfter, h.StartupGrace = fleet.Duration(5*time.Second), fleet.Duration(20*time.Second)
	h.Check.HTTP = "/healthz"
	s.in.Server.Spec.OneSource = fleet.OneSourceHold
	s.in.Status = fleet.Status{Server: "lic-01", Epoch: 3, Host: "host-1", LaunchedAt: noon.Add(-time.Hour), VerifiedAt: noon.Add(-time.Hour)}
	s.in.Observer = detect.Observer{Since: noon.Add(-time.Hour), Hosts: 3}
	return s
}

// TestStories runs every file of testdata; the commands are documented at do.
func TestStories(t *testing.T) {
	stories.RunAll(t, "testdata/*.txt", *update, func() stories.Teller { return newStory() })
}

// Do implements stories.Teller.
func (s *story) Do(line string) error { return s.do(line) }

// Told implements stories.Teller.
func (s *story) Told() string {
	defer s.out.Reset()
	return s.out.String()
}

// do carries out one line; times are ages, such as 4s for 4 s ago:
//
//	spec [check=none] [oneSource=fence] [volume=NAME:REACH] [impairedAfter= startupGrace= suspectAfter= downAfter=]
//	status epoch=N host=H launched=AGE [verified=AGE]
//	says CHANNEL@VANTAGE alive|works yes|no|cannot AGE [epoch=N] [since=AGE] [cannotLie] [detail=WORD]
//	host CHANNEL@VANTAGE yes|no|cannot AGE [since=AGE]   the same about the host
//	silence CHANNEL@VANTAGE                              forget the source
//	held VOLUME by=HOST AGE [sealed=N]                   a lock that somebody looked at
//	instance STATE epoch=N AGE
//	evidence METHOD epoch=N AGE [by=WHO]                 what is stored
//	observer since=AGE [stalled=AGE] [stall=LENGTH] hosts=N silent=N [contact=LENGTH heard=AGE deaf=AGE]
//	after LENGTH
//	judge
//
// A source that speaks again is folded with what it said before.
func (s *story) do(line string) error {
	line, _, _ = strings.Cut(line, "#")
	a := args{s: s, pairs: map[string]string{}}
	for _, f := range strings.Fields(line) {
		if k, v, ok := strings.Cut(f, "="); ok {
			a.pairs[k] = v
		} else {
			a.words = append(a.words, f)
		}
	}
	if len(a.words) == 0 {
		return nil
	}
	switch a.words[0] {
	case "spec":
		a.spec()
	case "status":
		s.in.Status = fleet.Status{Server: "lic-01", Epoch: a.epoch("epoch"), Host: a.pairs["host"], LaunchedAt: a.ago(a.pairs["launched"])}
		if v, ok := a.pairs["verified"]; ok {
			s.in.Status.VerifiedAt = a.ago(v)
		}
	case "says":
		s.in.Signals = fold(s.in.Signals, a.signal(fleet.Question(a.word(2)), 3))
	case "host":
		s.in.Host = fold(s.in.Host, a.signal(fleet.Alive, 2))
	case "silence":
		s.in.Signals, s.in.Host = without(s.in.Signals, a.word(1)), without(s.in.Host, a.word(1))
	case "held":
		s.in.Observed.Volumes = append(s.in.Observed.Volumes, fleet.VolumeState{Volume: a.word(1), Host: a.pairs["by"], Held: fleet.Yes, Sealed: a.epoch("sealed"), At: a.ago(a.word(2))})
	case "instance":
		at := a.ago(a.word(2))
		s.in.Observed.Instances = append(s.in.Observed.Instances, fleet.Instance{Epoch: a.epoch("epoch"), Host: "host-1", State: fleet.InstanceState(a.word(1)), At: at, Since: at})
	case "evidence":
		s.in.Status.Evidence = append(s.in.Status.Evidence, fleet.Evidence{Method: fleet.Method(a.word(1)), Server: "lic-01", Epoch: a.epoch("epoch"), At: a.ago(a.word(2)), By: a.pairs["by"]})
	case "observer":
		s.in.Observer = detect.Observer{Since: a.ago(a.pairs["since"]), Hosts: a.number("hosts"), Silent: a.number("silent"), Stall: a.length(a.pairs["stall"])}
		if v, ok := a.pairs["stalled"]; ok {
			s.in.Observer.StalledAt = a.ago(v)
		}
		if v, ok := a.pairs["deaf"]; ok {
			s.in.Observer.DeafAt = a.ago(v)
		}
		if v, ok := a.pairs["heard"]; ok {
			s.in.Observer.Heard = a.ago(v)
		}
		s.in.Observer.Contact = a.length(a.pairs["contact"])
	case "after":
		s.now = s.now.Add(a.length(a.word(1)))
	case "judge":
		s.judge()
	default:
		return fmt.Errorf("unknown command %q", a.words[0])
	}
	return a.err
}

// fold joins a signal with what its source said before.
func fold(list []fleet.Signal, next fleet.Signal) []fleet.Signal {
	for i, prev := range list {
		if prev.Source == next.Source && prev.Question == next.Question {
			list[i] = detect.Fold(prev, next)
			return list
		}
	}
	return append(list, detect.Fold(fleet.Signal{}, next))
}

func without(list []fleet.Signal, source string) []fleet.Signal {
	var out []fleet.Signal
	for _, x := range list {
		if x.Source.String() != source {
			out = append(out, x)
		}
	}
	return out
}

func (s *story) judge() {
	f := detect.Judge(s.in, s.now)
	since := "now"
	if age := s.now.Sub(f.Since); age > 0 {
		since = "for " + age.String()
	}
	fmt.Fprintf(&s.out, "%s %s, cause %s\n  reason: %s\n", f.Verdict, since, f.Cause, f.Reason)
	if f.NeedsPerson {
		fmt.Fprintf(&s.out, "  a person is needed\n")
	}
	if !f.LookAgainAt.IsZero() {
		fmt.Fprintf(&s.out, "  look again in %s\n", f.LookAgainAt.Sub(s.now))
	}
}

// args are one parsed line.
type args struct {
	s     *story
	words []string
	pairs map[string]string
	err   error
}

func (a *args) word(i int) string {
	if i < len(a.words) {
		return a.words[i]
	}
	return ""
}

func (a *args) length(text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		a.err = err
	}
	return d
}

func (a *args) ago(text string) time.Time { return a.s.now.Add(-a.length(text)) }

func (a *args) number(key string) int {
	n, err := strconv.Atoi(a.pairs[key])
	if err != nil && a.pairs[key] != "" {
		a.err = err
	}
	return n
}

func (a *args) epoch(key string) fleet.Epoch { return fleet.Epoch(a.number(key)) }

func (a *args) spec() {
	sp := &a.s.in.Server.Spec
	if a.pairs["check"] == "none" {
		sp.Health.Check = fleet.Check{}
	}
	if v, ok := a.pairs["oneSource"]; ok {
		sp.OneSource = fleet.OneSource(v)
	}
	if v, ok := a.pairs["volume"]; ok {
		name, reach, _ := strings.Cut(v, ":")
		sp.Identity.Volumes = append(sp.Identity.Volumes, fleet.Volume{Name: name, Reach: fleet.Reach(reach)})
	}
	for key, d := range map[string]*fleet.Duration{
		"impairedAfter": &sp.Health.ImpairedAfter, "startupGrace": &sp.Health.StartupGrace, "suspectAfter": &sp.Health.SuspectAfter, "downAfter": &sp.Health.DownAfter,
	} {
		if v, ok := a.pairs[key]; ok {
			*d = fleet.Duration(a.length(v))
		}
	}
}

// signal reads a source, an answer at word i, and its age.
func (a *args) signal(q fleet.Question, i int) fleet.Signal {
	channel, vantage, _ := strings.Cut(a.word(1), "@")
	out := fleet.Signal{
		Source: fleet.Source{Channel: fleet.Channel(channel), Vantage: vantage}, Question: q, Epoch: a.epoch("epoch"),
		Answer: map[string]fleet.Answer{"yes": fleet.Yes, "no": fleet.No}[a.word(i)], At: a.ago(a.word(i + 1)), Detail: a.pairs["detail"],
	}
	if v, ok := a.pairs["since"]; ok {
		out.Since = a.ago(v)
	}
	for _, w := range a.words {
		out.CannotLie = out.CannotLie || w == "cannotLie"
	}
	return out
}
