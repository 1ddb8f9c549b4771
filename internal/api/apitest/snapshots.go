package apitest

import (
	"context"
	"slices"

	"relight/internal/api/client"
)

// Snapshots implements api.Backend.
func (b *Backend) Snapshots(_ context.Context, server string) (client.List[client.KeptSnapshot], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list client.List[client.KeptSnapshot]
	for _, k := range b.Kept {
		if server == "" || k.Server == server {
			list.Items = append(list.Items, k)
		}
	}
	return list, b.enter("snapshots")
}

// Orphans implements api.Backend.
func (b *Backend) Orphans(context.Context) (client.List[client.Orphan], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return client.List[client.Orphan]{Items: b.Left}, b.enter("orphans")
}

// RestoreSnapshot implements api.Backend. It refuses a server that is not paused.
func (b *Backend) RestoreSnapshot(_ context.Context, by, server, snapshot, reason string) (client.SnapshotAnswer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, err := b.snapshot(server, snapshot)
	if err != nil {
		return a, err
	}
	if _, paused := b.paused[server]; !paused {
		return a, client.NewProblem(client.CodeRefused, "no snapshot of %s can be put back: it is not paused", server).WithNext("relight pause %s --reason ...", server)
	}
	return a, b.change(by, "restore", server, snapshot, reason)
}

// DeleteSnapshot implements api.Backend.
func (b *Backend) DeleteSnapshot(_ context.Context, by, server, snapshot string) (client.SnapshotAnswer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, err := b.snapshot(server, snapshot)
	if err == nil {
		err = b.change(by, "delete-snapshot", server, snapshot)
	}
	if err == nil {
		b.Kept = slices.DeleteFunc(b.Kept, func(k client.KeptSnapshot) bool { return k.Server == server && k.Name == snapshot })
	}
	return a, err
}

func (b *Backend) snapshot(server, name string) (client.SnapshotAnswer, error) {
	a := client.SnapshotAnswer{Server: server, Snapshot: name, Message: "done"}
	for _, k := range b.Kept {
		if k.Server == server && k.Name == name {
			a.Volumes = append(a.Volumes, k.Volume)
		}
	}
	if len(a.Volumes) == 0 {
		return a, client.NewProblem(client.CodeNotFound, "no array keeps a snapshot %q of %s", name, server).WithNext("relight snapshots list %s", server)
	}
	return a, nil
}
