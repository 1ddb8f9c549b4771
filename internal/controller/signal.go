package controller

import (
	"time"

	"relight/internal/core/fleet"
)

// signal is a fleet.Signal in a third of its size: every server has several, and
// the signals of one look share their times, and many servers their sources.
type signal struct {
	about     *topic
	detail    *string // nil for none
	at, since *time.Time
	epoch     fleet.Epoch
	flaps     int32
	answer    fleet.Answer
	cannotLie bool
}

// topic is who speaks of what.
type topic struct {
	Source   fleet.Source
	Question fleet.Question
}

// full returns the signal as the core knows it.
func (s *signal) full() fleet.Signal {
	out := fleet.Signal{
		Source: s.about.Source, Question: s.about.Question, Answer: s.answer, Epoch: s.epoch,
		At: *s.at, Since: *s.since, Flaps: int(s.flaps), CannotLie: s.cannotLie,
	}
	if s.detail != nil {
		out.Detail = *s.detail
	}
	return out
}

// full appends signals as the core knows them.
func full(out []fleet.Signal, list []signal) []fleet.Signal {
	for i := range list {
		out = append(out, list[i].full())
	}
	return out
}

// signal returns s in the small form. What is as it was, or as in the signal
// before, takes no memory.
func (t *shared) signal(was signal, s fleet.Signal) signal {
	out := signal{
		about: was.about, detail: was.detail, at: was.at, since: was.since,
		epoch: s.Epoch, flaps: int32(min(s.Flaps, 1<<30)), answer: s.Answer, cannotLie: s.CannotLie,
	}
	if was.about == nil || was.about.Source != s.Source || was.about.Question != s.Question {
		out.about = t.topic(s)
	}
	if out.at == nil || *out.at != s.At {
		out.at = kept(&t.at, s.At)
	}
	if out.since == nil || *out.since != s.Since {
		out.since = t.at
		if *t.at != s.Since {
			out.since = kept(&t.since, s.Since)
		}
	}
	switch {
	case s.Detail == "":
		out.detail = nil
	case was.detail == nil || *was.detail != s.Detail:
		one := t.name(s.Detail)
		out.detail = &one
	}
	return out
}

func (t *shared) topic(s fleet.Signal) *topic {
	key := topic{Source: s.Source, Question: s.Question}
	one, ok := t.topics[key]
	if !ok {
		if len(t.topics) >= sharedLimit {
			clear(t.topics)
		}
		key.Source.Channel, key.Source.Vantage = fleet.Channel(t.name(string(s.Source.Channel))), t.name(s.Source.Vantage)
		key.Question = fleet.Question(t.name(string(s.Question)))
		one = &key
		t.topics[key] = one
	}
	return one
}

// kept returns the last time if it is the same, or keeps this one in its place.
func kept(last **time.Time, at time.Time) *time.Time {
	if *last == nil || **last != at {
		*last = &at
	}
	return *last
}
