package agent

import (
	"context"
	"net"
	"time"

	"relight/internal/core/fleet"
)

const (
	// portalPace is the time between two tries of an array's portal, portalWithin what
	// one may take.
	portalPace   = 2 * time.Second
	portalWithin = time.Second
	// portalFresh is for how long an answer counts: one lost packet moves no server.
	portalFresh = 3*portalPace + portalWithin
)

// tryPortal connects to an array's portal again and again: a host that reaches it can
// use the LUNs there. It does not log in, which needs a map.
func (a *Agent) tryPortal(ctx context.Context, addr string) {
	defer a.board.dropPortal(addr)
	var dialer net.Dialer
	for {
		began := time.Now()
		asked := a.opt.Clock()
		dial, cancel := context.WithTimeout(ctx, portalWithin)
		conn, err := dialer.DialContext(dial, "tcp", addr)
		cancel()
		if err == nil {
			_ = conn.Close()
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

// reachesLUN reports whether the portal of a LUN's array answered lately, and when.
func (a *Agent) reachesLUN(v fleet.Volume) (int64, bool) {
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
		return at, ok && a.opt.Clock()-at <= int64(portalFresh)
	}
	return 0, false
}
