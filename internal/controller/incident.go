package controller

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// keepRecoveries bounds the ended recoveries that an incident carries.
const keepRecoveries = 200

// openIncident joins the server to the open incident of the same cause, or opens
// a new one. One dead host is one incident, however many servers it ran.
func openIncident(tx *Tx, status *fleet.Status, f fleet.Finding) {
	if status.Incident != "" {
		if in, ok := TxGet[Incident](tx, kindIncident, status.Incident); ok && in.Closed.IsZero() {
			return
		}
	}
	cause := f.Cause
	if cause == "" {
		cause = "server " + status.Server
	}
	id := openIncidentOf(tx, cause)
	in, ok := TxGet[Incident](tx, kindIncident, id)
	if !ok {
		in = Incident{ID: id, Cause: cause, Opened: tx.Now, Message: f.Reason}
		tx.Emit(event.Event{Kind: event.IncidentOpened, Server: status.Server, Host: status.Host, Incident: id, Verdict: f.Verdict, Message: fmt.Sprintf("%s: %s", cause, f.Reason)})
	}
	in.Servers = with(in.Servers, status.Server)
	in.Open = with(in.Open, status.Server)
	tx.Put(kindIncident, id, in)
	status.Incident = id
}

// openIncidentOf returns the id of the open incident of a cause, or a new one.
// Ids carry the time and the cause's shard, so that two causes of one
// millisecond differ.
func openIncidentOf(tx *Tx, cause string) string {
	for _, key := range tx.order {
		if in, ok := tx.puts[key].(Incident); ok && in.Cause == cause && in.Closed.IsZero() {
			return in.ID
		}
	}
	tx.state.mu.RLock()
	defer tx.state.mu.RUnlock()
	if id, ok := tx.state.open[cause]; ok {
		return id
	}
	base := "INC-" + tx.Now.UTC().Format("20060102-150405.000")
	id, first := base, 2
	if last := &tx.state.named; last.base == base {
		// Whatever began in this moment before has the numbers up to this one: with a
		// zone's servers, to try them all each time takes the square of their number.
		first = last.next
		id = fmt.Sprintf("%s-%d", base, first)
		first++
	}
	for n := first; ; n++ {
		_, stored := tx.state.tables[kindIncident][id]
		_, staged := tx.puts[path(kindIncident, id)]
		if !stored && !staged {
			tx.state.named.base, tx.state.named.next = base, n
			return id
		}
		id = fmt.Sprintf("%s-%d", base, n)
	}
}

// leaveIncident notes that one server's part is over and closes the incident
// with the last one.
func leaveIncident(tx *Tx, before fleet.Status, after *fleet.Status, healed bool) {
	if before.Incident == "" {
		return
	}
	in, ok := TxGet[Incident](tx, kindIncident, before.Incident)
	if !ok {
		after.Incident = ""
		return
	}
	if before.Recovery != nil && len(in.Recoveries) < keepRecoveries {
		in.Recoveries = append(slices.Clone(in.Recoveries), EndedRecovery{Server: before.Server, Recovery: *before.Recovery, Ended: tx.Now, Healed: healed, Epoch: after.Epoch})
	}
	if healed {
		in.Open = slices.DeleteFunc(slices.Clone(in.Open), func(s string) bool { return s == before.Server })
		after.Incident = ""
	}
	if len(in.Open) == 0 && in.Closed.IsZero() {
		in.Closed = tx.Now
		in.Message = fmt.Sprintf("closed after %s, servers verified: %d", in.Closed.Sub(in.Opened).Round(time.Millisecond), len(in.Servers))
		tx.Emit(event.Event{Kind: event.IncidentClosed, Server: before.Server, Incident: in.ID, Message: in.Cause + ": " + in.Message})
	}
	tx.Put(kindIncident, in.ID, in)
}

func with(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(slices.Clone(list), s)
}
