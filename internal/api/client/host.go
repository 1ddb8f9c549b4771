package client

import (
	"slices"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// HostRow is one enrolled host.
type HostRow struct {
	Name  string   `json:"name"`
	Sites []string `json:"sites,omitempty"`
	// InContact is yes, no or cannot tell; Since is from when on.
	InContact string    `json:"inContact"`
	Since     time.Time `json:"since,omitzero"`
	// StorageBeat is whether it can write its heartbeat to the storage that hosts share: yes,
	// no, or empty for one that has none there.
	StorageBeat string   `json:"storageBeat,omitempty"`
	Units       int      `json:"units"`
	UsedUnits   int      `json:"usedUnits"`
	Power       bool     `json:"power"`
	Servers     []string `json:"servers,omitempty"`
	// Standbys are the guests that wait there for their server's next epoch.
	Standbys []fleet.Warm `json:"standbys,omitempty"`
	// Closed is why nothing new may be placed there, or empty.
	Closed  string `json:"closed,omitempty"`
	Version string `json:"version,omitempty"`
	// Spare says whether the others could take its servers over: yes, or no and which.
	Spare string `json:"spare,omitempty"`
}

// SpareView is the answer to "N+1 possible?": could the servers of each single host be
// placed on the others.
type SpareView struct {
	At    time.Time          `json:"at"`
	Hosts []decide.HostSpare `json:"hosts,omitempty"`
	// Sites has the fleet first and then each site above a host.
	Sites []decide.SiteSpare `json:"sites,omitempty"`
}

// PowerReport is what a look at a host's power devices found.
type PowerReport struct {
	Host string    `json:"host"`
	At   time.Time `json:"at"`
	// InContact is yes, no or cannot tell.
	InContact string        `json:"inContact"`
	Devices   []PowerDevice `json:"devices"`
}

// PowerOff is the state of a plug that gives no power.
const PowerOff = "off"

// PowerDevice is one power device of a host.
type PowerDevice struct {
	// Level counts from 1, in the order in which levels are tried.
	Level int `json:"level"`
	// Device names the program and the plug.
	Device string `json:"device"`
	Plug   string `json:"plug"`
	// State is on, off or unknown.
	State string `json:"state"`
	// Error is why the state is unknown; Doubts are what is wrong with the
	// device's declaration.
	Error  string   `json:"error,omitempty"`
	Doubts []string `json:"doubts,omitempty"`
}

// Failed reports whether a device did not answer.
func (r PowerReport) Failed() bool {
	return slices.ContainsFunc(r.Devices, func(d PowerDevice) bool { return d.Error != "" })
}

// JoinTokenRequest asks for a token with which one host may enrol.
type JoinTokenRequest struct {
	// Host binds the token to that name; empty lets the host choose.
	Host string `json:"host,omitempty"`
	// For is how long the token is good; 0 leaves it to the engine.
	For fleet.Duration `json:"for,omitempty"`
}

// JoinToken is a secret that is shown once.
type JoinToken struct {
	Token string    `json:"token"`
	Host  string    `json:"host,omitempty"`
	Until time.Time `json:"until"`
	// Command is what to type on the host.
	Command string `json:"command,omitempty"`
}

// IncidentRow is one incident: one cause, one or many servers.
type IncidentRow struct {
	ID     string    `json:"id"`
	Cause  string    `json:"cause"`
	Opened time.Time `json:"opened"`
	// Closed is zero while it is open.
	Closed  time.Time `json:"closed,omitzero"`
	Servers []string  `json:"servers"`
	Message string    `json:"message,omitempty"`
}

// IncidentView is an incident with what was done.
type IncidentView struct {
	IncidentRow
	Recoveries []RecoveryView `json:"recoveries,omitempty"`
	Events     []EventRecord  `json:"events,omitempty"`
}

// RecoveryView is one server's recovery in an incident.
type RecoveryView struct {
	Server   string         `json:"server"`
	Recovery fleet.Recovery `json:"recovery"`
	// Ended is zero while it runs. RTO counts from the first sign of the failure
	// until the server's own checks passed.
	Ended  time.Time      `json:"ended,omitzero"`
	Healed bool           `json:"healed"`
	RTO    fleet.Duration `json:"rto"`
}
