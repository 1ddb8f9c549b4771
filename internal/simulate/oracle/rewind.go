package oracle

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/store"
)

// Mark is a moment to which a store may be set back.
type Mark struct {
	at      time.Time
	entries int
	chains  map[string]link
}

// Mark notes what is known now.
func (o *Oracle) Mark() Mark {
	m := Mark{at: o.w.Now(), entries: len(o.ledger.entries), chains: map[string]link{}}
	for shard, last := range o.ledger.chains { // into another map: the order is all one
		m.chains[shard] = last
	}
	return m
}

// Rewound is told that all controllers ended and that the store was set back to a
// moment and holds these records now. What the product recorded since then it cannot
// know; the world remembers it, and so do people of what they attested. Epochs and
// terms must rise above all that was ever seen (S3, S10).
func (o *Oracle) Rewound(m Mark, records []store.Record) {
	l := &o.ledger
	l.entries, l.chains = l.entries[:m.entries:m.entries], m.chains
	clear(l.read)
	clear(l.records)
	for _, r := range records {
		l.records[r.Key] = r.Value
	}
	var reign struct {
		Term fleet.Term `json:"term"`
	}
	if json.Unmarshal(l.records[termKey], &reign) == nil {
		if reign.Term <= l.term {
			o.Violate("S10", "controller", "the store was set back to term %d, and term %d has acted", reign.Term, l.term)
		}
		l.term = reign.Term
	}
	for _, name := range o.names {
		o.forgot(o.servers[name], l.records[statusKeys+name])
	}
	o.due = nil
	clear(o.sent)
	o.begun = slices.DeleteFunc(o.begun, func(b begun) bool { return !b.at.Before(m.at) })
	o.people.rewind(m.at, l.records)
	o.disturbed, o.rewound = o.w.Now(), o.w.Now()
}

// forgot sets a server back to the status that the store holds now.
func (o *Oracle) forgot(s *server, raw []byte) {
	s.status = fleet.Status{}
	if raw != nil && json.Unmarshal(raw, &s.status) != nil {
		o.Violate("S9", s.name, "its status in the store cannot be read")
	}
	s.was, s.held, s.asked, s.wellAt = s.status, told{}, false, time.Time{}
	s.verdict = told{what: s.status.Verdict.String(), at: o.w.Now()}
	s.launch, s.starts = nil, nil
	s.sent.epoch, s.sent.host = 0, ""
	for _, t := range s.live {
		t.verified = t.verified && t.epoch == s.status.Epoch
	}
}

// rewind forgets what was set since then.
func (p *people) rewind(to time.Time, records map[string][]byte) {
	late := func(a Act) bool { return a.At.After(to) }
	p.windows, p.approvals = slices.DeleteFunc(p.windows, late), slices.DeleteFunc(p.approvals, late)
	_, p.frozen = records[freezeKey]
	clear(p.paused)
	clear(p.requester)
	clear(p.goals)
	for key := range records { // each by itself: the order is all one
		if name, ok := strings.CutPrefix(key, pauseKeys); ok {
			p.paused[name] = true
		}
	}
}
