package simulate

import (
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// Story is a scenario in one file, with what it shows and the timeline that is
// expected of it.
type Story struct {
	Name    string
	Comment string
	Scenario
	// Expect is the timeline as Result.Print writes it; empty if none is kept.
	Expect string
}

// The sections of a story's file.
const (
	sectionWorld  = "world"
	sectionSpec   = "spec.yaml"
	sectionFaults = "faults"
	sectionExpect = "expect"
)

// ParseStory reads a story: a comment, then the sections world, spec.yaml, faults
// and expect, each below a line "-- NAME --". Its error says where the mistake is.
func ParseStory(name string, data []byte) (Story, error) {
	archive := txtar.Parse(data)
	s := Story{Name: name, Comment: strings.TrimSpace(string(archive.Comment))}
	text := map[string]string{}
	for _, f := range archive.Files {
		switch f.Name {
		case sectionWorld, sectionSpec, sectionFaults, sectionExpect:
		default:
			return s, fmt.Errorf("%s: section %q is unknown: there are %s, %s, %s and %s", name, f.Name, sectionWorld, sectionSpec, sectionFaults, sectionExpect)
		}
		if _, twice := text[f.Name]; twice {
			return s, fmt.Errorf("%s: section %q is there twice", name, f.Name)
		}
		text[f.Name] = string(f.Data)
	}
	for _, must := range []string{sectionWorld, sectionSpec} {
		if text[must] == "" {
			return s, fmt.Errorf("%s: section %q is missing; see relight sim play --help", name, must)
		}
	}
	var err error
	if s.Scenario, err = ParseWorld(name+"/"+sectionWorld, text[sectionWorld]); err != nil {
		return s, err
	}
	s.Spec, s.Expect = text[sectionSpec], text[sectionExpect]
	s.Faults, err = ParseFaults(name+"/"+sectionFaults, text[sectionFaults])
	return s, err
}

// Format prints the story as ParseStory reads it.
func (s Story) Format() []byte {
	a := txtar.Archive{Comment: []byte(strings.TrimSpace(s.Comment) + "\n")}
	add := func(name, text string) {
		a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(strings.TrimRight(text, "\n") + "\n")})
	}
	add(sectionWorld, s.World())
	add(sectionSpec, s.Spec)
	var faults strings.Builder
	for _, f := range s.Faults {
		fmt.Fprintln(&faults, f)
	}
	add(sectionFaults, faults.String())
	if s.Expect != "" {
		add(sectionExpect, s.Expect)
	}
	return txtar.Format(&a)
}
