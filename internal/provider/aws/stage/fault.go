package stage

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"relight/internal/world"
)

// Fault is one thing that people have go wrong on a stage. Its times are the account's,
// counted from when it is told.
type Fault struct {
	At, For             time.Duration
	Class, Object, Verb string
	Args                []string
}

const faultUsage = "a fault is: [at TIME] [for TIME] CLASS NAME VERB [ARGUMENT]"

// ParseFault reads a fault, in the words of relight sim as far as an account has them.
func ParseFault(text string) (f Fault, err error) {
	words := strings.Fields(text)
	for _, t := range []struct {
		word string
		into *time.Duration
	}{{"at", &f.At}, {"for", &f.For}} {
		if len(words) < 2 || words[0] != t.word {
			continue
		}
		if *t.into, err = time.ParseDuration(words[1]); err != nil || *t.into < 0 {
			return f, fmt.Errorf("%s %s is no time such as 90s or 2m", t.word, words[1])
		}
		words = words[2:]
	}
	if len(words) < 3 {
		return f, errors.New(faultUsage)
	}
	f.Class, f.Object, f.Verb, f.Args = words[0], words[1], words[2], words[3:]
	_, err = faultKindOf(f)
	return f, err
}

// FaultLanguage describes every fault, one a line, for people.
func FaultLanguage() []string {
	var out []string
	for _, k := range faultKinds() {
		out = append(out, k.usage())
	}
	return out
}

func faultKindOf(f Fault) (faultKind, error) {
	var verbs, classes []string
	for _, k := range faultKinds() {
		if len(classes) == 0 || classes[len(classes)-1] != k.class {
			classes = append(classes, k.class)
		}
		if k.class != f.Class {
			continue
		}
		verbs = append(verbs, k.verb)
		switch {
		case k.verb != f.Verb:
			continue
		case f.For > 0 && !k.lasts:
			return k, fmt.Errorf("%s %s is over at once: it takes no \"for\"", f.Class, f.Verb)
		case len(f.Args) != len(strings.Fields(k.args)):
			return k, fmt.Errorf("it is written: %s", k.usage())
		}
		return k, nil
	}
	if verbs == nil {
		return faultKind{}, fmt.Errorf("class %q is unknown: there are %s", f.Class, strings.Join(classes, ", "))
	}
	return faultKind{}, fmt.Errorf("a fault of class %s is no %q: there are %s", f.Class, f.Verb, strings.Join(verbs, ", "))
}

// Strike has faults happen: each now, or at its time. None happens if one of them cannot
// be, as far as that can be told by now: a server that has no instance yet may have one
// later. missed hears of a fault that came to nothing then.
func (s *Stage) Strike(missed func(Fault, error), faults ...Fault) (err error) {
	s.Do(func(w *world.World) {
		for _, f := range faults {
			if err = s.possible(w, f); err != nil {
				return
			}
		}
		for _, f := range faults {
			now := func() {
				if err := s.strike(w, f); err != nil {
					missed(f, err)
				}
			}
			if f.At == 0 {
				now() // at once: whoever asked looks right after
				continue
			}
			w.After(f.At, now)
		}
	})
	return err
}

// possible says what keeps a fault from happening.
func (s *Stage) possible(w *world.World, f Fault) error {
	k, err := faultKindOf(f)
	if err != nil {
		return err
	}
	if late := f.Class == "server" || strings.HasPrefix(f.Object, ofServer); late && f.At > 0 {
		return nil
	}
	_, err = k.aim(s, w, f)
	return err
}

func (s *Stage) strike(w *world.World, f Fault) error {
	k, err := faultKindOf(f)
	if err != nil {
		return err
	}
	hit, err := k.aim(s, w, f)
	if err != nil {
		return err
	}
	if end := hit(); end != nil && f.For > 0 {
		w.After(f.For, end)
	}
	return nil
}
