package beat

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"testing"

	"relight/internal/core/fleet"
)

func peers() (a, b *Peer) {
	site := SiteKey(testKey(7))
	return &Peer{Self: 1, Keys: site, Rand: rand.Reader}, &Peer{Self: 2, Keys: site, Rand: rand.Reader}
}

func servePeer(t *testing.T, p *Peer, higher func(AgentID, PeerAsk) Answer) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Serve(ctx, c, higher) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestPeersAskEachOther(t *testing.T) {
	a, b := peers()
	addr := servePeer(t, b, func(from AgentID, ask PeerAsk) Answer {
		if from != 1 || ask.Server != "db" {
			t.Errorf("asked by %d about %+v", from, ask)
		}
		return map[fleet.Epoch]Answer{1: fleet.Yes, 2: fleet.No, 3: fleet.CannotTell}[ask.Epoch]
	})
	if err := a.Ping(t.Context(), addr, 2); err != nil {
		t.Error(err)
	}
	for epoch, want := range map[fleet.Epoch]Answer{1: fleet.Yes, 2: fleet.No, 3: fleet.CannotTell} {
		got, err := a.Ask(t.Context(), addr, 2, PeerAsk{Server: "db", Epoch: epoch})
		if err != nil || got != want {
			t.Errorf("epoch %d: %v, %v", epoch, got, err)
		}
	}
	if _, err := a.Ask(t.Context(), addr, 2, PeerAsk{Server: "no good"}); !errors.Is(err, ErrName) {
		t.Errorf("bad name: %v", err)
	}
}

func TestSilentPeerCannotBeTold(t *testing.T) {
	a, b := peers()
	addr := servePeer(t, b, nil)
	ctx, cancel := context.WithCancel(t.Context())
	b.Self = 3 // whoever listens there is not the one that is asked
	cancel()
	if got, err := a.Ask(ctx, addr, 2, PeerAsk{Server: "db"}); got != fleet.CannotTell || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", got, err)
	}
	if err := a.Ping(ctx, addr, 2); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A refusal by our own kernel tells nothing of another host.
func TestRefusalOnLoopbackIsNoWordOfThePeer(t *testing.T) {
	a, _ := peers()
	ctx, cancel := context.WithTimeout(t.Context(), 2*peerRetry)
	defer cancel()
	if err := a.Ping(ctx, unused(t, net.IPv4(127, 0, 0, 1)), 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want a time-out", err)
	}
}

func TestPeerWhoseKernelRefuses(t *testing.T) {
	var own net.IP
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			own = n.IP
		}
	}
	if own == nil {
		t.Skip("SKIPPED: this machine has no address but loopback ones")
	}
	a, _ := peers()
	addr := unused(t, own)
	if err := a.Ping(t.Context(), addr, 2); !errors.Is(err, ErrNobodyListens) {
		t.Errorf("a ping: %v, want ErrNobodyListens", err)
	}
	// An ask is put again and again: the agent may come back.
	ctx, cancel := context.WithTimeout(t.Context(), 2*peerRetry)
	defer cancel()
	if _, err := a.Ask(ctx, addr, 2, PeerAsk{Server: "db", Epoch: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an ask: %v, want a time-out", err)
	}
}

// unused returns an address at which nobody listens.
func unused(t *testing.T, ip net.IP) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		t.Fatal(err)
	}
	addr := c.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

func TestPeerRefuses(t *testing.T) {
	a, b := peers()
	yes := func(AgentID, PeerAsk) Answer { return fleet.Yes }
	k, _ := a.Keys.PeerKey(1, 2)
	seal := func(typ byte, plain []byte) []byte {
		d, _, err := sealPeer(&k, typ, 1, plain, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	good := appendAsk(plainTo(2), PeerAsk{Server: "db", Epoch: 1})
	flipped := seal(typeAsk, good)
	flipped[headerSize] ^= 1
	asPing := seal(typeAsk, good)
	asPing[1] = typePing
	otherSite := SiteKey(testKey(8))
	ok, _ := otherSite.PeerKey(1, 2)
	foreign, _, _ := sealPeer(&ok, typeAsk, 1, good, rand.Reader)
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"short", []byte{1}, ErrShort},
		{"flipped", flipped, ErrTag},
		{"ask as ping", asPing, ErrTag},
		{"another site", foreign, ErrTag},
		{"an answer", seal(typeAnswer, good), ErrVersion},
		{"no recipient", seal(typeAsk, nil), ErrMalformed},
		{"for another", seal(typeAsk, appendAsk(plainTo(3), PeerAsk{Server: "db"})), ErrMalformed},
		{"name cut", seal(typeAsk, good[:len(good)-1]), ErrMalformed},
		{"no name", seal(typeAsk, appendAsk(plainTo(2), PeerAsk{})), ErrMalformed},
		{"ping with a tail", seal(typePing, good), ErrMalformed},
	} {
		if out, err := b.Reply(c.in, yes); !errors.Is(err, c.want) || out != nil {
			t.Errorf("%s: %x, error %v, want %v", c.name, out, err, c.want)
		}
	}
	if _, err := b.Reply(seal(typeAsk, good), yes); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// An answer that was recorded fits no later request, though it is genuine.
func TestRecordedAnswerIsNotTaken(t *testing.T) {
	a, b := peers()
	k, _ := a.Keys.PeerKey(1, 2)
	old, _, _ := sealPeer(&k, typeAsk, 1, appendAsk(plainTo(2), PeerAsk{Server: "db", Epoch: 1}), rand.Reader)
	recorded, err := b.Reply(old, func(AgentID, PeerAsk) Answer { return fleet.No })
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // the replaying middleman, then silence
		buf := make([]byte, MaxDatagram)
		for range 2 {
			_, addr, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				break
			}
			_, _ = c.WriteToUDPAddrPort(recorded, addr)
		}
		cancel()
	}()
	got, err := a.Ask(ctx, c.LocalAddr().(*net.UDPAddr).AddrPort(), 2, PeerAsk{Server: "db", Epoch: 1})
	if got != fleet.CannotTell || !errors.Is(err, context.Canceled) {
		t.Errorf("took the recorded answer: %v, %v", got, err)
	}
}
