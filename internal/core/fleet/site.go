package fleet

// Site is a node in the tree of failure domains.
type Site struct {
	Name string   `json:"name"`
	Spec SiteSpec `json:"spec"`
}

// SiteSpec declares a failure domain.
type SiteSpec struct {
	Kind   SiteKind `json:"kind"`
	Parent string   `json:"parent,omitempty"`
	// Mode, if set, is the loosest mode allowed to servers in this site.
	Mode   Mode   `json:"mode,omitempty"`
	Budget Budget `json:"budget"`
	// Power is what can switch a host off; hosts only.
	Power *Power `json:"power,omitempty"`
	// Arrays are the SAN arrays that serve the hosts below this site.
	Arrays []Array `json:"arrays,omitempty"`
}

// Array is a SAN array and how controllers talk to it.
type Array struct {
	Name   string      `json:"name"`
	Driver ArrayDriver `json:"driver"`
	// Portal is where initiators log in, address:port.
	Portal string `json:"portal"`
	// MorePortals are further ways to the same targets, used if Portal does not answer.
	MorePortals []string `json:"morePortals,omitempty"`
	// LUNOffline is whether a fence may take LUNs off line whose sessions stay listed.
	LUNOffline LUNOffline `json:"lunOffline,omitempty"`
	// Reservations is what SCSI reservations are used for.
	Reservations Reservations `json:"reservations,omitempty"`
	// Options are the driver's own, such as the control port of tgt or the URL of
	// an array's REST interface.
	Options map[string]string `json:"options,omitempty"`
}

// Portals lists all of an array's portals, the preferred one first.
func (a Array) Portals() []string { return append([]string{a.Portal}, a.MorePortals...) }

// LUNOffline says when a fence may take the LUNs of the epoch that it shuts out off line.
type LUNOffline string

// The answers. The empty one is never.
const (
	LUNOfflineNever LUNOffline = "never"
	// LUNOfflineLast: once its sessions are still listed after half of the fence's time.
	LUNOfflineLast LUNOffline = "lastResort"
)

// Reservations says what SCSI reservations are used for on an array.
type Reservations string

// The answers. The empty one is never.
const (
	ReservationsNever Reservations = "never"
	// ReservationsLine: as a second line behind the storage fence, if the array's are worth it.
	ReservationsLine Reservations = "secondLine"
)

// ArrayDriver names a driver for SAN arrays.
type ArrayDriver string

// The drivers.
const (
	ArrayTGT   ArrayDriver = "tgt"
	ArrayLIO   ArrayDriver = "lio"
	ArrayONTAP ArrayDriver = "ontap"
)

// SiteKind is the level of a failure domain.
type SiteKind string

// The kinds of sites, largest first.
const (
	SiteRegion  SiteKind = "region"
	SiteZone    SiteKind = "zone"
	SiteOutpost SiteKind = "outpost"
	SiteRack    SiteKind = "rack"
	SiteHost    SiteKind = "host"
)

// Policy fills the unset rules of the servers that name it and holds the
// fleet-wide guards if it is called "default".
type Policy struct {
	Name string     `json:"name"`
	Spec PolicySpec `json:"spec"`
}

// PolicySpec declares a policy.
type PolicySpec struct {
	Rules
	Budget Budget `json:"budget"`
	Storm  Storm  `json:"storm"`
}

// Budget limits destructive steps in one domain. Zero fields mean no limit of
// that kind.
type Budget struct {
	// KeepAlive is how many servers of the domain must not be touched while
	// they are healthy: a destructive step that would leave fewer is held.
	KeepAlive int `json:"keepAlive,omitempty"`
	// Steps is how many recoveries may start within Window.
	Steps  int      `json:"steps,omitempty"`
	Window Duration `json:"window"`
}

// Storm says from which point on so much is failing that a person must look.
type Storm struct {
	// Hosts is how many hosts may lose servers within Window before everything
	// holds. The loss of one host is never a storm.
	Hosts  int      `json:"hosts"`
	Window Duration `json:"window"`
}
