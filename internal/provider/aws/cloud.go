package aws

import (
	"context"
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

// Cloud is the part of AWS that the provider uses. Reads may be stale and partial
// by AWS's nature, never by the adapter's: each returns all pages or an error. Every
// error of AWS itself is an *APIError.
type Cloud interface {
	// Instances returns those that carry the tag relight:server, of all states that
	// are still told of; with a zone or servers given, theirs alone.
	Instances(ctx context.Context, zone string, servers []string) ([]Machine, error)
	// ByToken returns the instance that was launched with a client token, or nil.
	ByToken(ctx context.Context, token string) (*Machine, error)
	// Checks returns the status checks of all running instances of a zone; with ids
	// given, of those alone, or an error if one of them is not known any more.
	Checks(ctx context.Context, zone string, ids []string) ([]Check, error)
	Volumes(ctx context.Context, ids []string) ([]Volume, error)
	Interfaces(ctx context.Context, ids []string) ([]Interface, error)
	Addresses(ctx context.Context, allocations []string) ([]Address, error)
	Targets(ctx context.Context, group string) ([]Target, error)
	// Records returns the A and AAAA records of a zone that have these names, without a
	// dot at the end.
	Records(ctx context.Context, zone string, names []string) (map[string]Record, error)
	// Snapshots returns the complete ones of some volumes.
	Snapshots(ctx context.Context, volumes []string) ([]Snapshot, error)
	// VolumeByToken returns the id of the volume that carries the token as its tag
	// relight:token, or nothing.
	VolumeByToken(ctx context.Context, token string) (string, error)
	// InterfaceByToken returns the interface that carries the token as its tag
	// relight:token, or nil.
	InterfaceByToken(ctx context.Context, token string) (*Interface, error)
	// Zones returns the state of each zone of the region, such as available, and Subnet
	// where a subnet lies.
	Zones(ctx context.Context) (map[string]string, error)
	Subnet(ctx context.Context, subnet string) (Subnet, error)
	// TemplateUserData returns the user data of a launch template's version, decoded;
	// nil if it has none.
	TemplateUserData(ctx context.Context, template string, version int) ([]byte, error)

	// MakeVolume makes a volume from a snapshot, once for its token.
	MakeVolume(ctx context.Context, v NewVolume) (string, error)
	// MakeInterface makes an interface in a subnet, once for its token, and
	// SkipSourceCheck takes the check of source and destination from one.
	MakeInterface(ctx context.Context, n NewInterface) (Interface, error)
	SkipSourceCheck(ctx context.Context, iface string) error
	Launch(ctx context.Context, l Launch) (string, error)
	Start(ctx context.Context, id string) error
	// SetUserData replaces the user data of a stopped instance.
	SetUserData(ctx context.Context, id string, data []byte) error
	Stop(ctx context.Context, id string, e Ending) error
	Terminate(ctx context.Context, id string, e Ending) error
	Reboot(ctx context.Context, id string) error
	Tag(ctx context.Context, id string, tags map[string]string) error
	// KeepDisks sees to it that the end of an instance deletes none of its devices.
	KeepDisks(ctx context.Context, id string, devices []string) error
	// KeepInterface sees to it that an interface outlives the instance that it is
	// attached to.
	KeepInterface(ctx context.Context, iface, attachment string) error
	// DisableAutoRecovery takes the platform's own recovery from an instance.
	DisableAutoRecovery(ctx context.Context, id string) error
	AttachVolume(ctx context.Context, volume, id, device string) error
	// DetachVolume waits for the guest to let go of the volume, unless it is forced.
	DetachVolume(ctx context.Context, volume, id string, force bool) error
	AttachInterface(ctx context.Context, iface, id string, index int) error
	DetachInterface(ctx context.Context, attachment string) error
	// Associate leads an elastic address to a private address of an interface, empty for
	// its primary one; with again it is taken from whatever it leads to.
	Associate(ctx context.Context, allocation, iface, private string, again bool) error
	Disassociate(ctx context.Context, association string) error
	// Register and Deregister put targets into a group, or take them out: each is an
	// instance on one port. One that is named without its port is another target.
	Register(ctx context.Context, group string, targets []Target) error
	Deregister(ctx context.Context, group string, targets []Target) error
	SetRecord(ctx context.Context, zone, name, value string, ttl time.Duration) error
}

// APIError is what AWS answered, or that it did not.
type APIError struct {
	Op, Code, Message string
	// Unanswered is true if nothing came back: the call may have had its effect.
	Unanswered bool
}

// Error implements error.
func (e *APIError) Error() string {
	if e.Unanswered {
		return fmt.Sprintf("%s: no answer: %s", e.Op, e.Message)
	}
	return fmt.Sprintf("%s: %s: %s", e.Op, e.Code, e.Message)
}

// Machine is an instance as EC2 tells of it.
type Machine struct {
	ID, State, Type, Zone string
	// Outpost is the ARN of the one that it runs on, or empty.
	Outpost string
	// Reason is why it is in its state, such as Server.InsufficientInstanceCapacity.
	Reason   string
	Launched time.Time
	Tags     map[string]string
	// Devices are its volumes.
	Devices []Device
	// Interfaces are those that it has, the primary one first; Public are the elastic
	// addresses that lead to them.
	Interfaces, Public []string
	// Private are the private addresses of its interfaces.
	Private map[string][]string
	// Ending are the interfaces of it that end with it, with their attachments.
	Ending map[string]string
	// AutoRecovery is default or disabled.
	AutoRecovery string
	// seen is when the read that tells of it began.
	seen time.Time
}

// Device is a volume of a machine.
type Device struct {
	Name, Volume string
	// Delete is whether the volume ends with the instance.
	Delete bool
}

// The tags.
const (
	TagServer = "relight:server"
	TagEpoch  = "relight:epoch"
	TagToken  = "relight:token"
	TagReboot = "relight:reboot"
	// TagFrom is the epoch that an instance had before it was started as another.
	TagFrom = "relight:from"
	// TagGuest marks an instance whose user data starts our guest agent.
	TagGuest = "relight:guest"
)

// Check is what the status checks of an instance say: ok, impaired,
// insufficient-data, initializing or not-applicable.
type Check struct {
	ID                     string
	System, Instance, Disk string
	// Since is when the impaired one began to be, as far as EC2 tells.
	Since time.Time
	// Scheduled are the events that EC2 has announced and that are not over.
	Scheduled []fleet.Scheduled
}

// Volume is an EBS volume.
type Volume struct {
	ID, Zone string
	// Holder is the instance that it is attached to, Attachment how far that has come.
	Holder, Attachment string
	// Epoch is the highest that was given the volume, by its tag.
	Epoch fleet.Epoch
	// Type, Size (GiB), IOPS, Throughput (MiB/s) and Multi (attach) are what a volume
	// that replaces it is made with.
	Type                   string
	Size, IOPS, Throughput int
	Multi                  bool
}

// Interface is a network interface, with the instance that has it and by which attachment.
type Interface struct {
	ID, Holder, Attachment string
	// Addresses are its private ones, the primary first, those of IPv6 last; Groups are its
	// security groups.
	Addresses, Groups []string
	// NoSourceCheck is true if it takes what is not for its own addresses.
	NoSourceCheck bool
}

// NewInterface is an interface to be made.
type NewInterface struct {
	Token, Subnet string
	Groups        []string
	// Addresses is how many private ones it is to have, IPv6 how many of those.
	Addresses, IPv6 int
	Tags            map[string]string
}

// Address is an elastic address, with the instance that it leads to and by which
// association, and the interface: it stays with that one when the instance ends.
// Private is the private address of that interface which it leads to.
type Address struct{ Allocation, IP, Association, Holder, Interface, Private string }

// Target is an instance in a target group on a port (0 is the group's own), with its health.
type Target struct {
	ID     string
	Port   int
	Health string
}

// Drains: it takes no new connections.
func (t Target) Drains() bool { return t.Health == "draining" }

// Record is a name's A record and its AAAA record (V6): the value of each, or why it is not
// one server's alone to change.
type Record struct{ Value, Shared, V6, SharedV6 string }

// Subnet is where a subnet lies: in a zone, and on an Outpost (its ARN) or on none.
type Subnet struct{ Zone, Outpost string }

// Launch is one instance to be made.
type Launch struct {
	Token, Template string
	Version         int
	// Type, Subnet and Primary replace what the template says if they are set.
	Type, Subnet, Primary string
	Tags                  map[string]string
	NoAutoRecovery        bool
	// Own is what the spec itself says of the launch; nil if the template says all.
	Own *fleet.EC2Launch
	// UserData replaces the template's; nil leaves that.
	UserData []byte
}

// Ending says how an instance is ended.
type Ending struct {
	// SkipOS leaves out the guest's shutdown, Force ends one that hangs in stopping.
	SkipOS, Force bool
}

// state is the port's word for EC2's state.
func (m Machine) state() fleet.InstanceState {
	switch m.State {
	case "pending":
		return fleet.InstancePending
	case "running":
		return fleet.InstanceRunning
	case "stopping", "shutting-down":
		return fleet.InstanceStopping
	case "stopped":
		return fleet.InstanceStopped
	case "terminated":
		return fleet.InstanceTerminated
	default:
		return fleet.InstanceLost
	}
}
