package client

import (
	"encoding/json"
	"time"

	"relight/internal/core/event"
)

// EventRecord is an event with its place in the record.
type EventRecord struct {
	// ID is the cursor of this event: opaque, and in the order of the record.
	ID    string      `json:"id"`
	Event event.Event `json:"event"`
}

// EventQuery narrows events. Zero fields do not narrow.
type EventQuery struct {
	// After is the ID after which to start.
	After string
	// Since leaves out what is older.
	Since    time.Time
	Server   string
	Incident string
	// Limit is the most events of a page; 0 leaves it to the engine.
	Limit int
}

// AuditReport is the outcome of a check of the whole audit record.
type AuditReport struct {
	OK     bool         `json:"ok"`
	At     time.Time    `json:"at"`
	Shards []AuditShard `json:"shards"`
}

// AuditShard is the outcome for one shard's hash chain.
type AuditShard struct {
	Shard   int    `json:"shard"`
	Entries uint64 `json:"entries"`
	// Head is the hash of the last entry.
	Head string `json:"head"`
	OK   bool   `json:"ok"`
	// BrokenAt is the first entry that does not verify; Reason says why.
	BrokenAt uint64 `json:"brokenAt,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// AuditQuery asks for entries of one shard's chain.
type AuditQuery struct {
	Shard int
	// After is the number after which to start.
	After uint64
	Limit int
}

// AuditEntry is one link of a shard's hash chain. Body is the exact bytes that
// were hashed, so that anybody can check the chain without this program.
type AuditEntry struct {
	Shard  int             `json:"shard"`
	Number uint64          `json:"number"`
	Prev   string          `json:"prev"`
	Hash   string          `json:"hash"`
	Body   json.RawMessage `json:"body"`
}

// DoctorReport is the engine's own view of its health and readiness.
type DoctorReport struct {
	At     time.Time     `json:"at"`
	Checks []DoctorCheck `json:"checks"`
}

// DoctorState is the outcome of one check.
type DoctorState string

// The outcomes.
const (
	DoctorOK   DoctorState = "ok"
	DoctorWarn DoctorState = "warn"
	DoctorFail DoctorState = "fail"
)

// DoctorCheck is one check of the doctor.
type DoctorCheck struct {
	Name   string      `json:"name"`
	State  DoctorState `json:"state"`
	Detail string      `json:"detail"`
	// Why says what comes of it, where the detail does not.
	Why string `json:"why,omitempty"`
	// Next is the command or deed that helps; empty if ok.
	Next string `json:"next,omitempty"`
}

// Failed reports whether any check failed.
func (r DoctorReport) Failed() bool {
	for _, c := range r.Checks {
		if c.State == DoctorFail {
			return true
		}
	}
	return false
}

// Version says which program answers.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go,omitempty"`
	// API is the version of documents and of this interface.
	API string `json:"api"`
	// Cell names the cell that answers.
	Cell string `json:"cell,omitempty"`
}
