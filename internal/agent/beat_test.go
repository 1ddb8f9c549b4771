package agent

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// udpRelay carries one agent's datagrams to the controller and its answers back,
// and drops all of them while it is shut.
type udpRelay struct {
	addr string
	shut atomic.Bool
}

func newUDPRelay(t *testing.T, target string) *udpRelay {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	back, err := net.Dial("udp", target)
	must(t, err)
	r := &udpRelay{addr: front.LocalAddr().String()}
	var agent atomic.Pointer[net.UDPAddr]
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, beat.MaxDatagram)
		for {
			n, from, err := front.ReadFromUDP(buf)
			if err != nil {
				return
			}
			agent.Store(from)
			if !r.shut.Load() {
				_, _ = back.Write(buf[:n])
			}
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, beat.MaxDatagram)
		for {
			n, err := back.Read(buf)
			if err != nil {
				return
			}
			if to := agent.Load(); to != nil && !r.shut.Load() {
				_, _ = front.WriteToUDP(buf[:n], to)
			}
		}
	}()
	t.Cleanup(func() {
		_, _ = front.Close(), back.Close()
		<-done
		<-done
	})
	return r
}

// Where datagrams are dropped, the lease goes on over HTTPS; datagrams are taken
// back once they are answered; with neither the lease ends.
func TestLeaseGoesOnOverHTTPS(t *testing.T) {
	s := newSite(t)
	udp, https := newUDPRelay(t, s.beatAddr), newRelay(t, s.addr)
	s.hub.SetServers([]fleet.Server{server("a")})
	s.hub.Beats().SetGrant(beat.Grant{Term: 1, Lease: time.Second, NotAfter: beat.BootClock()() + 3600*second})
	one := s.agent("host-1", t.TempDir(), func(o *Options) { o.Controller, o.BeatAddr = "https://"+https.addr, udp.addr })
	s.inContact("host-1")
	detour := func() bool { return s.sweep().host("host-1").Host.Detour }
	holds := func(want bool, d time.Duration) error {
		if left := one.lease().Until - one.opt.Clock(); (left > 0) != want || want && left < int64(d) {
			return errNotYet
		}
		return nil
	}
	eventually(t, "a lease by datagrams", func() error { return holds(true, 500*time.Millisecond) })
	if detour() {
		t.Error("the hub sees a detour though datagrams come through")
	}
	udp.shut.Store(true)
	shutAt := one.opt.Clock()
	eventually(t, "a lease and contact over HTTPS", func() error {
		if one.lease().Until < shutAt+2*second || !detour() {
			return errNotYet
		}
		return nil
	})
	udp.shut.Store(false)
	eventually(t, "back to datagrams", func() error {
		if detour() {
			return errNotYet
		}
		return holds(true, 500*time.Millisecond)
	})
	udp.shut.Store(true)
	https.setWhole(false)
	eventually(t, "the end of the lease", func() error { return holds(false, 0) })
}

// A certificate opens the door for its own host's beats, and each of them once.
func TestBeatsOverHTTPSAreOfTheirOwnHost(t *testing.T) {
	s := newSite(t)
	s.hub.Beats().SetGrant(beat.Grant{Term: 1, Lease: time.Second, NotAfter: beat.BootClock()() + 3600*second})
	one, two := s.enrolled("host-1"), s.enrolled("host-2")
	host := s.registry.hosts["host-1"]
	sender := beat.NewSender(beat.SenderConfig{
		Agent: host.Agent, Key: host.Key(), Kind: beat.HostAgent, Every: time.Second, Targets: 1, Start: 1,
		Rand: rand.New(rand.NewPCG(1, 2)),
	})
	clock := beat.BootClock()
	acks := func(c *http.Client, datagrams [][]byte) [][]byte {
		t.Helper()
		got, err := s.channel(c).beats(t.Context(), datagrams)
		must(t, err)
		return got
	}
	round := func() [][]byte {
		t.Helper()
		sender.Nudge(clock())
		out, err := sender.Step(sender.Due(), nil)
		must(t, err)
		return out.Sealed
	}
	hello := round()
	if got := acks(two, hello); len(got) != 0 {
		t.Error("host-2 was answered for host-1's beat")
	}
	for _, ack := range acks(one, hello) {
		must(t, sender.Acked(clock(), ack))
	}
	beats := round()
	got := acks(one, beats)
	if len(got) != 1 {
		t.Fatalf("%d acks for host-1's own beat", len(got))
	}
	must(t, sender.Acked(clock(), got[0]))
	if sender.Lease().Until == 0 {
		t.Error("no lease was granted")
	}
	if got := acks(one, beats); len(got) != 0 {
		t.Error("a replay was answered")
	}
	if err := s.post(one, link.PathBeat, link.Beats{V: link.Version, Datagrams: [][]byte{make([]byte, beat.MaxDatagram+1)}}); !errors.Is(err, ErrRefused) {
		t.Errorf("a datagram that is too long: %v", err)
	}
}
