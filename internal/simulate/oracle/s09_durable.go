package oracle

import (
	"bytes"
	"encoding/json"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/store"
)

// S9, durability. Each event that a controller tells its readers is, byte by byte,
// an audit entry that the store has acknowledged, and it tells them in the store's
// order; an act of a person that was acknowledged left an entry by that person in
// the same moment (see act). A controller that has started holds, for each server,
// the status that the store acknowledged last; and at the end of the run the store
// serves exactly the bytes that it acknowledged.
//
// A store of several members may lose any minority of them, with their disks, at any
// moment, and one that loses a majority for a while acknowledges nothing meanwhile; what
// it holds is made of the log of whichever member leads.
//
// Not covered: damaged bytes. The tests of package store hold those.
func (o *Oracle) toldIsDurable(by string, ev event.Event) {
	raw, err := json.Marshal(ev)
	if err != nil {
		o.Violate("S9", by, "an event that was told cannot be encoded: %v", err)
		return
	}
	l := &o.ledger
	for n := l.read[by]; n < len(l.entries); n++ {
		if l.entries[n].raw == string(raw) {
			l.read[by] = n + 1
			return
		}
	}
	o.Violate("S9", by, "it told %s of %q (%s), which the store has not acknowledged, or not in that order", ev.Kind, ev.Server, ev.Message)
}

// Restored is told of what a controller knows of each server when it has started.
func (o *Oracle) Restored(by string, known map[string]fleet.Status) {
	for _, name := range o.names {
		raw, ok := o.ledger.records[statusKeys+name]
		st := known[name]
		if !ok {
			if st.Epoch != 0 || st.Recovery != nil {
				o.Violate("S9", name, "%s started with epoch %d, and the store has no status", by, st.Epoch)
			}
			continue
		}
		again, err := json.Marshal(st)
		if err != nil || !bytes.Equal(again, raw) {
			o.Violate("S9", name, "%s started with another status than the store acknowledged: %s, not %s", by, again, raw)
		}
	}
}

// Ended is told of all that the store serves at the end of the run.
func (o *Oracle) Ended(records []store.Record) {
	l := &o.ledger
	seen := 0
	for _, r := range records {
		have, ok := l.records[r.Key]
		if !ok {
			o.Violate("S9", r.Key, "the store serves it and never acknowledged it")
			continue
		}
		seen++
		if !bytes.Equal(have, r.Value) {
			o.Violate("S9", r.Key, "the store serves other bytes than it acknowledged")
		}
	}
	if seen < len(l.records) {
		o.Violate("S9", "store", "%d of %d records that it acknowledged are gone", len(l.records)-seen, len(l.records))
	}
	o.chainsEnd()
}
