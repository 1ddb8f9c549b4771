package controller

import (
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// shared keeps one copy of what many servers have in common: names of hosts and
// volumes, words, sentences of agents. What comes over the wire is decoded into
// strings of its own for each server.
type shared struct {
	names  map[string]string
	lists  map[string]*[]string
	topics map[topic]*topic
	// at and since are the last two times that were kept: the signals of one look
	// have most of them in common.
	at, since *time.Time
}

// sharedLimit bounds the tables: what is beyond is merely not shared, and they
// begin anew, so that names which nobody uses any more are not kept for ever.
const sharedLimit = 1 << 16

func newShared() shared {
	return shared{names: map[string]string{}, lists: map[string]*[]string{}, topics: map[topic]*topic{}}
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

// status returns s with the strings that it has from the store shared; it is not
// handed out yet.
func (t *shared) status(s fleet.Status) fleet.Status {
	s.Phase, s.Host, s.Verdict = fleet.Phase(t.name(string(s.Phase))), t.name(s.Host), fleet.Verdict(t.name(string(s.Verdict)))
	for i := range s.Attempts {
		s.Attempts[i].Rung = fleet.Rung(t.name(string(s.Attempts[i].Rung)))
	}
	for i := range s.Evidence {
		e := &s.Evidence[i]
		e.Server, e.Method, e.By, e.Volume = s.Server, fleet.Method(t.name(string(e.Method))), t.name(e.By), t.name(e.Volume)
	}
	return s
}
