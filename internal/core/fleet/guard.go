package fleet

import (
	"slices"
	"time"
)

// Guards are what people and our own safety have put before a recovery.
type Guards struct {
	Modes     []ModeSetting `json:"modes"`
	Freeze    *Freeze       `json:"freeze,omitempty"`
	Pauses    []Pause       `json:"pauses,omitempty"`
	Windows   []Maintenance `json:"windows,omitempty"`
	Approvals []Approval    `json:"approvals,omitempty"`
	// Authority tells until when this controller holds its lease, and its term.
	Authority Authority `json:"authority"`
	// StoreTrouble is why the store takes no writes, or empty.
	StoreTrouble string `json:"storeTrouble,omitempty"`
	// Storm is the one that is recorded, also if a person lets it go on.
	Storm *StormRecord `json:"storm,omitempty"`
}

// Authority is a controller's right to act.
type Authority struct {
	Term  Term      `json:"term"`
	Until time.Time `json:"until"`
}

// ModeSetting is a mode with the scope that set it: "fleet", "site X" or
// "server X".
type ModeSetting struct {
	Scope string `json:"scope"`
	Mode  Mode   `json:"mode"`
	By    string `json:"by,omitempty"`
}

// Freeze stops every destructive step of the fleet.
type Freeze struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Pause stops recoveries of one server until somebody resumes it.
type Pause struct {
	Server string    `json:"server"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Maintenance is a window in which nothing is done to the servers of its scope.
// It always ends by itself.
type Maintenance struct {
	ID string `json:"id"`
	// Scope is "fleet", "site X" or "server X".
	Scope  string    `json:"scope"`
	Owner  string    `json:"owner"`
	Reason string    `json:"reason"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	// Warning says why the window does less than it seems to, as it was opened.
	Warning string `json:"warning,omitempty"`
}

// Covers reports whether the window is open at now.
func (m Maintenance) Covers(now time.Time) bool {
	return !now.Before(m.From) && now.Before(m.Until)
}

// Approval is a person's answer to a plan that asks. It is bound to the server,
// the epoch that failed and the plan, and ends by itself.
type Approval struct {
	ID     string    `json:"id"`
	Server string    `json:"server"`
	Epoch  Epoch     `json:"epoch"`
	Plan   string    `json:"plan"`
	By     string    `json:"by"`
	Denied bool      `json:"denied,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until"`
}

// Request is a person's wish for a recovery of a server that may be healthy.
type Request struct {
	Server string `json:"server"`
	Epoch  Epoch  `json:"epoch"`
	Rung   Rung   `json:"rung"`
	// To names the site that a move goes to, or is empty.
	To string `json:"to,omitempty"`
	// Host names the host that a planned move of a working server goes to, or is empty.
	Host string `json:"host,omitempty"`
	// Snapshot asks for a snapshot of the server's LUNs before a planned move's next
	// epoch.
	Snapshot bool      `json:"snapshot,omitempty"`
	By       string    `json:"by"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
}

// With says what a planned move does besides, for people; empty if nothing.
func (r Request) With() string {
	if r.Snapshot {
		return " with a snapshot"
	}
	return ""
}

// Around is what goes on around a server: the counts of every domain that holds
// it, and the storm classifier's finding.
type Around struct {
	// Domains starts with the fleet and goes down to the host.
	Domains []Domain `json:"domains,omitempty"`
	Storm   *Trouble `json:"storm,omitempty"`
}

// Domain counts the servers of one failure domain.
type Domain struct {
	// Name is "fleet" or a site's name.
	Name       string `json:"name"`
	Total      int    `json:"total"`
	Healthy    int    `json:"healthy"`
	Suspect    int    `json:"suspect"`
	Down       int    `json:"down"`
	Recovering int    `json:"recovering"`
	FreeUnits  int    `json:"freeUnits"`
	Budget     Budget `json:"budget"`
	// Begun lists the recoveries that started within the budget's window.
	Begun []Begun `json:"begun,omitempty"`
	// Waiting counts the servers that nothing but this budget holds, highest
	// priority first.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Claims are the units that recoveries look for a place for, highest priority first.
	Claims []Claim `json:"claims,omitempty"`
	// Waits is since when this server itself is one of them; zero if it is not.
	Waits time.Time `json:"waits,omitzero"`
}

// Begun is a number of recoveries that began together, so that a budget does not
// grow with the fleet.
type Begun struct {
	// At is when the last of them began.
	At    time.Time `json:"at"`
	Count int       `json:"count"`
}

// Waiting is the number of servers of one priority that wait for a budget.
type Waiting struct {
	Priority int `json:"priority"`
	Servers  int `json:"servers"`
	// Since is when the one that waits longest began to.
	Since time.Time `json:"since"`
}

// Claim is how many units the recoveries of one priority look for.
type Claim struct {
	Priority int `json:"priority"`
	Units    int `json:"units"`
}

// Trouble is a failure larger than one host.
type Trouble struct {
	// Cause is the shared cause, such as "site rack-1", "4 hosts" or "own view".
	Cause  string `json:"cause"`
	Reason string `json:"reason"`
	// Hosts are those that a storm hit, by name; none if our own view is in doubt.
	Hosts []string `json:"hosts,omitempty"`
}

// StormRecord is a storm that held something. It holds until each of its servers
// works again or a person lets it go on.
type StormRecord struct {
	// ID names the storm as it was recorded: one that hits more hosts is another one.
	ID     string    `json:"id"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Hosts are those that lost their servers, by name.
	Hosts []string `json:"hosts"`
	// GoOn is the word of the person who lets it go on, nil if none has spoken.
	GoOn *GoOn `json:"goOn,omitempty"`
}

// GoOn is a person's word that recoveries may go on though a storm was found.
type GoOn struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Hit reports whether all the hosts are among those of the storm.
func (r StormRecord) Hit(hosts ...string) bool {
	for _, h := range hosts {
		if !slices.Contains(r.Hosts, h) {
			return false
		}
	}
	return true
}
