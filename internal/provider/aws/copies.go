package aws

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// Snapshot is a complete snapshot of a volume. At is the point in time that it holds.
type Snapshot struct {
	ID, Volume string
	At         time.Time
}

// NewVolume is a volume to be made from a snapshot.
type NewVolume struct {
	Token, Snapshot, Zone string
	// Type, IOPS, Throughput and Multi are those of the volume that it replaces; unset
	// ones are EC2's own. Size is in GiB.
	Type                   string
	Size, IOPS, Throughput int
	Multi                  bool
	Tags                   map[string]string
}

// TagCopyOf names the volume that a volume was made to replace.
const TagCopyOf = "relight:copy-of"

// located returns the servers as they are away: what is asked about them is asked of
// the volumes that they really have.
func located(servers []fleet.Server) []fleet.Server {
	if !slices.ContainsFunc(servers, func(s fleet.Server) bool { return s.Away != nil }) {
		return servers
	}
	out := make([]fleet.Server, 0, len(servers))
	for _, s := range servers {
		out = append(out, s.Located())
	}
	return out
}

// copies makes the volumes and interfaces that the server is to have away and has not
// yet, before anything is launched with them: the guest is told their ids, and a primary
// interface comes with the launch. What they replace is only read.
func (p *Provider) copies(ctx context.Context, call *provider.Call) (map[fleet.Object]fleet.Made, error) {
	away := call.Server.Away
	if away == nil {
		return nil, nil
	}
	made := map[fleet.Object]fleet.Made{}
	err := p.makeVolumes(ctx, *call, made)
	if err == nil {
		err = p.makeInterfaces(ctx, *call, made)
	}
	call.Server.Away = away.Made(made)
	id := &call.Server.Spec.Identity
	id.Volumes, id.Interfaces = slices.Clone(id.Volumes), slices.Clone(id.Interfaces)
	for i := range id.Volumes {
		id.Volumes[i].ID = cmp.Or(made[fleet.Object{Volume: id.Volumes[i].Name}].ID, id.Volumes[i].ID)
	}
	for i := range id.Interfaces {
		id.Interfaces[i].ID = cmp.Or(made[fleet.Object{Interface: id.Interfaces[i].Named()}].ID, id.Interfaces[i].ID)
	}
	return made, err
}

func (p *Provider) makeVolumes(ctx context.Context, call provider.Call, made map[fleet.Object]fleet.Made) error {
	for _, c := range call.Server.Away.Copies {
		has := slices.ContainsFunc(call.Server.Spec.Identity.Volumes, func(v fleet.Volume) bool { return v.Name == c.Volume && v.ID == c.ID })
		if c.ID != "" || !has {
			continue // it is there, or the document names another volume
		}
		id, err := p.copied(ctx, call, c, call.Server.Away.Zone)
		if err != nil {
			return err
		}
		made[fleet.Object{Volume: c.Volume}] = fleet.Made{ID: id}
	}
	return nil
}

// copied makes one volume, once for its token. EC2 itself keeps a client token for some
// time only, so that the tag is asked first: a controller may have stood still for days.
func (p *Provider) copied(ctx context.Context, call provider.Call, c fleet.Copy, zone string) (string, error) {
	id, err := p.opt.Cloud.VolumeByToken(ctx, c.Token)
	if err != nil || id != "" {
		return id, err
	}
	n := NewVolume{Token: c.Token, Snapshot: c.Snapshot, Zone: zone, Tags: map[string]string{
		"Name": call.Step.Server + " " + c.Volume, TagServer: call.Step.Server, TagToken: c.Token, TagCopyOf: c.Of,
		TagEpoch: strconv.FormatUint(uint64(call.Step.Epoch), 10),
	}}
	old, err := p.reads.volumes.one(ctx, c.Of)
	if err != nil {
		return "", err
	}
	if old != nil {
		n.Type, n.Size, n.IOPS, n.Throughput, n.Multi = old.Type, old.Size, old.IOPS, old.Throughput, old.Multi
	}
	n.Type = cmp.Or(n.Type, "gp3") // without a word EC2 would make a gp2
	id, err = p.opt.Cloud.MakeVolume(ctx, n)
	if isCode(err, "IdempotentParameterMismatch") {
		// It was made by a call that saw less of the old volume, or more.
		if again, lookErr := p.opt.Cloud.VolumeByToken(ctx, c.Token); lookErr == nil && again != "" {
			return again, nil
		}
		return "", provider.Errorf(provider.Retry, call, "the copy of %s was made, and EC2 does not tell of it yet: %w", c.Of, err)
	}
	return id, err
}

// snapshotsFor is how long what was read of snapshots counts: they are made once an
// hour or a day, and are needed for servers that cannot be started.
const snapshotsFor = time.Minute

// readSnapshots notes the newest complete snapshot of each volume that may be made
// anew from one.
func (p *Provider) readSnapshots(ctx context.Context, s *swept, servers []fleet.Server) {
	var ids []string
	wanted := map[string]bool{}
	p.mu.Lock()
	for _, server := range servers {
		for _, v := range server.Spec.Identity.Volumes {
			if v.FromSnapshot == nil || v.ID == "" {
				continue
			}
			wanted[v.ID] = true
			if old, ok := p.snapshots[v.ID]; ok && s.at.Sub(old.at) < snapshotsFor {
				continue
			}
			ids = append(ids, v.ID)
		}
	}
	if !s.few {
		maps.DeleteFunc(p.snapshots, func(id string, _ snapshotsOf) bool { return !wanted[id] })
	}
	p.mu.Unlock()
	newest := map[string]Snapshot{}
	read(s, "snapshots", ids, map[string]Snapshot{}, func(n Snapshot) string {
		if n.At.After(newest[n.Volume].At) {
			newest[n.Volume] = n
		}
		return n.ID
	}, func(part []string) ([]Snapshot, error) { return p.opt.Cloud.Snapshots(ctx, part) })
	if _, blind := s.blind["snapshots"]; blind {
		return // what was known before is as old as it says
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		p.snapshots[id] = snapshotsOf{at: s.at, newest: newest[id]}
	}
}

// snapshotsOf is what was read last of a volume's snapshots; an empty id if it has none.
type snapshotsOf struct {
	at     time.Time
	newest Snapshot
}

// snapshot is the newest one known of a volume, or nil. The caller holds the lock.
func (p *Provider) snapshot(v fleet.Volume) *fleet.Snapshot {
	if n := p.snapshots[v.ID].newest; v.FromSnapshot != nil && n.ID != "" {
		return &fleet.Snapshot{ID: n.ID, At: n.At}
	}
	return nil
}
