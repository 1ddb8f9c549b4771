package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"relight/internal/agent/guest/neighbour"
)

const (
	// defendEvery is the time between two announcements while somebody else answers for an
	// address: each frame of the other leads switches to it until the next one of ours.
	defendEvery = 100 * time.Millisecond
	// defendHard is for how long it goes on like that. What lasts longer is no epoch that is
	// about to be ended, and may be somebody's router that answers for all: from then on the
	// network hears of it every defendSlowly (DEFEND_INTERVAL of RFC 5227).
	defendHard   = time.Minute
	defendSlowly = 10 * time.Second
)

// defendPace is the time between two announcements once a contest has lasted for so long.
func defendPace(lasted time.Duration) time.Duration {
	if lasted < defendHard {
		return defendEvery
	}
	return defendSlowly
}

// defend tells the network where an address is (RFC 5227 2.4 c), again and again until the
// returned function is called. An instance that moves keeps its MAC, so that
// each frame of the other leads clients to it, and their questions keep them there; the
// answers to our own do so too. Only a host whose lease holds defends: where it has ended,
// the other may be the next epoch, which must not lose its address to this one.
func (a *Agent) defend(ctx context.Context, about contested, ip netip.Addr, i Instance) (end func()) {
	failed := false
	once := func() {
		if !a.leased() {
			return
		}
		if err := a.opt.Announce(ip, i.Device, i.Bridge, i.MAC); err != nil && !failed {
			failed = true
			a.opt.Log.Warn("an address cannot be defended", "server", about.server, "address", about.ip, "error", err)
		}
	}
	ctx, stop := context.WithCancel(ctx)
	begun := a.board.clock()
	var done sync.WaitGroup
	done.Go(func() {
		for once(); pause(ctx, defendPace(time.Duration(a.board.clock()-begun))); {
			once()
		}
	})
	return func() {
		stop()
		done.Wait()
	}
}

// Announce tells the neighbours of a device that it has an address, or those behind the
// uplinks of a bridge that the machine with that MAC does.
func Announce(ip netip.Addr, device, bridge, mac string) error {
	devices, err := waysOut(device, bridge)
	for _, dev := range devices {
		hw := dev.HardwareAddr
		if bridge != "" {
			if hw, _ = net.ParseMAC(mac); len(hw) != 6 {
				return fmt.Errorf("machine with the MAC %q: %w", mac, errNoMAC)
			}
		}
		if err := neighbour.Announce(dev.Index, [6]byte(hw), ip); err != nil {
			return fmt.Errorf("device %s: %w", dev.Name, err)
		}
	}
	return err
}

var errNoMAC = errors.New("it is no hardware address of an Ethernet")
