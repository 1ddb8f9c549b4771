package capture

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/provider/guest"
)

// Found is a source as a server's document has it.
type Found struct {
	Name     string
	Template fleet.EC2Template
	Identity fleet.Identity
	// Notes are what a person must look at; Lacks are why there can be no server of
	// it yet.
	Notes, Lacks []string
}

// Read says what a server is that this source is an instance of. name replaces the
// one that its tags give it.
func Read(s Source, name string) Found {
	f := Found{Name: cmp.Or(name, nameOf(s))}
	f.note("captured from %s (%s) in %s", s.ID, s.State, s.Zone)
	for _, b := range s.Blind {
		f.Lacks = append(f.Lacks, "a part of it could not be read: "+b)
	}
	f.refuse(s)
	f.launch(s)
	f.disks(s)
	f.interfaces(s)
	f.addresses(s)
	f.places(s)
	return f
}

func (f *Found) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

func (f *Found) lack(format string, args ...any) {
	f.Lacks = append(f.Lacks, fmt.Sprintf(format, args...))
}

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// nameOf is the server's name by the instance's tags.
func nameOf(s Source) string {
	if n := s.Tags[awsprovider.TagServer]; n != "" {
		return n
	}
	label := notLabel.ReplaceAllString(strings.ToLower(cmp.Or(s.Tags["Name"], s.ID)), "-")
	return strings.Trim(label[:min(len(label), 63)], "-")
}

// refuse names what no recovery of ours could bring back.
func (f *Found) refuse(s Source) {
	switch {
	case s.State == "terminated" || s.State == "shutting-down":
		f.lack("it is %s: nothing is left to capture", s.State)
	case s.ScalingGroup != "":
		f.lack("the Auto Scaling group %s owns it, which would replace it beside us: aws autoscaling detach-instances --should-decrement-desired-capacity --auto-scaling-group-name %s --instance-ids %s", s.ScalingGroup, s.ScalingGroup, s.ID)
	case s.Lifecycle != "":
		f.lack("it is a %s instance, which EC2 takes back when it wants: launch it on demand", s.Lifecycle)
	case s.StoreRoot:
		f.lack("it starts from an instance store, which is lost with its hardware: make an image of it that starts from EBS")
	}
}

func (f *Found) launch(s Source) {
	l := s.Launch
	if raw, err := base64.StdEncoding.DecodeString(l.UserData); err == nil { // our agent's part is joined at each launch
		l.UserData = base64.StdEncoding.EncodeToString(guest.Without(raw))
	}
	l.Tags = maps.Clone(s.Tags)
	maps.DeleteFunc(l.Tags, func(k, _ string) bool { return strings.HasPrefix(k, "relight:") || strings.HasPrefix(k, "aws:") })
	if len(l.Tags) == 0 {
		l.Tags = nil
	}
	leaveDefaults(&l, s.Type)
	f.Template = fleet.EC2Template{Launch: &l, AutoRecovery: fleet.AutoRecoveryPlatform}
	if s.AutoRecovery == "disabled" {
		f.Template.AutoRecovery = fleet.AutoRecoveryOurs
	}
	f.noteLaunch(s, l)
}

// leaveDefaults leaves out what stands at EC2's default, where the default is the same for
// all accounts: types refuse some of these options even at their defaults.
func leaveDefaults(l *fleet.EC2Launch, kind MachineType) {
	if c := l.CPU; c != nil && (kind.Cores == 0 || c.Cores == kind.Cores && c.Threads == kind.Threads) {
		l.CPU = nil
	}
	if p := l.Place; p != nil && *p == (fleet.EC2Place{Tenancy: fleet.TenancyDefault}) || p != nil && *p == (fleet.EC2Place{}) {
		l.Place = nil
	}
	if r := l.Reservation; r != nil && *r == (fleet.EC2Reservation{Preference: fleet.PreferOpen}) {
		l.Reservation = nil
	}
	if h := l.Hostname; h != nil && (*h == fleet.EC2Hostname{Type: fleet.HostnameIP} || *h == fleet.EC2Hostname{}) {
		l.Hostname = nil
	}
	if l.Bandwidth == fleet.BandwidthDefault {
		l.Bandwidth = ""
	}
	if l.OnShutdown == fleet.ShutdownStops {
		l.OnShutdown = ""
	}
}

// noteLaunch tells a person what to look at before the document is used.
func (f *Found) noteLaunch(s Source, l fleet.EC2Launch) {
	if s.Tags["aws:ec2launchtemplate:id"] != "" {
		f.note("it came from the launch template %s, version %s; what it really has stands here, which may be more", s.Tags["aws:ec2launchtemplate:id"], s.Tags["aws:ec2launchtemplate:version"])
	}
	if l.UserData != "" {
		f.note("its user data stand here as they are: look for secrets before you share this file")
	}
	if s.Protected || s.NoStop {
		f.note("it is protected from being ended, which is not taken over: Relight ends an instance before it makes the next; to let it end this one: aws ec2 modify-instance-attribute --no-disable-api-termination --no-disable-api-stop --instance-id %s", s.ID)
	}
	if p := l.Place; p != nil && p.Host != "" {
		f.note("it needs the dedicated host %s and is lost with it: name a hostGroup instead", p.Host)
	}
	if s.Outpost != "" {
		f.note("it runs on the outpost %s", s.Outpost)
	}
}

func (f *Found) disks(s Source) {
	for _, d := range s.Disks {
		if d.Device == s.RootDevice {
			r := &fleet.EC2Root{Device: d.Device, Size: d.Size, Type: d.Type, Encrypted: d.Encrypted, Key: d.Key, Keep: !d.Ends, Tags: clean(d.Tags)}
			switch d.Type { // other types refuse what they cannot be given
			case "gp3":
				r.IOPS, r.Throughput = d.IOPS, d.Throughput
			case "io1", "io2":
				r.IOPS = d.IOPS
			}
			f.Template.Launch.Root = r
			f.note("its root disk %s is made anew from %s at each relaunch: what was changed on it is lost; data belong on another volume, and changes into an image: aws ec2 create-image --instance-id %s", d.Volume, s.Launch.Image, s.ID)
			continue
		}
		name := strings.Trim(notLabel.ReplaceAllString(strings.ToLower(strings.TrimPrefix(d.Device, "/dev/")), "-"), "-")
		f.Identity.Volumes = append(f.Identity.Volumes, fleet.Volume{Name: name, ID: d.Volume, Reach: fleet.ReachZone, Device: d.Device})
		if d.Multi {
			f.note("volume %s is Multi-Attach: others may write to it, and only reservations on the volume would keep an old epoch out", d.Volume)
		}
	}
	if f.Template.Launch.Root == nil && !s.StoreRoot && s.RootDevice != "" {
		f.lack("its root disk %s could not be read", s.RootDevice)
	}
}

func clean(tags map[string]string) map[string]string {
	tags = maps.Clone(tags)
	maps.DeleteFunc(tags, func(k, _ string) bool { return strings.HasPrefix(k, "relight:") || strings.HasPrefix(k, "aws:") })
	if len(tags) == 0 {
		return nil
	}
	return tags
}

func (f *Found) interfaces(s Source) {
	list := slices.Clone(s.Interfaces)
	slices.SortFunc(list, func(a, b Interface) int { return cmp.Compare(a.Index, b.Index) })
	primary := false
	for _, n := range list {
		switch {
		case n.Card > 0:
			f.lack("the interface %s is on network card %d: Relight attaches to the first alone", n.ID, n.Card)
		case n.Kind != "" && n.Kind != "interface":
			f.lack("the interface %s is of kind %s, which cannot be moved", n.ID, n.Kind)
		}
		primary = primary || n.Index == 0
		x := n.Interface
		x.Groups = slices.Sorted(slices.Values(x.Groups))
		f.Identity.Interfaces = append(f.Identity.Interfaces, x)
		if n.Ends {
			f.note("interface %s ends with the instance if anybody but Relight terminates it, and its addresses with it; to keep it: aws ec2 modify-network-interface-attribute --network-interface-id %s --attachment AttachmentId=…,DeleteOnTermination=false", n.ID, n.ID)
		}
		for _, p := range n.Prefixes {
			f.note("interface %s has the prefix %s, which moves with it", n.ID, p)
		}
	}
	f.Template.Launch.Groups = nil // an interface that exists brings its own
	if !primary {
		f.Template.Subnet, f.Template.Launch.Groups = s.Subnet, slices.Sorted(slices.Values(s.Launch.Groups))
	}
	if s.PublicIP != "" {
		f.note("its public address %s is no elastic one and is another after each relaunch: aws ec2 allocate-address", s.PublicIP)
	}
}

// addresses takes the elastic ones, the one that most names lead to first, for a name
// leads to the first.
func (f *Found) addresses(s Source) {
	led := map[string]int{}
	for _, r := range s.Records {
		for _, v := range r.Values {
			led[v]++
		}
	}
	list := slices.Clone(s.Addresses)
	slices.SortStableFunc(list, func(a, b Address) int {
		return cmp.Or(cmp.Compare(led[b.IP], led[a.IP]), cmp.Compare(a.IP, b.IP))
	})
	for _, a := range list {
		if a.Allocation == "" {
			continue
		}
		f.Identity.Addresses = append(f.Identity.Addresses, f.destination(a))
	}
	f.names(s)
}

// destination is an elastic address as the document has it: where it leads is left out if
// that is the primary private address of the primary interface.
func (f *Found) destination(a Address) fleet.Address {
	out := fleet.Address{IP: a.IP, Allocation: a.Allocation}
	for n, own := range f.Identity.Interfaces {
		if own.ID != a.Interface {
			continue
		}
		if a.Private != "" && len(own.Addresses) > 0 && own.Addresses[0] != a.Private {
			out.Interface, out.Private = own.ID, a.Private
		} else if n > 0 {
			out.Interface = own.ID
		}
	}
	return out
}

// first6 is the first IPv6 address of the first interface, or empty.
func (f *Found) first6() string {
	if len(f.Identity.Interfaces) == 0 {
		return ""
	}
	for _, text := range f.Identity.Interfaces[0].Addresses {
		if ip, err := netip.ParseAddr(text); err == nil && ip.Is6() {
			return text
		}
	}
	return ""
}

func (f *Found) names(s Source) {
	first := ""
	if len(f.Identity.Addresses) > 0 {
		first = f.Identity.Addresses[0].IP
	}
	six := map[string]Record{} // by name and zone
	for _, r := range s.Records {
		if r.Type == "AAAA" && r.Policy == "" && len(r.Values) == 1 && r.Values[0] == f.first6() {
			six[r.Zone+" "+r.Name] = r
		}
	}
	beside := map[string]bool{}
	for _, r := range s.Records {
		if s6, is := six[r.Zone+" "+r.Name]; is && r.Type == "A" && r.Policy == "" && len(r.Values) == 1 && r.Values[0] == first && s6.TTL == r.TTL {
			beside[r.Zone+" "+r.Name] = true
		}
	}
	for _, r := range s.Records {
		name := strings.TrimSuffix(r.Name, ".")
		switch {
		case r.Policy != "":
			f.note("the record %s %s has a routing policy (%s) and is left alone: it keeps leading to %s", name, r.Type, r.Policy, strings.Join(r.Values, ", "))
		case r.Type == "AAAA" && beside[r.Zone+" "+r.Name]:
			continue // it goes with the A record
		case r.Type == "AAAA" && len(r.Values) == 1:
			f.note("the record %s AAAA leads to %s, which moves with its interface, and is left alone: beside an A record with the same TTL that leads to the first elastic address it would be set with that", name, r.Values[0])
		case len(r.Values) != 1 || r.Type != "A":
			f.note("the record %s %s with %d values is left alone", name, r.Type, len(r.Values))
		case r.Values[0] == first:
			f.Identity.Names = append(f.Identity.Names, fleet.DNSName{Name: name, Zone: strings.TrimPrefix(r.Zone, "/hostedzone/"), TTL: fleet.Duration(time.Duration(r.TTL) * time.Second), IPv6: beside[r.Zone+" "+r.Name]})
		case private(r.Values[0]):
			f.note("the record %s leads to the private address %s, which moves with its interface", name, r.Values[0])
		default:
			f.note("the record %s leads to %s, which is not the first elastic address, and is left alone", name, r.Values[0])
		}
	}
	slices.SortFunc(f.Identity.Names, func(a, b fleet.DNSName) int { return cmp.Compare(a.Name, b.Name) })
}

func private(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.IsPrivate()
}

func (f *Found) places(s Source) {
	ports, own := map[string][]int{}, map[string]int{}
	for _, p := range s.Places {
		switch {
		case p.ByIP != "":
			f.note("target group %s names its address %s, which moves with its interface", p.Group, p.ByIP)
		default:
			ports[p.Group] = append(ports[p.Group], p.Port)
			own[p.Group] = p.Own
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ports)) {
		g := fleet.Group{ID: id}
		if all := slices.Compact(slices.Sorted(slices.Values(ports[id]))); !slices.Equal(all, []int{own[id]}) {
			g.Ports = all
		}
		f.Identity.Groups = append(f.Identity.Groups, g)
	}
}

// Document is the server in mode observe, in JSON, as capture number n.
func (f Found) Document(n int) ([]byte, error) {
	return json.Marshal(map[string]any{
		"apiVersion": "relight/v1alpha1", "kind": "Server", "metadata": map[string]any{"name": f.Name},
		"spec": map[string]any{"mode": fleet.Observe, "identity": f.Identity, "template": map[string]any{"ec2": f.template(n)}},
	})
}

func (f Found) template(n int) fleet.EC2Template {
	t, l := f.Template, *f.Template.Launch
	l.Capture, t.Launch = n, &l
	return t
}
