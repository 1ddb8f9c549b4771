package controller

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"relight/internal/audit"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
)

// root is the prefix of our keys; its version is that of the stored form.
const root = "relight/v1/"

// Kinds of records. Each is one prefix in the store and one table in State.
const (
	kindServer   = "server" // documents as they were applied
	kindSite     = "site"
	kindPolicy   = "policy"
	kindStatus   = "status"
	kindRequest  = "request"
	kindBudget   = "budget"
	kindPlace    = "place"
	kindFreeze   = "freeze"
	kindStorm    = "storm"
	kindPause    = "pause"
	kindWindow   = "window"
	kindApproval = "approval"
	kindIncident = "incident"
	kindHost     = "host"
	kindVault    = "vault"
	kindCursor   = "cursor"
	kindTerm     = "term"
	kindLease    = "lease"
	kindDrill    = "drill"
	// kindScheduled holds what people were told that a platform announces, by server.
	kindScheduled = "scheduled"
)

// Budget is what a domain's recoveries have used, in the store.
type Budget struct {
	Begun []fleet.Begun `json:"begun"`
}

// Place is who takes a host's units, in the store.
type Place struct {
	Units map[string]int `json:"units"`
}

// others is what the other servers take there, each and together.
func (p Place) others(server string) (units map[string]int, used int) {
	units = map[string]int{}
	for _, other := range sortedKeys(p.Units) {
		if other != server {
			units[other] = p.Units[other]
			used += p.Units[other]
		}
	}
	return units, used
}

// Incident is one cause with its servers, in the store.
type Incident struct {
	ID     string    `json:"id"`
	Cause  string    `json:"cause"`
	Opened time.Time `json:"opened"`
	Closed time.Time `json:"closed"`
	// Servers lists all that it hit; Open those that are not verified yet.
	Servers []string `json:"servers"`
	Open    []string `json:"open"`
	Message string   `json:"message"`
	// Recoveries are the ended ones, for the waterfall.
	Recoveries []EndedRecovery `json:"recoveries,omitempty"`
}

// EndedRecovery is a recovery as it ended.
type EndedRecovery struct {
	Server   string         `json:"server"`
	Recovery fleet.Recovery `json:"recovery"`
	Ended    time.Time      `json:"ended"`
	Healed   bool           `json:"healed"`
	Epoch    fleet.Epoch    `json:"epoch"`
}

// Reign is the controller's term, in the store: it changes only at a takeover,
// and every write of ours compares it.
type Reign struct {
	Term  fleet.Term `json:"term"`
	Owner string     `json:"owner"`
}

// Lease is the reign's renewal.
type Lease struct {
	Term     fleet.Term     `json:"term"`
	For      fleet.Duration `json:"for"`
	Released bool           `json:"released"`
	Renewed  time.Time      `json:"renewed"`
}

// decoders say what each kind of record holds.
func decoders() map[string]func([]byte) (any, error) {
	return map[string]func([]byte) (any, error){
		kindServer: decode[Document], kindSite: decode[Document], kindPolicy: decode[Document],
		kindStatus: decode[fleet.Status], kindRequest: decode[fleet.Request],
		kindBudget: decode[Budget], kindPlace: decode[Place],
		kindStorm: decode[fleet.StormRecord], kindFreeze: decode[fleet.Freeze], kindPause: decode[fleet.Pause], kindWindow: decode[fleet.Maintenance], kindApproval: decode[fleet.Approval],
		kindIncident: decode[Incident], kindHost: decode[enrol.Host], kindVault: decode[[]byte],
		kindCursor: decode[uint64], kindTerm: decode[Reign], kindLease: decode[Lease],
		kindHead: decode[audit.Head], kindDrill: decode[fleet.Drill], kindScheduled: decode[[]fleet.Scheduled],
	}
}

// kindHead is the table of chain heads; their keys are the audit's own.
const kindHead = "head"

func decode[T any](raw []byte) (any, error) {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	return v, nil
}

// path returns the store's key of a record.
func path(kind, name string) string { return root + kind + "/" + name }

// split is the inverse of path.
func split(key string) (kind, name string, err error) {
	rest, ok := strings.CutPrefix(key, root)
	if !ok {
		return "", "", fmt.Errorf("key %q is not one of ours", key)
	}
	kind, name, ok = strings.Cut(rest, "/")
	if !ok {
		return "", "", fmt.Errorf("key %q has no name", key)
	}
	return kind, name, nil
}
