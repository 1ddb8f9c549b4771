// Package capture describes a running instance of EC2 as a Server document, faithfully:
// what is launched from the document differs in nothing but what Relight itself sets.
// It is pure; package sdk reads the account.
package capture

import (
	"relight/internal/core/fleet"
)

// Source is what an account tells of one instance. Nothing in it is interpreted yet:
// what stands at EC2's own default is in it too.
type Source struct {
	ID, State, Subnet, Zone, Outpost string
	// Launch is what the instance was launched with, except for Root, which is among
	// the Disks.
	Launch fleet.EC2Launch
	// Tags are all of the instance's, ours and AWS's too.
	Tags map[string]string
	// AutoRecovery is default or disabled.
	AutoRecovery string
	// Type is what the machine type has by itself.
	Type MachineType
	// Protected: EC2 refuses to terminate it; NoStop: to stop it.
	Protected, NoStop bool
	// Lifecycle is spot, scheduled or empty; ScalingGroup the Auto Scaling group that
	// owns it. StoreRoot is whether it starts from a disk that dies with its hardware.
	Lifecycle, ScalingGroup string
	StoreRoot               bool
	RootDevice              string
	// PublicIP is an address that is no elastic one, and is lost at a relaunch.
	PublicIP string

	Disks      []Disk
	Interfaces []Interface
	Addresses  []Address
	Places     []Place
	Records    []Record
	// Blind are the parts that could not be read, each with what AWS said.
	Blind []string
}

// MachineType is what a machine type has unless a launch says otherwise.
type MachineType struct {
	Cores, Threads int
	Burstable      bool
}

// Disk is a volume of the instance.
type Disk struct {
	Device, Volume, Type, Key string
	// Size is in GiB, Throughput in MiB/s.
	Size, IOPS, Throughput int
	// Ends is whether it is deleted with the instance, Multi whether others may have
	// it at the same time.
	Ends, Encrypted, Multi bool
	Tags                   map[string]string
}

// Interface is a network interface of the instance.
type Interface struct {
	fleet.Interface
	// Card is the network card that it is on, Kind what it is unless a plain one.
	Card int
	Kind string
	// Ends is whether it is deleted with the instance.
	Ends bool
	// Prefixes are address prefixes that it was given.
	Prefixes []string
}

// Address is an elastic address that leads to the instance.
type Address struct {
	IP, Allocation string
	// Interface and Private are where it leads.
	Interface, Private string
}

// Place is where the instance serves in a target group, Own the group's own port.
type Place struct {
	Group     string
	Port, Own int
	// ByIP: the group names one of the instance's addresses, not the instance.
	ByIP string
}

// Record is a DNS record with one of the instance's addresses among its values.
type Record struct {
	Zone, Name, Type string
	TTL              int64
	Values           []string
	// Policy is the routing policy's identifier, if it has one.
	Policy string
}
