package fakeaws

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// order is a launch with template and request joined: what the request says wins.
type order struct {
	machine
	privateIP  string
	interfaces []string // existing ones, by index
	zone       string
}

// runInstances starts one instance. More at once are refused: each server of ours
// is launched by itself, under a token of its own.
func (e *Endpoint) runInstances(f form) (any, error) {
	if f.int("MinCount", 0) != 1 || f.int("MaxCount", 0) != 1 {
		return nil, refuse("InvalidParameterValue", "this endpoint starts one instance at a time")
	}
	o, err := e.orderOf(f)
	if err != nil {
		return nil, err
	}
	if o.Profile != "" && e.denied["iam:PassRole"] {
		return nil, e.unauthorized(request{service: "iam", action: "PassRole"})
	}
	token := f.get("ClientToken")
	o.Token = token
	id, err := e.once(token, f, func() (string, error) {
		if err := e.withinCPUs(o.Type); err != nil {
			return "", err
		}
		return e.launch(o)
	})
	if err != nil {
		return nil, err
	}
	if e.w.Instance(id).State.Gone() {
		return nil, fmt.Errorf("instance %s: %w", id, world.ErrTokenEnded)
	}
	return struct {
		Reservation string        `xml:"reservationId"`
		Owner       string        `xml:"ownerId"`
		Instances   []instanceXML `xml:"instancesSet>item"`
	}{"r-" + id, e.opt.Account, []instanceXML{e.instance(id, e.present(id))}}, nil
}

// once carries out a request with a client token at most once; another request
// with the same token is refused.
func (e *Endpoint) once(token string, f form, do func() (string, error)) (string, error) {
	var all []string
	for _, k := range sorted(f.values) {
		if k != "ClientToken" {
			all = append(all, k+"="+strings.Join(f.values[k], ","))
		}
	}
	if token != "" {
		token = "aws/" + token
	}
	return e.w.Once(token, strings.Join(all, "&"), do)
}

func (e *Endpoint) orderOf(f form) (order, error) {
	var o order
	if lt, named := f.sub("LaunchTemplate"); named {
		v, err := e.templateVersion(lt.get("LaunchTemplateId"), lt.get("LaunchTemplateName"), lt.get("Version"))
		if err != nil {
			return o, err
		}
		o = v.order
		o.Tags = maps.Clone(o.Tags)
		o.Template, o.TemplateVersion = v.template, fmt.Sprint(v.number)
	}
	if err := e.overlay(&o, f); err != nil {
		return o, err
	}
	s := e.cat.subnets[o.Subnet]
	switch {
	case o.Image == "" || e.cat.images[o.Image] == nil:
		return o, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", o.Image)
	case len(o.interfaces) > 0: // the interface is where it is, whatever a template says
		i := e.cat.interfaces[o.interfaces[0]]
		if i == nil {
			return o, refuse("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", o.interfaces[0])
		}
		o.Subnet = i.Subnet
	case s == nil && o.Subnet != "":
		return o, refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", o.Subnet)
	case s == nil:
		return o, refuse("MissingInput", "No subnets found for the default VPC. Please specify a subnet.")
	}
	if _, is := e.cat.types[o.Type]; !is {
		return o, refuse("InvalidParameterValue", "Invalid value '%s' for InstanceType.", o.Type)
	}
	return o, nil
}

// overlay reads launch parameters, of a request or a template.
func (e *Endpoint) overlay(o *order, f form) error {
	set := func(into *string, key string) {
		if v := f.get(key); v != "" {
			*into = v
		}
	}
	set(&o.Image, "ImageId")
	set(&o.Type, "InstanceType")
	set(&o.Subnet, "SubnetId")
	set(&o.Key, "KeyName")
	set(&o.UserData, "UserData")
	if err := checkUserData(f.get("UserData")); err != nil {
		return err
	}
	set(&o.privateIP, "PrivateIpAddress")
	set(&o.Profile, "IamInstanceProfile.Arn")
	set(&o.Profile, "IamInstanceProfile.Name")
	set(&o.AutoRecovery, "MaintenanceOptions.AutoRecovery")
	set(&o.Tenancy, "Placement.Tenancy")
	set(&o.zone, "Placement.AvailabilityZone")
	set(&o.Metadata.Tokens, "MetadataOptions.HttpTokens")
	set(&o.Metadata.Endpoint, "MetadataOptions.HttpEndpoint")
	o.read(f)
	o.Metadata.HopLimit = f.int("MetadataOptions.HttpPutResponseHopLimit", o.Metadata.HopLimit)
	o.EBSOptimized = o.EBSOptimized || f.bool("EbsOptimized")
	o.Monitoring = o.Monitoring || f.bool("Monitoring.Enabled")
	o.Protected = o.Protected || f.bool("DisableApiTermination")
	if g := f.list("SecurityGroupId"); len(g) > 0 {
		o.Groups = g
	}
	if o.Tags == nil {
		o.Tags = map[string]string{}
	}
	maps.Copy(o.Tags, specTags(f, "instance"))
	for _, n := range f.subs("NetworkInterface") {
		if id := n.get("NetworkInterfaceId"); id != "" {
			o.interfaces = append(o.interfaces, id)
			continue
		}
		if v := n.get("SubnetId"); v != "" {
			o.Subnet = v
		}
		if v := n.get("PrivateIpAddress"); v != "" {
			o.privateIP = v
		}
		if g := n.list("SecurityGroupId"); len(g) > 0 {
			o.Groups = g
		}
	}
	if f.get("SubnetId") != "" && len(o.interfaces) > 0 {
		return refuse("InvalidParameterCombination", "Network interfaces and an instance-level subnet ID may not be specified on the same request")
	}
	for _, b := range f.subs("BlockDeviceMapping") {
		name := b.get("DeviceName")
		if o.Devices == nil {
			o.Devices = map[string]device{}
		}
		o.Devices[name] = device{Name: name, Delete: b.get("Ebs.DeleteOnTermination") != "false"}
	}
	return nil
}

// Running is an instance of AddRunning.
type Running struct{ Server, Subnet, Image, Type, Volume string }

// AddRunning adds an instance with a volume, as if it had been launched as the first
// epoch of a server long ago. The world must start instances at once.
func (e *Endpoint) AddRunning(r Running) (err error) {
	e.locked(func() {
		var id string
		id, err = e.launch(order{machine: machine{
			Image: r.Image, Type: r.Type, Subnet: r.Subnet,
			Tags: map[string]string{"Name": r.Server, "relight:server": r.Server, "relight:epoch": "1", "relight:token": "t-" + r.Server},
		}})
		if err != nil {
			return
		}
		e.w.RunUntil(e.w.Now())
		s := e.cat.subnets[r.Subnet]
		e.w.AddVolume(world.Volume{ID: r.Volume, Server: r.Server, Reach: fleet.ReachZone, Place: s.Site})
		e.cat.volumes[r.Volume] = &volume{Type: "gp3", GiB: 20, Zone: s.Zone, Created: e.w.Now(), Tags: map[string]string{"relight:server": r.Server, "relight:epoch": "1"}}
		err = e.w.AttachVolume(r.Volume, e.w.Instance(id))
		e.cat.machines[id].Devices[r.Volume] = device{Name: "/dev/sdf", Attached: e.w.Now()}
	})
	return err
}

// launch makes the machine in the world and notes the rest.
func (e *Endpoint) launch(o order) (string, error) {
	s := e.cat.subnets[o.Subnet]
	server, epoch := identityOf(o.Tags, fmt.Sprint("new-", e.next()))
	primary := ""
	if len(o.interfaces) == 0 {
		primary = fmt.Sprintf("eni-auto-%05d", e.next())
		ip := cmp.Or(o.privateIP, e.freeIP(s))
		if taken := e.holderOfIP(o.Subnet, ip); taken != "" {
			return "", refuse("InvalidIPAddress.InUse", "Address %s is in use by %s.", ip, taken)
		}
		n := e.seq
		e.w.AddInterface(world.Interface{ID: primary, Server: server, Place: s.Site, MAC: fmt.Sprintf("0a:00:00:%02x:%02x:%02x", n>>16&255, n>>8&255, n&255), IPs: []string{ip}})
		e.cat.addInterface(primary, &iface{Subnet: o.Subnet, Groups: o.Groups, DeleteOnEnd: true, Description: "Primary network interface"}, []string{ip})
		o.interfaces = []string{primary}
	}
	i, err := e.w.Prepare(world.Request{
		Server: server, Epoch: epoch, Site: s.Site, Style: world.Machine, Token: o.Token, Units: 1, Type: o.Type,
		AutoRecover: o.AutoRecovery != "disabled" && e.cat.types[o.Type].AutoRecovery, Interfaces: o.interfaces,
	})
	if err != nil {
		if primary != "" {
			delete(e.cat.interfaces, primary)
			_ = e.w.DeleteInterface(primary) // it was made a moment ago and is free
		}
		return "", err
	}
	if err := e.w.Start(i); err != nil {
		return "", err
	}
	m := o.machine
	m.Launched, m.Primary = e.w.Now(), o.interfaces[0]
	m.PrivateIP = e.w.Interface(m.Primary).IPs[0]
	m.Devices = map[string]device{}
	image := e.cat.images[o.Image]
	if image.InstanceStore {
		e.began(&m, i.ID, o)
		return i.ID, nil
	}
	m.Root = fmt.Sprintf("vol-root-%05d", e.next())
	keepRoot := o.Devices[image.RootDevice]
	m.Devices[m.Root] = device{Name: image.RootDevice, Delete: keepRoot.Name == "" || keepRoot.Delete, Attached: e.w.Now()}
	root := o.root(image)
	root.Zone, root.Created, root.Tags = s.Zone, e.w.Now(), specTagsOr(o.Tags)
	maps.Copy(root.Tags, o.volumeTags)
	e.cat.volumes[m.Root] = root
	e.began(&m, i.ID, o)
	return i.ID, nil
}

// began notes a machine that was made.
func (e *Endpoint) began(m *machine, id string, o order) {
	for n, iface := range o.interfaces {
		e.cat.interfaces[iface].Index = n
	}
	m.Groups = slices.Clone(o.Groups)
	if len(m.Groups) == 0 {
		m.Groups = []string{"sg-default"}
	}
	e.cat.machines[id] = m
}

func specTagsOr(tags map[string]string) map[string]string {
	out := map[string]string{}
	if s, has := tags["relight:server"]; has {
		out["relight:server"] = s
	}
	return out
}

// holderOfIP is the interface that has a private address already.
func (e *Endpoint) holderOfIP(subnet, ip string) string {
	for _, id := range e.cat.ips[subnet+"/"+ip] {
		n, c := e.w.Interface(id), e.cat.interfaces[id]
		if n == nil || c == nil || c.DeleteOnEnd && n.Holder == "" {
			continue // it went with its instance
		}
		return id
	}
	return ""
}

func (e *Endpoint) find(id string) (*world.Instance, error) {
	i := e.w.Instance(id)
	if i == nil || e.cat.machines[id] == nil {
		return nil, refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
	}
	return i, nil
}

// all looks up each instance of a request before anything is done to one.
func (e *Endpoint) all(f form) ([]*world.Instance, error) {
	var out []*world.Instance
	for _, id := range f.list("InstanceId") {
		i, err := e.find(id)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	if len(out) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter InstanceId")
	}
	return out, nil
}

type changeXML struct {
	ID       string   `xml:"instanceId"`
	Current  stateXML `xml:"currentState"`
	Previous stateXML `xml:"previousState"`
}

type changes struct {
	Items []changeXML `xml:"instancesSet>item"`
}

// change does one thing to each instance and tells the states before and after.
func (e *Endpoint) change(f form, do func(*world.Instance) error) (any, error) {
	list, err := e.all(f)
	if err != nil {
		return nil, err
	}
	var out changes
	for _, i := range list {
		before := i.PlatformState()
		if err := do(i); err != nil {
			return nil, err
		}
		after := i.PlatformState()
		out.Items = append(out.Items, changeXML{i.ID, stateXML{stateCodes[after], after}, stateXML{stateCodes[before], before}})
	}
	return out, nil
}

// startInstances starts stopped instances on whatever hardware has room. A tag
// says which epoch that is: to the platform it is the same instance.
func (e *Endpoint) startInstances(f form) (any, error) {
	return e.change(f, func(i *world.Instance) error {
		m := e.cat.machines[i.ID]
		if err := e.withinCPUs(m.Type); err != nil && i.State == fleet.InstanceStopped {
			return err
		}
		if server, epoch := identityOf(m.Tags, i.ID); server == i.Server && epoch > i.Epoch && i.State == fleet.InstanceStopped {
			return e.w.Recover(i, epoch, e.cat.subnets[m.Subnet].Site)
		}
		return e.w.StartMachine(i)
	})
}

func (e *Endpoint) stopInstances(f form) (any, error) {
	how := world.Ending{SkipOS: f.bool("SkipOsShutdown"), Force: f.bool("Force")}
	return e.change(f, func(i *world.Instance) error {
		if e.cat.images[e.cat.machines[i.ID].Image].InstanceStore {
			return refuse("UnsupportedOperation", "The instance '%s' does not have an 'ebs' root device type and cannot be stopped", i.ID)
		}
		return e.w.StopMachine(i, how)
	})
}

func (e *Endpoint) terminateInstances(f form) (any, error) {
	how := world.Ending{SkipOS: f.bool("SkipOsShutdown"), Force: f.bool("Force")}
	return e.change(f, func(i *world.Instance) error {
		if e.cat.machines[i.ID].Protected {
			return refuse("OperationNotPermitted", "The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", i.ID)
		}
		return e.w.TerminateMachine(i, how)
	})
}

func (e *Endpoint) rebootInstances(f form) (any, error) {
	list, err := e.all(f)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if i.State != fleet.InstanceRunning {
			return nil, fmt.Errorf("%s is %s: %w", i.ID, i.PlatformState(), world.ErrInstanceState)
		}
		_ = e.w.Reboot(i) // the request is taken; on dead hardware nothing comes of it
	}
	return done{true}, nil
}

func (e *Endpoint) modifyMaintenance(f form) (any, error) {
	id := f.get("InstanceId")
	i, err := e.find(id)
	if err != nil {
		return nil, err
	}
	v := f.get("AutoRecovery")
	if v != "default" && v != "disabled" {
		return nil, refuse("InvalidParameterValue", "AutoRecovery %q", v)
	}
	e.cat.machines[id].AutoRecovery = v
	i.AutoRecover = v == "default" && e.cat.types[e.cat.machines[id].Type].AutoRecovery
	return struct {
		ID string `xml:"instanceId"`
		V  string `xml:"autoRecovery"`
	}{id, v}, nil
}

// maxUserData is EC2's limit in bytes before base64.
const maxUserData = 16384

func checkUserData(encoded string) error {
	data, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err != nil:
		return refuse("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
	case len(data) > maxUserData:
		return refuse("InvalidParameterValue", "User data is limited to %d bytes", maxUserData)
	}
	return nil
}

// modifyAttribute changes which devices end with their instance, and the user data of a
// stopped one.
func (e *Endpoint) modifyAttribute(f form) (any, error) {
	i, err := e.find(f.get("InstanceId"))
	if err != nil {
		return nil, err
	}
	m := e.cat.machines[i.ID]
	if data := f.get("UserData.Value"); data != "" {
		if i.State != fleet.InstanceStopped {
			return nil, refuse("IncorrectInstanceState", "The instance '%s' is not in the 'stopped' state.", i.ID)
		}
		if err := checkUserData(data); err != nil {
			return nil, err
		}
		m.UserData = data
	}
	for _, b := range f.subs("BlockDeviceMapping") {
		name, del := b.get("DeviceName"), b.get("Ebs.DeleteOnTermination")
		found := false
		for id, d := range m.Devices { // order: device names are unique
			if d.Name == name {
				d.Delete, found = del == "true", true
				m.Devices[id] = d
			}
		}
		if !found {
			return nil, refuse("InvalidInstanceAttributeValue", "No device is currently mapped at %s", name)
		}
	}
	return done{true}, nil
}
