package controller

import (
	"slices"
	"strings"

	"relight/internal/core/fleet"
)

// shared keeps one copy of what many servers have in common: names of hosts and
// volumes, words, sentences of agents. What comes over the wire is decoded into
// strings of its own for each server.
type shared struct {
	names map[string]string
	lists map[string]*[]string
}

// sharedLimit bounds the tables: what is beyond is merely not shared, and they
// begin anew, so that names which nobody uses any more are not kept for ever.
const sharedLimit = 1 << 16

func newShared() shared {
	return shared{names: map[string]string{}, lists: map[string]*[]string{}}
}

// name returns the one copy of a string.
func (t *shared) name(s string) string {
	if s == "" {
		return ""
	}
	one, ok := t.names[s]
	if !ok {
		if len(t.names) >= sharedLimit {
			clear(t.names)
		}
		one = strings.Clone(s)
		t.names[one] = one
	}
	return one
}

// list returns the one copy of a list of names.
func (t *shared) list(names []string) *[]string {
	key := strings.Join(names, "\x00")
	one, ok := t.lists[key]
	if !ok {
		if len(t.lists) >= sharedLimit {
			clear(t.lists)
		}
		own := slices.Clone(names)
		for i := range own {
			own[i] = t.name(own[i])
		}
		one = &own
		t.lists[key] = one
	}
	return one
}

// signal returns s with its strings shared; those that are as they were need no
// look into the tables.
func (t *shared) signal(was, s fleet.Signal) fleet.Signal {
	if was.Source == s.Source {
		s.Source, s.Question = was.Source, was.Question
	} else {
		s.Source.Channel, s.Source.Vantage = fleet.Channel(t.name(string(s.Source.Channel))), t.name(s.Source.Vantage)
		s.Question = fleet.Question(t.name(string(s.Question)))
	}
	if was.Detail == s.Detail {
		s.Detail = was.Detail
	} else {
		s.Detail = t.name(s.Detail)
	}
	return s
}
