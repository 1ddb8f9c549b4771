package simulate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// Mistake is what is wrong with a scenario's text, and where.
type Mistake struct {
	File string
	Line int
	Text string
	Err  error
}

// Error says it in one line.
func (m *Mistake) Error() string {
	return fmt.Sprintf("%s:%d: %q: %v", m.File, m.Line, m.Text, m.Err)
}

// Unwrap returns the cause.
func (m *Mistake) Unwrap() error { return m.Err }

// eachLine calls take for each line that is not empty and no comment.
func eachLine(file, text string, take func(words []string) error) error {
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := take(words); err != nil {
			return &Mistake{File: file, Line: n + 1, Text: strings.TrimSpace(line), Err: err}
		}
	}
	return nil
}

// ParseWorld reads the world of a scenario. Its lines are those that World prints.
func ParseWorld(file, text string) (Scenario, error) {
	s := Scenario{Seed: 1, Style: Hosts, For: 5 * time.Minute, Controllers: 1, Delays: DefaultDelays()}
	err := eachLine(file, text, func(w []string) error { return s.worldLine(w) })
	return s, err
}

// DefaultDelays are those of small machines nearby.
func DefaultDelays() Delays {
	return Delays{
		Start: Span{time.Second, 2 * time.Second}, App: Span{time.Second, 3 * time.Second},
		Stop: Span{500 * time.Millisecond, 2 * time.Second}, Attach: Span{200 * time.Millisecond, time.Second},
		Call: Span{5 * time.Millisecond, 100 * time.Millisecond}, LockLease: Span{30 * time.Second, 30 * time.Second},
	}
}

func (s *Scenario) worldLine(w []string) error {
	want := func(n int) error {
		if len(w) != n+1 {
			return fmt.Errorf("%s takes %d words, not %d", w[0], n, len(w)-1)
		}
		return nil
	}
	one := func(set func(string) error) error {
		if err := want(1); err != nil {
			return err
		}
		return set(w[1])
	}
	switch w[0] {
	case "seed":
		return one(func(v string) (err error) { s.Seed, err = strconv.ParseUint(v, 10, 64); return err })
	case "style":
		return one(func(v string) error { return s.setStyle(v) })
	case "for":
		return one(func(v string) (err error) { s.For, err = time.ParseDuration(v); return err })
	case "settle":
		return one(func(v string) (err error) { s.Settle, err = time.ParseDuration(v); return err })
	case "controllers":
		return one(func(v string) (err error) { s.Controllers, err = strconv.Atoi(v); return err })
	case "members":
		return one(func(v string) (err error) { s.Members, err = parseMembers(v); return err })
	case "loss":
		return one(func(v string) (err error) { s.Loss, err = parseShare(v); return err })
	case "drift":
		return one(func(v string) (err error) { s.Drift, err = strconv.ParseInt(v, 10, 64); return err })
	case "site":
		return s.siteLine(w[1:])
	case "host":
		return s.hostLine(w[1:])
	case "delay":
		if err := want(2); err != nil {
			return err
		}
		return s.delayLine(w[1], w[2])
	}
	return fmt.Errorf("%q is no line of a world: seed, style, for, settle, controllers, members, loss, drift, site, host, delay", w[0])
}

// parseMembers reads how many members a store has: of an even number, one could be lost
// no sooner than with one less.
func parseMembers(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err == nil && (n < 1 || n > 9 || n%2 == 0) {
		err = fmt.Errorf("a store has 1, 3, 5, 7 or 9 members, not %d", n)
	}
	return n, err
}

func (s *Scenario) setStyle(v string) error {
	if v != string(Hosts) && v != string(Cloud) {
		return fmt.Errorf("style %q: there are hosts and cloud", v)
	}
	s.Style = Style(v)
	return nil
}

func (s *Scenario) siteLine(w []string) error {
	if len(w) != 2 && (len(w) != 4 || w[2] != "in") {
		return fmt.Errorf("a site is: site NAME KIND [in PARENT]")
	}
	site := Site{Name: w[0], Kind: fleet.SiteKind(w[1])}
	if len(w) == 4 {
		site.Parent = w[3]
	}
	s.Sites = append(s.Sites, site)
	return nil
}

func (s *Scenario) hostLine(w []string) error {
	h := Host{Units: 8}
	if len(w) == 0 {
		return fmt.Errorf("a host is: host NAME [in SITE] [units N] [power]")
	}
	h.Name = w[0]
	for i := 1; i < len(w); i++ {
		switch {
		case w[i] == "power":
			h.Power = true
		case w[i] == "in" && i+1 < len(w):
			i++
			h.Parent = w[i]
		case w[i] == "units" && i+1 < len(w):
			i++
			n, err := strconv.Atoi(w[i])
			if err != nil {
				return fmt.Errorf("units: %w", err)
			}
			h.Units = n
		default:
			return fmt.Errorf("%q: a host is: host NAME [in SITE] [units N] [power]", w[i])
		}
	}
	s.Hosts = append(s.Hosts, h)
	return nil
}

// delays lists the names of the delays.
func (d *Delays) named() []struct {
	name string
	span *Span
} {
	return []struct {
		name string
		span *Span
	}{{"start", &d.Start}, {"app", &d.App}, {"stop", &d.Stop}, {"attach", &d.Attach}, {"call", &d.Call}, {"locklease", &d.LockLease}}
}

func (s *Scenario) delayLine(name, text string) error {
	for _, d := range s.Delays.named() {
		if d.name != name {
			continue
		}
		low, high, two := strings.Cut(text, "..")
		var err error
		if d.span.Min, err = time.ParseDuration(low); err != nil {
			return fmt.Errorf("delay: %w", err)
		}
		d.span.Max = d.span.Min
		if two {
			d.span.Max, err = time.ParseDuration(high)
		}
		return err
	}
	return fmt.Errorf("delay %q: there are start, app, stop, attach, call, locklease", name)
}

// World prints the world of the scenario as ParseWorld reads it.
func (s *Scenario) World() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("seed %d", s.Seed)
	line("style %s", s.Style)
	line("for %s", s.For)
	if s.Settle > 0 {
		line("settle %s", s.Settle)
	}
	if s.Controllers != 1 {
		line("controllers %d", s.Controllers)
	}
	if s.Members > 1 {
		line("members %d", s.Members)
	}
	if s.Loss > 0 {
		line("loss %s", shareText(s.Loss))
	}
	if s.Drift > 0 {
		line("drift %d", s.Drift)
	}
	for _, site := range s.Sites {
		line("%s", strings.TrimSuffix(fmt.Sprintf("site %s %s in %s", site.Name, site.Kind, site.Parent), " in "))
	}
	for _, h := range s.Hosts {
		text := "host " + h.Name
		if h.Parent != "" {
			text += " in " + h.Parent
		}
		text += " units " + strconv.Itoa(h.Units)
		if h.Power {
			text += " power"
		}
		line("%s", text)
	}
	defaults := DefaultDelays()
	for i, d := range s.Delays.named() {
		if *d.span != *defaults.named()[i].span {
			line("delay %s %s..%s", d.name, d.span.Min, d.span.Max)
		}
	}
	return b.String()
}

// parseShare reads "30%" or "0.3".
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("a share is written as 30%% or 0.3: %w", err)
	}
	if percent {
		v /= 100
	}
	if v < 0 || v > 1 {
		return 0, fmt.Errorf("share %s is not between 0 and 1", text)
	}
	return v, nil
}

// shareText prints a share so that parseShare reads the very same number.
func shareText(v float64) string {
	text := strconv.FormatFloat(v*100, 'g', 6, 64) + "%"
	if again, err := parseShare(text); err == nil && again == v {
		return text
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// ParseFaults reads faults, one a line, in any order. Each is held against the
// table of kinds; whether its object exists is known only to Run.
func ParseFaults(file, text string) ([]Fault, error) {
	var out []Fault
	err := eachLine(file, text, func(w []string) error {
		f, err := parseFault(w)
		if err != nil {
			return err
		}
		out = append(out, f)
		return nil
	})
	return out, err
}

func parseFault(w []string) (f Fault, err error) {
	const usage = "a fault is: at TIME [for TIME] CLASS OBJECT VERB [ARGUMENT...]"
	if len(w) < 2 || w[0] != "at" {
		return f, errors.New(usage)
	}
	if f.At, err = time.ParseDuration(w[1]); err != nil {
		return f, err
	}
	w = w[2:]
	if len(w) >= 2 && w[0] == "for" {
		if f.For, err = time.ParseDuration(w[1]); err != nil {
			return f, err
		}
		w = w[2:]
	}
	if len(w) < 3 {
		return f, errors.New(usage)
	}
	f.Class, f.Object, f.Verb, f.Args = w[0], w[1], w[2], w[3:]
	k, err := kindOf(f)
	if err != nil {
		return f, err
	}
	if len(f.Args) < k.min || len(f.Args) > k.max {
		return f, fmt.Errorf("it is written: %s", k.usage())
	}
	return f, nil
}

// String prints the fault as ParseFaults reads it.
func (f Fault) String() string {
	text := "at " + f.At.String()
	if f.For > 0 {
		text += " for " + f.For.String()
	}
	return strings.TrimSpace(text + " " + f.Words())
}

// Words prints the fault without its times.
func (f Fault) Words() string {
	return strings.TrimSpace(strings.Join(append([]string{f.Class, f.Object, f.Verb}, f.Args...), " "))
}
