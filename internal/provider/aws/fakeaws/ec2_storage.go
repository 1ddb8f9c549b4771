package fakeaws

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

func (e *Endpoint) findVolume(id string) (*volume, error) {
	v := e.cat.volumes[id]
	if v == nil || !v.Root && e.w.Volume(id) == nil {
		return nil, refuse("InvalidVolume.NotFound", "The volume '%s' does not exist.", id)
	}
	return v, nil
}

func (e *Endpoint) volume(id string) (volumeXML, bool) {
	v := e.cat.volumes[id]
	x := volumeXML{ID: id, GiB: v.GiB, Snapshot: v.Snapshot, Zone: v.Zone, Created: v.Created, Tags: tagSet(v.Tags), Type: v.Type, Encrypted: v.Encrypted, KMSKey: v.KMSKey, Multi: v.Multi, IOPS: v.IOPS, Throughput: v.Throughput}
	if v.Root {
		return e.rootVolume(id, x)
	}
	sight, err := e.w.SeeVolume(id)
	if err != nil {
		return x, false
	}
	x.Status = sight.State
	if sight.Holder != "" {
		var d device
		if m := e.cat.machines[sight.Holder]; m != nil {
			d = m.Devices[id]
		}
		x.Attachments = []attachmentXML{{id, sight.Holder, d.Name, sight.Attachment, d.Attached, d.Delete}}
	}
	return x, true
}

// rootVolume is there as long as its instance, unless it is to be kept.
func (e *Endpoint) rootVolume(id string, x volumeXML) (volumeXML, bool) {
	for _, owner := range sorted(e.cat.machines) {
		m := e.cat.machines[owner]
		if m.Root != id {
			continue
		}
		if gone(e.w.Instance(owner)) {
			x.Status = "available"
			return x, !m.Devices[id].Delete
		}
		d := m.Devices[id]
		x.Status, x.Attachments = "in-use", []attachmentXML{{id, owner, d.Name, "attached", d.Attached, d.Delete}}
		return x, true
	}
	return x, false
}

func (e *Endpoint) describeVolumes(f form) (any, error) {
	ids, filters := f.list("VolumeId"), f.filters()
	if err := known(filters, "volume-id", "availability-zone", "status", "attachment.instance-id", "tag-key", "tag:*"); err != nil {
		return nil, err
	}
	var out struct {
		Items []volumeXML `xml:"volumeSet>item"`
		Next  string      `xml:"nextToken,omitempty"`
	}
	for _, id := range pick(ids, e.cat.volumes) {
		v, err := e.findVolume(id)
		if err != nil {
			return nil, err
		}
		x, seen := e.volume(id)
		if !seen {
			if len(ids) > 0 {
				return nil, refuse("InvalidVolume.NotFound", "The volume '%s' does not exist.", id)
			}
			continue
		}
		holder := ""
		if len(x.Attachments) > 0 {
			holder = x.Attachments[0].Instance
		}
		if keep(filters, "volume-id", id) && keep(filters, "availability-zone", v.Zone) && keep(filters, "status", x.Status) && keep(filters, "attachment.instance-id", holder) && keepTags(filters, v.Tags) {
			out.Items = append(out.Items, x)
		}
	}
	var err error
	out.Items, out.Next, err = page(f, out.Items, 1000)
	return out, err
}

func (e *Endpoint) attachVolume(f form) (any, error) {
	id, name := f.get("VolumeId"), f.get("Device")
	i, err := e.find(f.get("InstanceId"))
	if err != nil {
		return nil, err
	}
	if _, err := e.findVolume(id); err != nil {
		return nil, err
	}
	m := e.cat.machines[i.ID]
	for v, d := range m.Devices {
		if d.Name == name && v != id && (v == m.Root || e.w.Volume(v) != nil && e.w.Volume(v).Holder == i.ID) {
			return nil, refuse("InvalidParameterValue", "Invalid value '%s' for unixDevice. Attachment point %s is already in use", name, name)
		}
	}
	if err := e.takesMore(i); err != nil && e.w.Volume(id) != nil && e.w.Volume(id).Holder == "" {
		return nil, err
	}
	if err := e.w.AttachVolume(id, i); err != nil {
		return nil, err
	}
	m.Devices[id] = device{Name: name, Attached: e.w.Now()}
	return attachmentXML{id, i.ID, name, "attaching", e.w.Now(), false}, nil
}

func (e *Endpoint) detachVolume(f form) (any, error) {
	id, force := f.get("VolumeId"), f.bool("Force")
	if _, err := e.findVolume(id); err != nil {
		return nil, err
	}
	v := e.w.Volume(id)
	holder := f.get("InstanceId")
	switch {
	case v == nil:
		return nil, refuse("OperationNotPermitted", "Unable to detach root volume '%s'", id)
	case v.Holder == "":
		return nil, refuse("IncorrectState", "Volume '%s' is in the 'available' state.", id)
	case holder != "" && holder != v.Holder:
		return nil, fmt.Errorf("volume %s, instance %s: %w", id, holder, world.ErrNotAttached)
	}
	i := e.w.Instance(v.Holder)
	if err := e.w.DetachVolume(id, i, force); err != nil {
		return nil, err
	}
	d := e.cat.machines[i.ID].Devices[id]
	return attachmentXML{id, i.ID, d.Name, "detaching", d.Attached, false}, nil
}

// createVolume makes a volume out of a snapshot, which is the only thing that a
// recovery needs one for.
func (e *Endpoint) createVolume(f form) (any, error) {
	snap, zone, token := f.get("SnapshotId"), f.get("AvailabilityZone"), f.get("ClientToken")
	kind := cmp.Or(f.get("VolumeType"), "gp3")
	key := f.get("KmsKeyId")
	tags := specTags(f, "volume")
	if snap == "" {
		return nil, refuse("MissingParameter", "this endpoint makes volumes from snapshots only")
	}
	s := e.w.Snapshot(snap)
	if s == nil {
		return nil, refuse("InvalidSnapshot.NotFound", "The snapshot '%s' does not exist.", snap)
	}
	source := e.cat.volumes[s.Volume]
	id, err := e.once(token, f, func() (string, error) {
		id := fmt.Sprintf("vol-%06d", e.next())
		if _, err := e.w.CopyVolume(snap, world.Volume{ID: id, Server: s.Server, Reach: fleet.ReachZone, Place: zone}, "fake/"+token+id); err != nil {
			return "", err
		}
		n := &volume{Type: kind, KMSKey: key, Encrypted: key != "", Snapshot: snap, Zone: zone, Created: e.w.Now(), Tags: maps.Clone(tags), GiB: 1}
		if source != nil {
			n.GiB, n.Encrypted, n.KMSKey = source.GiB, source.Encrypted, cmp.Or(key, source.KMSKey)
		}
		e.cat.volumes[id] = n
		return id, nil
	})
	if err != nil {
		return nil, err
	}
	x, _ := e.volume(id)
	x.Status = cmp.Or(x.Status, "creating")
	return x, nil
}

type snapshotXML struct {
	ID        string    `xml:"snapshotId"`
	Volume    string    `xml:"volumeId"`
	Status    string    `xml:"status"`
	Started   time.Time `xml:"startTime"`
	Progress  string    `xml:"progress"`
	Owner     string    `xml:"ownerId"`
	GiB       int       `xml:"volumeSize"`
	Encrypted bool      `xml:"encrypted"`
	Tags      []tagXML  `xml:"tagSet>item"`
}

func (e *Endpoint) snapshot(s *world.Snapshot) snapshotXML {
	x := snapshotXML{ID: s.ID, Volume: s.Volume, Status: "pending", Started: s.At, Progress: "50%", Owner: e.opt.Account, Tags: tagSet(e.cat.snapshots[s.ID])}
	if !s.Completed.IsZero() {
		x.Status, x.Progress = "completed", "100%"
	}
	if v := e.cat.volumes[s.Volume]; v != nil {
		x.GiB, x.Encrypted = v.GiB, v.Encrypted
	}
	return x
}

func (e *Endpoint) createSnapshot(f form) (any, error) {
	id := f.get("VolumeId")
	tags := specTags(f, "snapshot")
	if _, err := e.findVolume(id); err != nil {
		return nil, err
	}
	s, err := e.w.TakeSnapshot(id, "")
	if err != nil {
		return nil, err
	}
	e.cat.snapshots[s.ID] = tags
	return e.snapshot(s), nil
}

func (e *Endpoint) describeSnapshots(f form) (any, error) {
	ids, filters := f.list("SnapshotId"), f.filters()
	if err := known(filters, "volume-id", "status", "snapshot-id", "tag:*", "tag-key"); err != nil {
		return nil, err
	}
	var out struct {
		Items []snapshotXML `xml:"snapshotSet>item"`
		Next  string        `xml:"nextToken,omitempty"`
	}
	list := e.w.Snapshots()
	if len(ids) > 0 {
		list = nil
		for _, id := range ids {
			s := e.w.Snapshot(id)
			if s == nil {
				return nil, refuse("InvalidSnapshot.NotFound", "The snapshot '%s' does not exist.", id)
			}
			list = append(list, s)
		}
	}
	for _, s := range list {
		x := e.snapshot(s)
		if keep(filters, "volume-id", s.Volume) && keep(filters, "status", x.Status) && keep(filters, "snapshot-id", s.ID) && keepTags(filters, e.cat.snapshots[s.ID]) {
			out.Items = append(out.Items, x)
		}
	}
	var err error
	out.Items, out.Next, err = page(f, out.Items, 1000)
	return out, err
}

// notAttached tells EC2's word for an interface that is not where it is said to be.
func notAttached(err error) error {
	if errors.Is(err, world.ErrNotAttached) {
		return refuse("InvalidAttachmentID.NotFound", "%v", err)
	}
	return err
}
