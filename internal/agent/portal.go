package agent

import (
	"context"
	"slices"
	"time"

	"relight/internal/agent/mount"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

const (
	// portalPace is the time between two tries of an array's portal.
	portalPace = 2 * time.Second
	// portalFresh is for how long an answer counts: one lost packet moves no server.
	portalFresh = 3*portalPace + mount.PortalWithin
)

// tryPortal connects to an array's portal again and again: a host that reaches it can
// use the LUNs there.
func (a *Agent) tryPortal(ctx context.Context, addr string) {
	defer a.board.dropPortal(addr)
	for {
		began := time.Now()
		asked := a.opt.Clock()
		if mount.Reaches(ctx, addr) {
			a.board.putPortal(addr, asked)
		}
		if !pause(ctx, portalPace-time.Since(began)) {
			return
		}
	}
}

// putPortal notes that a portal answered; the first answer is news.
func (b *board) putPortal(addr string, at int64) {
	b.mu.Lock()
	last, known := b.portals[addr]
	b.portals[addr] = at
	b.mu.Unlock()
	if !known || at-last > int64(portalFresh) {
		b.news()
	}
}

func (b *board) dropPortal(addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.portals, addr)
}

// reachesLUN reports whether any portal of a LUN's array answered lately, and when.
func (a *Agent) reachesLUN(v fleet.Volume) (latest int64, reaches bool) {
	if v.LUN == nil {
		return 0, false
	}
	for _, p := range a.memory.watched().Portals {
		if p.Array != v.LUN.Array {
			continue
		}
		a.board.mu.Lock()
		at, ok := a.board.portals[p.Addr]
		a.board.mu.Unlock()
		latest = max(latest, at)
		reaches = reaches || ok && a.opt.Clock()-at <= int64(portalFresh)
	}
	return latest, reaches
}

// throughPortals returns the disks with the first portal of each that answers, for a
// hypervisor that takes one way only. Those that were chosen before stay; where none
// answers, the hypervisor itself says so of the preferred one.
func throughPortals(ctx context.Context, disks []link.Disk, chosen map[string]string) []link.Disk {
	answers := map[string]bool{}
	out := slices.Clone(disks)
	for i, d := range out {
		if len(d.MorePortals) == 0 {
			continue
		}
		if portal := chosen[d.Volume]; portal != "" {
			out[i].Portal = portal
			continue
		}
		for _, portal := range append([]string{d.Portal}, d.MorePortals...) {
			if _, asked := answers[portal]; !asked {
				answers[portal] = mount.Reaches(ctx, portal)
			}
			if answers[portal] {
				out[i].Portal = portal
				break
			}
		}
	}
	return out
}

// chosenPortals are the portals of the disks that have several, by volume.
func chosenPortals(disks []link.Disk) map[string]string {
	out := map[string]string{}
	for _, d := range disks {
		if len(d.MorePortals) > 0 {
			out[d.Volume] = d.Portal
		}
	}
	return out
}
