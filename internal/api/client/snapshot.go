package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"relight/internal/core/fleet"
)

// KeptSnapshot is what an array keeps of one LUN of a server, as it was once.
type KeptSnapshot struct {
	Server string    `json:"server"`
	Volume string    `json:"volume"`
	Array  string    `json:"array"`
	LUN    string    `json:"lun"`
	Name   string    `json:"name,omitempty"`
	Bytes  int64     `json:"bytes,omitempty"`
	At     time.Time `json:"at,omitzero"`
	// Error is why the array could not say what it keeps; Name is empty then.
	Error string `json:"error,omitempty"`
}

// SnapshotAnswer tells what was done with a snapshot.
type SnapshotAnswer struct {
	Server   string `json:"server"`
	Snapshot string `json:"snapshot"`
	// Epoch is the last one of the server, dead if the snapshot was put back.
	Epoch fleet.Epoch `json:"epoch"`
	// Volumes are those that it was of.
	Volumes []string `json:"volumes"`
	Message string   `json:"message"`
}

// copyWithin bounds a call for which an array may have to copy whole LUNs.
const copyWithin = 30 * time.Minute

// Snapshots lists what the arrays keep of one server's LUNs, or of all servers' if
// server is empty.
func (c *Client) Snapshots(ctx context.Context, server string) (List[KeptSnapshot], error) {
	v := url.Values{}
	if server != "" {
		v.Set("server", server)
	}
	return get[List[KeptSnapshot]](ctx, c, v, "snapshots")
}

// RestoreSnapshot puts a snapshot of a server's LUNs back. It returns once that is done.
func (c *Client) RestoreSnapshot(ctx context.Context, server, name, reason string) (SnapshotAnswer, error) {
	var out SnapshotAnswer
	err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"servers", server, "snapshots", name, "restore"},
		body: ReasonRequest{Reason: reason}, within: copyWithin,
	}, &out)
	return out, err
}

// DeleteSnapshot deletes a snapshot of a server's LUNs.
func (c *Client) DeleteSnapshot(ctx context.Context, server, name string) (SnapshotAnswer, error) {
	var out SnapshotAnswer
	err := c.do(ctx, call{method: http.MethodDelete, path: []string{"servers", server, "snapshots", name}, within: copyWithin}, &out)
	return out, err
}
