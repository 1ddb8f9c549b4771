package notify

import (
	"encoding/json"
	"fmt"
	"time"

	"relight/internal/core/event"
)

// The content types of a message.
const (
	TypeSingle = "application/cloudevents+json"
	TypeBatch  = "application/cloudevents-batch+json"
)

// CloudEvent is the envelope of one event, CloudEvents 1.0 in JSON.
type CloudEvent struct {
	SpecVersion string `json:"specversion"`
	// ID names the event within Source; it is the same in every try.
	ID     string `json:"id"`
	Source string `json:"source"`
	// Type is "relight." and the event's kind.
	Type string `json:"type"`
	// Subject is the server, or the host, that the event speaks of.
	Subject string    `json:"subject,omitempty"`
	Time    time.Time `json:"time"`
	// DedupKey is the incident's id, the same from its first event to its last.
	DedupKey        string      `json:"dedupkey,omitempty"`
	DataContentType string      `json:"datacontenttype"`
	Data            event.Event `json:"data"`
}

// Item is an event with its place in the journal.
type Item struct {
	Shard int
	Seq   uint64
	Event event.Event
}

// id names the event for ever. The number in the journal alone would not: a store
// that was restored from a backup counts on from there. It is the id that the API
// gives to the event, too.
func (it Item) id() string {
	return fmt.Sprintf("%d-%02d-%d", it.Event.At.UnixMilli(), it.Shard, it.Seq)
}

// envelop wraps an item for the source.
func envelop(source string, it Item) CloudEvent {
	subject := it.Event.Server
	if subject == "" {
		subject = it.Event.Host
	}
	return CloudEvent{
		SpecVersion: "1.0", ID: it.id(), Source: source,
		Type: "relight." + string(it.Event.Kind), Subject: subject, Time: it.Event.At.UTC(),
		DedupKey: it.Event.Incident, DataContentType: "application/json", Data: it.Event,
	}
}

// encode returns the body of a message and its content type.
func encode(source string, items []Item) (body []byte, contentType string, err error) {
	if len(items) == 1 {
		body, err = json.Marshal(envelop(source, items[0]))
		return body, TypeSingle, err
	}
	batch := make([]CloudEvent, 0, len(items))
	for _, it := range items {
		batch = append(batch, envelop(source, it))
	}
	body, err = json.Marshal(batch)
	return body, TypeBatch, err
}

// Notable reports whether people want to hear of the event: what is wrong, what
// became of it, what waits for them, who changed a guard. The single steps of a
// recovery are for the audit and the UI.
func Notable(e event.Event) bool {
	switch e.Kind {
	case event.IncidentOpened, event.IncidentClosed, event.VerdictChanged, event.RecoveryBegun, event.RecoveryHealed,
		event.RecoveryClimbed, event.RecoveryGaveUp, event.MoveCalledOff, event.Held, event.GuardSet, event.GuardCleared, event.FenceAttested,
		event.HostSilent, event.HostReturned, event.SpareLost, event.SpareRegained, event.DrillBegun, event.DrillEnded, event.ServerDeleted, event.PlatformPlans:
		return true
	default:
		return false
	}
}
