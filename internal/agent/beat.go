package agent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"time"

	"relight/internal/beat"
)

// beat sends beats until ctx ends. A name that cannot be resolved yet, or a socket
// that failed, is tried again: the rest of the agent works meanwhile. The sender
// outlives its sockets, and with it the lease.
func (a *Agent) beat(ctx context.Context) {
	sender, err := a.newSender()
	if err != nil {
		a.opt.Log.Error("beats cannot start", "error", err)
		return
	}
	for wait := newBackOff(); ctx.Err() == nil; wait.pause(ctx) {
		runner, err := a.openBeats(ctx, sender)
		if err == nil {
			a.beats.Store(runner)
			err = runner.Run(ctx)
		}
		if err != nil && ctx.Err() == nil {
			a.opt.Log.Error("beats stopped", "error", err)
		}
	}
}

func (a *Agent) newSender() (*beat.Sender, error) {
	var seed [16]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("draw salt: %w", err)
	}
	return beat.NewSender(beat.SenderConfig{
		Agent: a.id.Agent, Key: beat.Key(a.id.BeatKey), Kind: beat.HostAgent, Every: a.opt.BeatEvery,
		Targets: 1, Detour: true, Start: beat.CounterStart(time.Now()), DriftPPM: DefaultDriftPPM, Margin: DefaultMargin,
		Rand: mathrand.New(mathrand.NewPCG(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:]))), //nolint:gosec // jitter and a salt, no secret
	}), nil
}

// openBeats opens a socket for the sender.
func (a *Agent) openBeats(ctx context.Context, sender *beat.Sender) (*beat.Runner, error) {
	target, err := a.beatTarget(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := beat.Dial([]netip.AddrPort{target})
	if err != nil {
		return nil, err
	}
	return beat.NewRunner(sender, beat.RunnerConfig{
		Conn: conn, Clock: a.opt.Clock, Items: a.items, Detour: a.channel.beats, Rerouted: a.rerouted,
		Failed: func(err error) { a.opt.Log.Debug("beat", "error", err) },
	}), nil
}

// rerouted says which way the beats take.
func (a *Agent) rerouted(detour bool) {
	if detour {
		a.opt.Log.Warn("beats go over HTTPS: the controller does not answer datagrams")
		return
	}
	a.opt.Log.Info("beats go by datagram again")
}

// beatTarget resolves where beats go. With an empty host it is the controller's own.
func (a *Agent) beatTarget(ctx context.Context) (netip.AddrPort, error) {
	addr := a.opt.BeatAddr
	if addr == "" {
		addr = a.id.BeatAddr
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("beat address: %w", err)
	}
	if host == "" {
		u, err := url.Parse(a.opt.Controller)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("beat address: %w", err)
		}
		host = u.Hostname()
	}
	var r net.Resolver
	ips, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("beat address: %w", err)
	}
	n, err := r.LookupPort(ctx, "udp", port)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("beat address: %w", err)
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(n)), nil
}

// lease is the agent's right to hold its instances.
func (a *Agent) lease() beat.Lease {
	if r := a.beats.Load(); r != nil {
		return r.Lease()
	}
	return beat.Lease{}
}
