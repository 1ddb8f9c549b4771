package agent

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/guest/neighbour"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

const (
	// rivalPace is the time between two questions who else has an address, rivalAgain
	// that after one which was answered.
	rivalPace  = 5 * time.Second
	rivalAgain = time.Second
	// rivalWait is how long answers are waited for: Linux answers at once, some wait
	// up to 100 ms (RFC 4861 7.2.7), and hosts may be busy.
	rivalWait = 500 * time.Millisecond
	// rivalFor is for how long an answer still says something.
	rivalFor = 3*rivalAgain + 2*rivalWait
)

// contested is an address of an instance of this host.
type contested struct {
	server string
	epoch  fleet.Epoch
	ip     string
}

// rival is who answers for it elsewhere.
type rival struct {
	who string
	at  int64 // lease clock
}

// wantRivals has each address of the instances that run looked for elsewhere, for as long
// as they run: an epoch that was shut out of its volumes alone answers on, and comes back
// with its network.
func (a *Agent) wantRivals(out map[string]wanted, i Instance) {
	if i.State != fleet.InstanceRunning || i.Device == "" && i.Bridge == "" {
		return
	}
	for about, ip := range contestable(i) {
		out[fmt.Sprintf("rival %s %d %s", i.Server, i.Epoch, about.ip)] = wanted{
			what: i.Device + " " + i.Bridge + " " + i.MAC,
			run:  func(ctx context.Context, _ <-chan struct{}) { a.seekRivals(ctx, about, ip, i) },
		}
	}
}

// contestable are the addresses of an instance that somebody else could have.
func contestable(i Instance) map[contested]netip.Addr {
	out := map[contested]netip.Addr{}
	for _, text := range i.Addresses {
		p, err := netip.ParsePrefix(text)
		ip := p.Addr()
		if err != nil {
			ip, err = netip.ParseAddr(text)
		}
		if err == nil && !ip.IsLoopback() {
			out[contested{i.Server, i.Epoch, text}] = ip
		}
	}
	return out
}

// sureOf says from when on a yes over the network is one of the instance itself, or is nil
// if any is. A machine has its own address, and while it boots an old epoch that lost its
// volumes alone may still answer for that: its yes must not pass for the new one's (S14).
// Once nobody else has answered the watch is enough, see seekRivals.
func (a *Agent) sureOf(i Instance, c fleet.Check) func() bool {
	if i.Bridge == "" || c.HTTP == "" && c.TCP == "" {
		return nil
	}
	all := contestable(i)
	return func() bool {
		a.board.mu.Lock()
		defer a.board.mu.Unlock()
		for about := range all { // any one will do
			if !a.board.alone[about] {
				return false
			}
		}
		return true
	}
}

// seekRivals asks again and again. An answer counts once the next question is answered
// too: an instance that is just being ended may give the first. That nobody could be asked
// is said once, and is no answer (S4).
func (a *Agent) seekRivals(ctx context.Context, about contested, ip netip.Addr, i Instance) {
	defer a.board.dropRival(about)
	pace, before, blind := time.Duration(0), "", false
	var defence func()
	rest := func() {
		if defence != nil {
			defence()
		}
		defence = nil
	}
	defer rest()
	for pause(ctx, pace) {
		who, err := a.whoElse(ctx, ip, i.Device, i.Bridge)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !blind {
			a.opt.Log.Warn("nobody can be asked who else has an address", "server", about.server, "address", about.ip, "error", err)
		}
		pace, blind = rivalPace, err != nil
		if who != "" {
			pace = rivalAgain
		}
		switch {
		case who == "":
			a.board.noteAlone(about) // also where nobody can be asked: no watch can tell then
			rest()
		case before != "":
			a.board.putRival(about, who)
			if defence == nil {
				defence = a.defend(ctx, about, ip, i)
			}
		}
		before = who
	}
}

// whoElse asks once through each way out of this host, and waits for the answers until
// ctx ends.
func (a *Agent) whoElse(ctx context.Context, ip netip.Addr, device, bridge string) (string, error) {
	type said struct {
		who []string
		err error
	}
	done := make(chan said, 1)
	go func() {
		who, err := a.opt.WhoHas(ip, device, bridge)
		done <- said{who, err}
	}()
	select {
	case s := <-done:
		return strings.Join(s.who, ", "), s.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// WhoHas asks the neighbours of a device, or those behind the uplinks of a bridge, who has
// an address, and returns the MACs of those who answer. This host and its own machines are
// not asked.
func WhoHas(ip netip.Addr, device, bridge string) ([]string, error) {
	devices, err := waysOut(device, bridge)
	var out []string
	for _, dev := range devices {
		found, err := neighbour.Probe(dev.Index, [6]byte(dev.HardwareAddr), ip, rivalWait)
		if err != nil {
			return out, fmt.Errorf("device %s: %w", dev.Name, err)
		}
		for _, mac := range found {
			out = append(out, net.HardwareAddr(mac[:]).String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out), err
}

// waysOut are the Ethernets behind a device, or the uplinks of a bridge; with an error
// those before the one that is not there.
func waysOut(device, bridge string) ([]*net.Interface, error) {
	ways := []string{device}
	if bridge != "" {
		var err error
		if ways, err = qemu.Uplinks(bridge); err != nil {
			return nil, err
		}
	}
	var out []*net.Interface
	for _, way := range ways {
		dev, err := net.InterfaceByName(way)
		if err != nil {
			return out, fmt.Errorf("device %s: %w", way, err)
		}
		if len(dev.HardwareAddr) != 6 || dev.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 {
			continue // nobody on it has a MAC
		}
		out = append(out, dev)
	}
	return out, nil
}

func (b *board) putRival(about contested, who string) {
	b.mu.Lock()
	before := b.rivals[about]
	b.rivals[about] = rival{who: who, at: b.clock()}
	b.mu.Unlock()
	if before.who != who {
		b.news()
	}
}

func (b *board) noteAlone(about contested) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alone[about] = true
}

func (b *board) dropRival(about contested) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.rivals, about)
	delete(b.alone, about)
}

// contests lists the addresses that somebody else answered for lately; mu is held.
func (b *board) contests() []link.Contest {
	now := b.clock()
	var out []link.Contest
	for c, r := range b.rivals {
		if age := ago(now, r.at); age.Std() <= rivalFor {
			out = append(out, link.Contest{Server: c.server, Epoch: c.epoch, IP: c.ip, By: link.Cut(r.who), Ago: age})
		}
	}
	slices.SortFunc(out, func(a, b link.Contest) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.IP, b.IP))
	})
	return out
}
