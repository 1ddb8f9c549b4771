package fleet

import (
	"slices"
	"time"
)

// Observed is what a provider saw of one server's resources in one look.
type Observed struct {
	Server string `json:"server"`
	// At is when the provider looked. Older facts inside keep their own time.
	At time.Time `json:"at"`
	// Lag is how long the look took, where that is long: a sweep of many servers. The
	// next one takes as long, so that what it saw is not called stale before.
	Lag Duration `json:"lag,omitempty"`
	// Complete is false if any part of the query failed, was throttled or is
	// stale; then nothing may be concluded from absence (invariant S4).
	Complete  bool           `json:"complete"`
	Instances []Instance     `json:"instances,omitempty"`
	Volumes   []VolumeState  `json:"volumes,omitempty"`
	Addresses []AddressState `json:"addresses,omitempty"`
	// Others are interfaces, places in target groups and names.
	Others []ObjectState `json:"others,omitempty"`
	// Zone is the zone that the server's instance or volumes are in; nil if nothing is
	// known of it.
	Zone *ZoneState `json:"zone,omitempty"`
	// Scheduled is what the platform has announced for running instances of the server.
	Scheduled []Scheduled `json:"scheduled,omitempty"`
}

// Scheduled is what a platform will do to an instance: reboot it, stop it, retire it.
type Scheduled struct {
	ID string `json:"id"`
	// What is the platform's own word, such as instance-retirement.
	What string `json:"what"`
	// NotBefore is the earliest moment at which it begins.
	NotBefore time.Time `json:"notBefore"`
}

func (s Scheduled) String() string {
	return s.What + " not before " + s.NotBefore.UTC().Format("2006-01-02 15:04") + " UTC"
}

// ZoneState is a zone of a platform as it was seen.
type ZoneState struct {
	Name string `json:"name"`
	// Lost is Yes if the zone as a whole does not work, and no answer if that is not known.
	Lost Answer `json:"lost,omitempty"`
	// Since is when it was first seen so.
	Since  time.Time `json:"since"`
	Detail string    `json:"detail,omitempty"`
}

// Room is how much older than usual a fact of it may be before it counts as stale: it
// came when the look had ended, and the next comes when the next has.
func (o Observed) Room() time.Duration { return 2 * o.Lag.Std() }

// ObjectState is any other part of an identity as it was seen.
type ObjectState struct {
	Object Object `json:"object"`
	// Holder is the epoch that has it, 0 if none.
	Holder Epoch `json:"holder,omitempty"`
	// Addresses are an interface's private ones, as far as they were seen.
	Addresses []string  `json:"addresses,omitempty"`
	At        time.Time `json:"at"`
}

// InstanceState is the state of an instance as its provider tells it.
type InstanceState string

// The states of an instance.
const (
	InstancePending    InstanceState = "pending"  // asked for, or holding resources before its application starts
	InstanceRunning    InstanceState = "running"  // the machine or process runs
	InstanceStopping   InstanceState = "stopping" // told to stop
	InstanceStopped    InstanceState = "stopped"  // stopped, could be started again
	InstanceTerminated InstanceState = "terminated"
	InstanceReaped     InstanceState = "reaped" // every process of it was waited for, its locks are free
	InstanceLost       InstanceState = "lost"   // its keeper is gone; it may or may not run
)

// Gone reports whether the state can never change again.
func (s InstanceState) Gone() bool { return s == InstanceTerminated || s == InstanceReaped }

// Ending is how far an instance in the state has ended: 0 if it executes, or may; 1 if it is
// stopped, and can be started again; 2 if it is gone for ever.
func (s InstanceState) Ending() int {
	switch {
	case s.Gone():
		return 2
	case s == InstanceStopped:
		return 1
	default:
		return 0
	}
}

// TakesRoom reports whether an instance in the state takes its units of a host.
func (s InstanceState) TakesRoom(alive Answer) bool {
	return !s.Gone() && (s != InstanceLost || alive != No)
}

// Instance is one incarnation of a server as it was seen.
type Instance struct {
	Server string        `json:"server"`
	Epoch  Epoch         `json:"epoch"`
	Host   string        `json:"host,omitempty"`
	State  InstanceState `json:"state"`
	Since  time.Time     `json:"since"`
	// Alive is whether any process of it is seen, where its host can say. A no is
	// no proof that none is left.
	Alive Answer `json:"alive,omitempty"`
	// At is when this was seen.
	At     time.Time `json:"at"`
	Detail string    `json:"detail,omitempty"`
}

// Outlived reports whether another instance of the same epoch was seen that has ended less
// than this one did: the end of one says nothing of an epoch that another carries too, as a
// machine that a person copied with its tags.
func (o Observed) Outlived(i Instance) bool {
	return slices.ContainsFunc(o.Instances, func(other Instance) bool {
		return other.Epoch == i.Epoch && other.State.Ending() < i.State.Ending()
	})
}

// VolumeState is a volume as it was seen.
type VolumeState struct {
	Volume string `json:"volume"`
	// Epoch is the highest epoch that the volume itself has seen; it is a floor
	// for the next one (invariant S3). Sealed is the highest sealed epoch.
	Epoch  Epoch `json:"epoch,omitempty"`
	Sealed Epoch `json:"sealed,omitempty"`
	// Holder is the epoch to which it is attached, 0 if to none.
	Holder Epoch `json:"holder,omitempty"`
	// Host is the one that looked.
	Host string `json:"host,omitempty"`
	// Held is Yes if something holds it, even if it is not known what.
	Held Answer `json:"held"`
	// Fresh is true for a directory that was seen without a record of any server: no
	// epoch ever wrote there.
	Fresh bool `json:"fresh,omitempty"`
	// Dead is Yes if the platform says that the volume itself does not answer: another
	// instance would meet the same volume.
	Dead Answer `json:"dead,omitempty"`
	// Snapshot is its newest complete one; nil if none is known.
	Snapshot *Snapshot `json:"snapshot,omitempty"`
	At       time.Time `json:"at"`
}

// AddressState is an address as it was seen.
type AddressState struct {
	IP     string `json:"ip"`
	Holder Epoch  `json:"holder,omitempty"`
	Host   string `json:"host,omitempty"`
	// Rival is who else answers for it on the network of Host, where Holder runs: MACs.
	Rival string    `json:"rival,omitempty"`
	At    time.Time `json:"at"`
}

// Host is a host as it stands now, seen by one server that may be placed there.
type Host struct {
	Name string `json:"name"`
	// Sites is the path from the host's parent upwards.
	Sites []string `json:"sites,omitempty"`
	// InContact is Yes if its agent answered lately, No if it fell silent.
	InContact Answer    `json:"inContact"`
	Since     time.Time `json:"since"`
	// Detour is true if the agent's beats come over HTTPS, because datagrams do not
	// come through.
	Detour bool `json:"detour,omitempty"`
	// StorageBeat is Yes if the host's heartbeat on shared storage is fresh.
	StorageBeat Answer `json:"storageBeat"`
	Units       int    `json:"units"`
	UsedUnits   int    `json:"usedUnits"`
	// Power is true if a power device can switch this host off.
	Power bool `json:"power"`
	// PowerWithin is how long that may take.
	PowerWithin Duration `json:"powerWithin,omitzero"`
	// Reaches lists the server's volumes that the host can use.
	Reaches []string `json:"reaches,omitempty"`
	// Apart lists the label values ("label=value") of servers on the host.
	Apart []string `json:"apart,omitempty"`
	// Closed is the reason why nothing new may be placed here, or empty.
	Closed string `json:"closed,omitempty"`
	// Hypervisor says how the host runs virtual machines; nil if it runs none.
	Hypervisor *Hypervisor `json:"hypervisor,omitempty"`
	// Watchdog is the host's watchdog device; nil if its agent was given none.
	Watchdog *Watchdog `json:"watchdog,omitempty"`
	// Warm lists the standby guests that wait on the host, by server.
	Warm []Warm `json:"warm,omitempty"`
	// Neighbours lists the servers whose instance was last known on the host, by
	// name, if the host can be switched off: these would die with it.
	Neighbours []Neighbour `json:"neighbours,omitempty"`
}

// Hypervisor is how a host runs virtual machines.
type Hypervisor struct {
	// Emulated is true if no guest runs on the host's own virtualisation.
	Emulated bool   `json:"emulated,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

// Watchdog is a device that resets a host whose agent does not feed it.
type Watchdog struct {
	Device string `json:"device"`
	// Timeout is how long after the last feeding it resets the host.
	Timeout Duration `json:"timeout"`
	// Armed is true while something runs that its lease must end.
	Armed bool `json:"armed"`
	// Trouble is why it cannot be used, or empty.
	Trouble string `json:"trouble,omitempty"`
}

// Warm is a guest that has booted and waits to become an epoch of its server. It
// takes the server's room on its host, and gives it to that server alone.
type Warm struct {
	Server string `json:"server"`
	Units  int    `json:"units"`
	// Ready is whether the guest says that it waits.
	Ready bool `json:"ready"`
}

// WarmFor returns the host's standby for the server, or nil.
func (h Host) WarmFor(server string) *Warm {
	for i := range h.Warm {
		if h.Warm[i].Server == server {
			return &h.Warm[i]
		}
	}
	return nil
}

// Neighbour is what a power-off of its host would mean to a server.
type Neighbour struct {
	Server  string  `json:"server"`
	Verdict Verdict `json:"verdict"`
	// Spare is why it must live on; empty if it is down or given up already.
	Spare string `json:"spare,omitempty"`
}

// Traits tell the core what a provider can do, so that no decision asks for more.
type Traits struct {
	Provider string `json:"provider"`
	// Rungs lists the rungs that the provider can carry out.
	Rungs []Rung `json:"rungs"`
	// AttachFirst is true where volumes and addresses are attached before the
	// launch (a process that opens its files), false where an instance must
	// exist before anything attaches to it.
	AttachFirst bool `json:"attachFirst"`
	// AppIsInstance is true where a restart of the application is a new process
	// of the host, hence a new epoch (invariant S3).
	AppIsInstance bool `json:"appIsInstance"`
	// Seals is true if volumes carry an epoch file that can be raised.
	Seals bool `json:"seals"`
	// Arrays is true if the provider has arrays shut epochs out of LUNs, where it has no
	// seals otherwise.
	Arrays bool `json:"arrays"`
	// Places is true if we choose the host; false if the provider does.
	Places bool `json:"places"`
}

// For returns what the provider can do for one server. A virtual machine can be
// reset in place, and its application lives inside, out of the host agent's reach.
func (t Traits) For(s Server) Traits {
	if s.Spec.Template.VM == nil {
		return t
	}
	t.Rungs, t.AppIsInstance = []Rung{Reboot, Relaunch, Move}, false
	return t
}
