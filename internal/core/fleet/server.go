package fleet

import (
	"fmt"
	"slices"
)

// Server is what must stay alive: its name never changes, its instances do.
type Server struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Spec   ServerSpec        `json:"spec"`
	// Away is where the status says that it is, if not where the spec does. It is no
	// part of the document: whoever hands a server to a provider sets it.
	Away *Away `json:"-"`
}

// ServerSpec is the declared intent for one server. Fields that are left out of
// the file are filled from the server's Policy and then from Defaults, so that
// the core only ever sees complete values.
type ServerSpec struct {
	// Policy names the Policy that fills unset fields; "" means the one called
	// "default", if there is one.
	Policy    string    `json:"policy,omitempty"`
	Provider  string    `json:"provider"`
	Identity  Identity  `json:"identity"`
	Template  Template  `json:"template"`
	Placement Placement `json:"placement"`
	// Priority orders recoveries that compete for the same budget or room: higher first.
	Priority int `json:"priority"`
	// After names servers that this one needs: it is not started before they work,
	// for as long as that can be awaited.
	After []string `json:"after,omitempty"`
	// Quiesce is run before a planned move stops it; nil for nothing.
	Quiesce *Quiesce `json:"quiesce,omitempty"`
	Rules
}

// Quiesce has a server flush what it holds, and take nothing new, for the moment before it
// is stopped. Either Command or Guest is set.
type Quiesce struct {
	// Command is the argument vector of a program on the host; ${volume:NAME} and
	// ${address:N} are replaced as in ProcessTemplate. It may be run again, and leaves the
	// server as it was if it fails.
	Command []string `json:"command,omitempty"`
	// Guest asks the guest agent of a virtual machine, over its serial channel: it runs
	// the guest's own program, if it was given one, and freezes all file systems.
	Guest     bool           `json:"guest,omitempty"`
	Within    Duration       `json:"within"`
	OnFailure QuiesceFailure `json:"onFailure"`
}

// QuiesceFailure says what a failed Quiesce means.
type QuiesceFailure string

// What a failed Quiesce means.
const (
	// QuiesceRefuse calls the move off; nothing was stopped.
	QuiesceRefuse QuiesceFailure = "refuse"
	// QuiesceGoOn stops the server all the same.
	QuiesceGoOn QuiesceFailure = "goOn"
)

// Rules are the fields that a Policy can fill for many servers.
type Rules struct {
	Mode   Mode        `json:"mode"`
	Health Health      `json:"health"`
	Ladder Ladder      `json:"ladder"`
	Fence  FenceDemand `json:"fence"`
	// Approvals is how many different people must approve in mode ask.
	Approvals int `json:"approvals"`
	// OnIsolation says what an agent does with the server when its lease ends.
	OnIsolation OnIsolation `json:"onIsolation"`
	// IsolatedFor is how long an isolated server stays running before it is
	// fenced and relaunched; 0 means until a person decides.
	IsolatedFor Duration `json:"isolatedFor"`
	// OneSource says what a single source's "no" is worth where no second
	// independent source exists.
	OneSource OneSource `json:"oneSource"`
}

// Identity is what moves with the server. The list of kinds is closed.
type Identity struct {
	Volumes   []Volume  `json:"volumes,omitempty"`
	Addresses []Address `json:"addresses,omitempty"`
	// Interfaces are network interfaces of a cloud, with their private addresses and
	// hardware address.
	Interfaces []Interface `json:"interfaces,omitempty"`
	// Groups are places in a load balancer's target groups, Names are DNS records.
	Groups []Group   `json:"groups,omitempty"`
	Names  []DNSName `json:"names,omitempty"`
}

// Interface is a network interface of a cloud that moves with the server.
type Interface struct {
	ID string `json:"id"`
	// Index is its place on the instance. 0 is the primary one, which an instance is
	// launched with and keeps until it is terminated.
	Index int `json:"index"`
	// What it was found with when it was captured, to show what has changed. All of
	// it moves with the interface; nothing sets it. Addresses are private ones, the
	// primary first.
	MAC           string   `json:"mac,omitempty"`
	Addresses     []string `json:"addresses,omitempty"`
	Groups        []string `json:"groups,omitempty"`
	NoSourceCheck bool     `json:"noSourceCheck,omitempty"`
	// NewAddress allows that another one takes its place in another zone, with other
	// private addresses and another hardware address.
	NewAddress bool `json:"newAddress,omitempty"`
	// Instead is the declared one whose place this one has, where the server is away. It is
	// no part of the document; see Located.
	Instead string `json:"-"`
}

// Named is the id under which the document knows the interface.
func (n Interface) Named() string {
	if n.Instead != "" {
		return n.Instead
	}
	return n.ID
}

// Group is a target group that the server has a place in.
type Group struct {
	// ID is the platform's name for it, such as an ARN.
	ID string `json:"id"`
	// Ports are those on which the server serves in it; without one, the group's own.
	Ports []int `json:"ports,omitempty"`
}

// DNSName is a DNS record that leads to the server's first address.
type DNSName struct {
	Name string `json:"name"`
	// Zone is the platform's name for the zone that holds the record.
	Zone string `json:"zone"`
	// TTL is how long resolvers may keep the answer.
	TTL Duration `json:"ttl"`
	// IPv6 has a record of type AAAA beside it, which leads to the first IPv6 address of
	// the server's first interface.
	IPv6 bool `json:"ipv6,omitempty"`
}

// Volume is a disk of the server, by the name that its spec gives it.
type Volume struct {
	Name string `json:"name"`
	// Path is where a directory volume lies; ID is the provider's own name for
	// other kinds. One of the two is set.
	Path  string `json:"path,omitempty"`
	ID    string `json:"id,omitempty"`
	Reach Reach  `json:"reach"`
	// LUN is set, instead of Path and ID, for a unit of a SAN array.
	LUN *LUN `json:"lun,omitempty"`
	// Device is the name under which EC2 attaches it, such as /dev/sdf; empty means
	// one by its place in the list.
	Device string `json:"device,omitempty"`
	// Mount has the guest agent mount the volume; nil leaves it to the guest.
	Mount *Mount `json:"mount,omitempty"`
	// FromSnapshot allows that it is made anew in another zone; nil forbids that.
	FromSnapshot *FromSnapshot `json:"fromSnapshot,omitempty"`
	// ForceDetach allows that it is taken by force from an epoch that is proved dead; nil
	// forbids that.
	ForceDetach *ForceDetach `json:"forceDetach,omitempty"`
}

// ForceDetach says when a volume of EC2 may be taken by force. What the dead instance had
// not flushed is lost, so that its file system is checked before each mount.
type ForceDetach struct {
	// After is how long the ordinary detach must have been asked for in vain.
	After Duration `json:"after"`
}

// Checked reports whether the volume's file system is checked before each mount: it may
// have been taken by force, also from an epoch of which this one knows nothing.
func (v Volume) Checked() bool { return v.Mount != nil && (v.Mount.Fsck || v.ForceDetach != nil) }

// Mount says where and how the guest agent mounts a volume.
type Mount struct {
	// Path is the directory in the guest, Type the file system's.
	Path    string   `json:"path"`
	Type    string   `json:"type"`
	Options []string `json:"options,omitempty"`
	// Format allows to make the file system on a blank volume, at epoch 1 only (S8).
	Format bool `json:"format,omitempty"`
	// Fsck has the file system checked before each mount.
	Fsck bool `json:"fsck,omitempty"`
	// HostKeys keeps the SSH host keys of the server on the volume.
	HostKeys bool `json:"hostKeys,omitempty"`
}

// OnArray reports whether the volume is a LUN: then its array shuts an epoch out, and
// no epoch file does.
func (v Volume) OnArray() bool { return v.Reach == ReachArray }

// OnArrays reports whether the identity has volumes, and all of them are LUNs: then their
// arrays alone can prove an epoch dead for writes, whatever its platform knows.
func (i Identity) OnArrays() bool {
	return len(i.Volumes) > 0 && !slices.ContainsFunc(i.Volumes, func(v Volume) bool { return !v.OnArray() })
}

// LUN is a unit of a SAN array that is one of a server's volumes.
type LUN struct {
	// Array is the name of an array that a site above the server's hosts declares.
	Array string `json:"array"`
	// Name is the LUN's name on its array.
	Name string `json:"name"`
	// Unit is the number under which the server sees it, 1 to 255.
	Unit int `json:"unit"`
	// Size is what it has, in GiB, if it is made for the server's first epoch; 0 means
	// that it is never made.
	Size int `json:"size,omitempty"`
}

// Bytes is the LUN's size in bytes, 0 if none is declared.
func (l LUN) Bytes() int64 { return int64(l.Size) << 30 }

// String names the LUN and its size, for people.
func (l LUN) String() string {
	if l.Size == 0 {
		return "LUN " + l.Name
	}
	return fmt.Sprintf("LUN %s of %d GiB", l.Name, l.Size)
}

// SnapshotName is that of the snapshots of what an epoch left on its LUNs.
func SnapshotName(server string, epoch Epoch) string {
	return fmt.Sprintf("relight-%s-e%d", server, epoch)
}

// Reach says from where a volume can be used, and with that, what its lock proves.
type Reach string

const (
	// ReachHost volumes exist on one host only and never move.
	ReachHost Reach = "host"
	// ReachMachine volumes are seen by several host agents on one kernel: the
	// lock dies with its last holder, so a seal under it is a proof.
	ReachMachine Reach = "machine"
	// ReachShared volumes lie on a network file system, whose locks can be lost
	// while the writer lives: a power fence is demanded and the lock is only the
	// last guard.
	ReachShared Reach = "shared"
	// ReachZone volumes attach to one instance at a time anywhere in their zone;
	// the provider enforces it.
	ReachZone Reach = "zone"
	// ReachArray volumes are LUNs: the array lets in one epoch at a time, and shows
	// that it has shut one out.
	ReachArray Reach = "array"
)

// Address is an IP address that clients use to reach the server.
type Address struct {
	IP string `json:"ip"`
	// Allocation is a cloud's name for an elastic address.
	Allocation string `json:"allocation,omitempty"`
	// Interface is the declared interface that an elastic address leads to, and Private
	// which of its private addresses; left out they are the primary ones.
	Interface string `json:"interface,omitempty"`
	Private   string `json:"private,omitempty"`
}

// Template says how an instance is made, per provider. Exactly one is set.
type Template struct {
	Process *ProcessTemplate `json:"process,omitempty"`
	VM      *VMTemplate      `json:"vm,omitempty"`
	EC2     *EC2Template     `json:"ec2,omitempty"`
	Sim     *SimTemplate     `json:"sim,omitempty"`
}

// ProcessTemplate runs the server as a Linux process under a keeper.
type ProcessTemplate struct {
	// Command is the argument vector; no shell is involved. ${volume:NAME} and
	// ${address:N} are replaced by the volume's path and the Nth address.
	Command []string          `json:"command"`
	Env     map[string]string `json:"env,omitempty"`
	Dir     string            `json:"dir,omitempty"`
	// StopGrace is how long the process may take to end by itself on SIGTERM.
	StopGrace Duration `json:"stopGrace"`
}

// VMTemplate runs the server as a virtual machine on a hypervisor host.
type VMTemplate struct {
	// Memory is in MiB, CPUs the number of virtual ones.
	Memory int  `json:"memory"`
	CPUs   int  `json:"cpus"`
	Boot   Boot `json:"boot"`
	// Kernel, Initrd and Cmdline are for boot kernel and warm; the paths are on each host.
	Kernel  string `json:"kernel,omitempty"`
	Initrd  string `json:"initrd,omitempty"`
	Cmdline string `json:"cmdline,omitempty"`
	// Firmware is a file on each host that replaces the machine's own BIOS.
	Firmware string `json:"firmware,omitempty"`
	// Bridge is the host's bridge that the network interface joins; MAC stays the
	// same in every epoch.
	Bridge string `json:"bridge,omitempty"`
	MAC    string `json:"mac,omitempty"`
	// Watchdog gives the machine a watchdog device that resets it.
	Watchdog bool `json:"watchdog,omitempty"`
	// GuestBeat is whether a guest agent beats over the machine's serial channel.
	GuestBeat bool `json:"guestBeat,omitempty"`
	// StopGrace is how long the guest may take to end by itself when it is told to.
	StopGrace Duration `json:"stopGrace"`
}

// Boot says from where a virtual machine starts.
type Boot string

// The ways to boot.
const (
	// BootKernel starts a kernel that lies on the host; the LUNs are its data.
	BootKernel Boot = "kernel"
	// BootLUN starts from unit 1 through the machine's firmware; the host's
	// hypervisor is the initiator.
	BootLUN Boot = "lun"
	// BootSAN starts iPXE, which logs in to unit 1 itself (sanboot), as Outposts do.
	BootSAN Boot = "sanboot"
	// BootWarm plugs the LUNs into a standby guest that already runs on the host.
	BootWarm Boot = "warm"
)

// EC2Template runs the server as an instance of EC2.
type EC2Template struct {
	// LaunchTemplate is its id, Version a number: a version that moves would make
	// another server in the middle of a recovery.
	LaunchTemplate string `json:"launchTemplate,omitempty"`
	Version        int    `json:"version,omitempty"`
	// Launch is what it is launched with beside the template, or instead of one.
	Launch *EC2Launch `json:"launch,omitempty"`
	// Subnet is where it lives.
	Subnet string `json:"subnet,omitempty"`
	// Elsewhere are other zones that it may be started in; nil if there are none.
	Elsewhere *EC2Elsewhere `json:"elsewhere,omitempty"`
	// Types are instance types to try, in order, when the template's has no capacity.
	Types []string `json:"types,omitempty"`
	// AutoRecovery says who moves the instance when its hardware fails.
	AutoRecovery AutoRecovery `json:"autoRecovery"`
	// SkipOSShutdown ends an instance without waiting for its operating system.
	SkipOSShutdown bool `json:"skipOSShutdown,omitempty"`
	// GuestBeat is whether a guest agent runs in the instance and beats.
	GuestBeat bool `json:"guestBeat,omitempty"`
}

// GuestAgent reports whether an instance on EC2 is launched with our guest agent: it
// is to beat, or has volumes to mount.
func (s ServerSpec) GuestAgent() bool {
	if s.Template.EC2 == nil {
		return false
	}
	for _, v := range s.Identity.Volumes {
		if v.Mount != nil {
			return true
		}
	}
	return s.Template.EC2.GuestBeat
}

// AutoRecovery says who moves an instance whose hardware fails: never both.
type AutoRecovery string

// The owners of a failed system check.
const (
	// AutoRecoveryPlatform leaves it to the platform's own recovery, and steps in
	// only once that has had its time.
	AutoRecoveryPlatform AutoRecovery = "platform"
	// AutoRecoveryOurs switches the platform's off.
	AutoRecoveryOurs AutoRecovery = "ours"
)

// SimTemplate runs the server in the simulated world.
type SimTemplate struct {
	Size string `json:"size,omitempty"`
}

// Placement says where instances may run.
type Placement struct {
	// Sites in order of preference; each stands for all hosts below it. Empty
	// means every host that reaches the volumes.
	Sites []string `json:"sites,omitempty"`
	// Apart lists label values; servers that share the value of any of these
	// labels never share a host.
	Apart []string `json:"apart,omitempty"`
	// Units is how much of a host's capacity an instance takes.
	Units int `json:"units"`
}

// Health says how to tell that a server lives and works.
type Health struct {
	// Check is the application's own check, made by the host agent and, for HTTP
	// and TCP, by witnesses on other hosts.
	Check Check `json:"check"`
	// SuspectAfter is the silence after which a source that used to answer counts
	// as saying no.
	SuspectAfter Duration `json:"suspectAfter"`
	// DownAfter is how long two independent sources must have said no.
	DownAfter Duration `json:"downAfter"`
	// ImpairedAfter is how long the check must have failed on a running instance.
	ImpairedAfter Duration `json:"impairedAfter"`
	// StartupGrace is how long a fresh instance may take before failing checks count.
	StartupGrace Duration `json:"startupGrace"`
}

// Check is one way to ask an application whether it works. At most one of HTTP,
// TCP, Exec and Beat is set; none means that a running instance works.
type Check struct {
	HTTP     string   `json:"http,omitempty"`
	TCP      string   `json:"tcp,omitempty"`
	Exec     []string `json:"exec,omitempty"`
	Beat     bool     `json:"beat,omitempty"`
	Interval Duration `json:"interval"`
	Timeout  Duration `json:"timeout"`
}

// IsZero reports whether no check is declared.
func (c Check) IsZero() bool {
	return c.HTTP == "" && c.TCP == "" && len(c.Exec) == 0 && !c.Beat
}

// Ladder is the order of actions that a recovery climbs, with their budgets.
type Ladder struct {
	Rungs []RungSpec `json:"rungs"`
	// Window is the span over which Tries of a rung are counted.
	Window Duration `json:"window"`
	// BackOff is the wait before the second attempt within Window; it doubles
	// with each further one, up to MaxBackOff.
	BackOff    Duration `json:"backOff"`
	MaxBackOff Duration `json:"maxBackOff"`
	// VerifyWithin is how long a rung may take from its last effect until the
	// server's own checks pass, before the recovery climbs to the next rung.
	VerifyWithin Duration `json:"verifyWithin"`
}

// RungSpec is one action of the ladder and how often it may be tried in a window.
type RungSpec struct {
	Rung  Rung `json:"rung"`
	Tries int  `json:"tries"`
}

// Rung is one action of the ladder.
type Rung string

// The rungs, from the gentlest to the farthest.
const (
	// RestartApp restarts the application where it is.
	RestartApp Rung = "restartApp"
	// Reboot resets the instance in place; its epoch stays.
	Reboot Rung = "reboot"
	// Recover stops the instance and starts it on other hardware, same instance.
	Recover Rung = "recover"
	// Relaunch starts a new instance on any allowed host of the same site.
	Relaunch Rung = "relaunch"
	// Move starts a new instance in another allowed site.
	Move Rung = "move"
)

// Rungs lists all rungs in the order of the ladder.
func Rungs() []Rung { return []Rung{RestartApp, Reboot, Recover, Relaunch, Move} }

// Mode says how far Relight may go by itself. The strictest of fleet, site and
// server wins.
type Mode string

// The modes, strictest first.
const (
	Observe Mode = "observe"
	Ask     Mode = "ask"
	Auto    Mode = "auto"
)

// FenceDemand says which kind of proof a server demands before its next epoch.
type FenceDemand string

const (
	// FenceStorage is satisfied when every volume refuses the old epoch; until
	// its host is reached, the old one may still answer stale reads.
	FenceStorage FenceDemand = "storage"
	// FencePowerFirst is satisfied by the same, and by power; power is tried first, and
	// storage is for when it cannot be had or is not confirmed in its time.
	FencePowerFirst FenceDemand = "powerFirst"
	// FencePower demands that the old instance is known to have stopped.
	FencePower FenceDemand = "power"
	// FenceBoth demands both: the old instance is known to have stopped, and every
	// volume that can refuse its epoch does.
	FenceBoth FenceDemand = "both"
)

// VolumesSuffice reports whether the old epoch may still run, and answer, while every
// volume refuses it.
func (d FenceDemand) VolumesSuffice() bool { return d == FenceStorage || d == FencePowerFirst }

// OnIsolation says what an agent without its lease does with a server.
type OnIsolation string

// The answers to isolation.
const (
	IsolationRun  OnIsolation = "run"
	IsolationStop OnIsolation = "stop"
)

// OneSource says what to do when only one source can speak of a server.
type OneSource string

const (
	// OneSourceHold waits for a person.
	OneSourceHold OneSource = "hold"
	// OneSourceFence lets a confirmed fence make the fact true.
	OneSourceFence OneSource = "fence"
)
