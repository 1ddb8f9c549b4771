package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"relight/internal/agent/mount"
	"relight/internal/provider/guest"
)

// errFirst: the guest has not joined yet, which its reports see to.
var errFirst = errors.New("this guest has not joined the controller yet")

// logins asks the controller where the volumes' LUNs are, and as whom this epoch logs in.
// The controller tells it once their arrays let the epoch in. Nothing is kept: whoever
// reads this machine's disk later finds no secret of ours there but open-iscsi's.
func (g *Guest) logins(ctx context.Context) (map[string]mount.LUN, error) {
	c := g.line.Load()
	if c == nil {
		return nil, errFirst
	}
	var told guest.Disks
	if err := c.exchange(ctx, guest.PathDisks, struct{}{}, func(body io.Reader) error { return guest.Decode(body, &told) }); err != nil {
		return nil, err
	}
	if told.V != guest.Version {
		return nil, fmt.Errorf("%w: version %d", guest.ErrMalformed, told.V)
	}
	out := make(map[string]mount.LUN, len(told.Disks))
	for _, d := range told.Disks {
		if d.Portal == "" || d.Target == "" || d.Initiator == "" || d.User == "" || d.Secret == "" || d.Unit < 1 || d.Unit > 255 {
			return nil, fmt.Errorf("%w: the LUN of volume %q", guest.ErrMalformed, d.Volume)
		}
		out[d.Volume] = mount.LUN{
			Portals: append([]string{d.Portal}, d.MorePortals...), Target: d.Target, Unit: d.Unit,
			Initiator: d.Initiator, User: d.User, Secret: d.Secret,
		}
	}
	return out, nil
}
