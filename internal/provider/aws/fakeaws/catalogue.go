package fakeaws

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// catalogue is what an account has besides the truth of the world: names, tags,
// templates. It is guarded by the world's lock.
type catalogue struct {
	machines   map[string]*machine
	volumes    map[string]*volume
	interfaces map[string]*iface
	addresses  map[string]*address // by allocation
	templates  map[string]*template
	subnets    map[string]*Subnet
	images     map[string]*Image
	types      map[string]InstanceType
	snapshots  map[string]map[string]string // tags
	groups     map[string]*group            // by ARN
	zones      map[string]*hostedZone
	queues     map[string]*queue
	// rules are the paths of the queues that EventBridge sends instances' states to.
	rules []string
	// watches are the alarms on status checks that are evaluated.
	watches []*StatusAlarm

	scaling map[string]string // instance -> Auto Scaling group
	quotas  map[string]serviceQuota
	nextIP  map[string]int
	keys    map[string]Key
	// conditions are the context keys that policies ask for, by action.
	conditions map[string]string
	alarms     []Alarm
	reserved   []Reservation
	// zoneStates are what is told of zones that are not available.
	zoneStates map[string]string
	// ips are the interfaces that were made with a private address, by subnet and address.
	ips map[string][]string
	// ids are those of the machines in order, as far as they were needed.
	ids []string
}

func newCatalogue() *catalogue {
	return &catalogue{
		machines: map[string]*machine{}, volumes: map[string]*volume{}, interfaces: map[string]*iface{},
		addresses: map[string]*address{}, templates: map[string]*template{}, subnets: map[string]*Subnet{},
		images: map[string]*Image{}, types: map[string]InstanceType{}, snapshots: map[string]map[string]string{},
		groups: map[string]*group{}, zones: map[string]*hostedZone{}, queues: map[string]*queue{},
		scaling: map[string]string{}, quotas: map[string]serviceQuota{}, nextIP: map[string]int{}, ips: map[string][]string{}, keys: map[string]Key{}, conditions: map[string]string{}, zoneStates: map[string]string{},
	}
}

// machineIDs are the ids of all machines in order. None is ever forgotten here.
func (c *catalogue) machineIDs() []string {
	if len(c.ids) != len(c.machines) {
		c.ids = sorted(c.machines)
	}
	return c.ids
}

// addInterface notes an interface with its addresses.
func (c *catalogue) addInterface(id string, n *iface, ips []string) {
	c.interfaces[id] = n
	for _, ip := range ips {
		key := n.Subnet + "/" + ip
		c.ips[key] = append(c.ips[key], id)
	}
}

// machine is what EC2 records of an instance besides its state.
type machine struct {
	Image, Type, Subnet, Key, UserData, Profile string
	Groups                                      []string
	Tags                                        map[string]string
	Template, TemplateVersion                   string
	Token                                       string
	Launched                                    time.Time
	PrivateIP                                   string
	Primary                                     string // interface
	Root                                        string // volume
	Devices                                     map[string]device
	Metadata                                    Metadata
	AutoRecovery                                string
	EBSOptimized, Monitoring, Protected         bool
	Tenancy                                     string
	options
}

// Metadata are the options of an instance's metadata service.
type Metadata struct {
	Tokens, Endpoint string
	HopLimit         int
}

// device is how a volume is attached.
type device struct {
	Name     string
	Delete   bool
	Attached time.Time
}

type volume struct {
	Type, KMSKey, Snapshot string
	GiB, IOPS, Throughput  int
	Encrypted, Multi       bool
	Root                   bool // it has no counterpart in the world
	Zone                   string
	Created                time.Time
	Tags                   map[string]string
}

type iface struct {
	Subnet, Description  string
	Groups               []string
	Tags                 map[string]string
	DeleteOnEnd, NoCheck bool
	Index                int
}

type address struct {
	Allocation, IP string
	// Pool is the customer's own pool, on an Outpost, that the address is of, or empty.
	Pool        string
	Association string
	PrivateIP   string
	Tags        map[string]string
}

// Subnet is a place for instances. Site is the world's: a zone or an outpost.
type Subnet struct {
	ID, VPC, Zone, Site, CIDR string
	// Prefix6 is what its IPv6 addresses begin with, such as 2001:db8:1:2::, or empty.
	Prefix6    string
	OutpostARN string
}

// Image is what instances start from.
type Image struct {
	ID, RootDevice string
	RootGiB        int
	// InstanceStore images start from a disk of the host, as on an Outposts server: their
	// instances cannot be stopped, only ended.
	InstanceStore bool
}

func (i Image) rootType() string {
	if i.InstanceStore {
		return "instance-store"
	}
	return "ebs"
}

// InstanceType is a machine type.
type InstanceType struct {
	Name         string
	CPUs, MiB    int
	AutoRecovery bool
	// Burstable types earn CPU credits.
	Burstable bool
	// Attachments is how many volumes and interfaces together it takes; 0 for any number.
	Attachments int
}

// VolumeSpec describes a volume to add. Its place is the world's zone.
type VolumeSpec struct {
	ID, Server, Zone, Type, KMSKey string
	GiB                            int
	Tags                           map[string]string
	Multi                          bool
}

// AddSubnet adds a subnet; its site must be in the world.
func (e *Endpoint) AddSubnet(s Subnet) {
	e.locked(func() {
		if s.Site == "" {
			s.Site = s.Zone
		}
		e.cat.subnets[s.ID] = &s
	})
}

// SetZoneState says what EC2 tells of a zone: available, impaired or unavailable. It
// changes nothing else.
func (e *Endpoint) SetZoneState(zone, state string) {
	e.locked(func() { e.cat.zoneStates[zone] = state })
}

// AddImage and AddType add what a launch may name.
func (e *Endpoint) AddImage(i Image) { e.locked(func() { e.cat.images[i.ID] = &i }) }

// AddType adds a machine type.
func (e *Endpoint) AddType(t InstanceType) { e.locked(func() { e.cat.types[t.Name] = t }) }

// AddVolume adds a volume to account and world.
func (e *Endpoint) AddVolume(v VolumeSpec) {
	e.locked(func() {
		e.w.AddVolume(world.Volume{ID: v.ID, Server: v.Server, Reach: fleet.ReachZone, Place: v.Zone})
		e.cat.volumes[v.ID] = &volume{Type: cmp.Or(v.Type, "gp3"), KMSKey: v.KMSKey, Encrypted: v.KMSKey != "", GiB: max(v.GiB, 1), Multi: v.Multi, Zone: v.Zone, Created: e.w.Now(), Tags: maps.Clone(v.Tags)}
	})
}

// AddInterface adds an interface of a subnet to account and world.
func (e *Endpoint) AddInterface(id, server, subnet, mac string, ips ...string) {
	e.locked(func() {
		e.w.AddInterface(world.Interface{ID: id, Server: server, Place: e.cat.subnets[subnet].Site, MAC: mac, IPs: ips})
		e.cat.addInterface(id, &iface{Subnet: subnet, Groups: []string{"sg-default"}}, ips)
	})
}

// AddAddress allocates an elastic address.
func (e *Endpoint) AddAddress(allocation, ip, server string) {
	e.locked(func() {
		e.w.AddAddress(world.Address{IP: ip, Server: server, Exclusive: true})
		e.cat.addresses[allocation] = &address{Allocation: allocation, IP: ip}
	})
}

// AddCustomerAddress allocates an elastic address of the customer's own pool.
func (e *Endpoint) AddCustomerAddress(allocation, ip, pool, server string) {
	e.AddAddress(allocation, ip, server)
	e.locked(func() { e.cat.addresses[allocation].Pool = pool })
}

// PutInScalingGroup says that an Auto Scaling group owns an instance.
func (e *Endpoint) PutInScalingGroup(instance, group string) {
	e.locked(func() { e.cat.scaling[instance] = group })
}

func (e *Endpoint) locked(do func()) {
	e.w.Lock()
	defer e.w.Unlock()
	do()
}

// zoneOf is the zone above a host.
func (e *Endpoint) zoneOf(host string) string {
	for _, s := range e.cat.subnets {
		if e.w.Within(host, s.Site) {
			return s.Zone
		}
	}
	return ""
}

// tagsOf returns the tags of any resource, for reading and writing.
func (e *Endpoint) tagsOf(id string) (*map[string]string, error) {
	c := e.cat
	switch {
	case c.machines[id] != nil:
		return &c.machines[id].Tags, nil
	case c.volumes[id] != nil:
		return &c.volumes[id].Tags, nil
	case c.interfaces[id] != nil:
		return &c.interfaces[id].Tags, nil
	case c.addresses[id] != nil:
		return &c.addresses[id].Tags, nil
	case c.snapshots[id] != nil:
		t := c.snapshots[id]
		return &t, nil
	case c.templates[id] != nil:
		return &c.templates[id].Tags, nil
	default:
		return nil, refuse("InvalidID", "The ID '%s' is not valid", id)
	}
}

// specTags reads the tags that a request gives to resources of one kind.
func specTags(f form, kind string) map[string]string {
	out := map[string]string{}
	for _, s := range f.subs("TagSpecification") {
		is := s.get("ResourceType")
		for _, t := range s.subs("Tag") {
			k, v := t.get("Key"), t.get("Value")
			if is == kind {
				out[k] = v
			}
		}
	}
	return out
}

// identityOf reads the server and epoch from tags; machines of others count as
// servers of their own.
func identityOf(tags map[string]string, id string) (string, fleet.Epoch) {
	n, err := strconv.ParseUint(tags["relight:epoch"], 10, 64)
	if tags["relight:server"] == "" || err != nil {
		return "of-" + id, 1
	}
	return tags["relight:server"], fleet.Epoch(n)
}

// freeIP gives out the next address of a subnet.
func (e *Endpoint) freeIP(s *Subnet) string {
	e.cat.nextIP[s.ID]++
	n := e.cat.nextIP[s.ID] + 9
	var a, b, c int
	if _, err := fmt.Sscanf(s.CIDR, "%d.%d.%d.", &a, &b, &c); err != nil {
		a, b, c = 10, 0, 0
	}
	return fmt.Sprintf("%d.%d.%d.%d", a, b, c+n/250, n%250+1)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
