package beat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"relight/internal/core/fleet"
)

// peerRetry is after what time an unanswered request is sent again.
const peerRetry = 200 * time.Millisecond

// ErrNobodyListens means that the peer's kernel answers that no agent has its socket open. Nobody
// has sealed that, so it is no word of the agent; it shows that the host runs.
var ErrNobodyListens = errors.New("its kernel says that nobody listens there")

// Peer asks other host agents and answers them.
type Peer struct {
	Self AgentID
	Keys PeerKeys
	// Rand draws the nonces: crypto/rand.Reader.
	Rand io.Reader
}

// Ping asks a host agent "are you there?". Nil means that it answered; an error,
// that it cannot be told (S4): no answer before ctx ended is no proof of death. With
// ErrNobodyListens it returns at once; a loopback address is never said to refuse,
// because that would be our own kernel's word.
func (p *Peer) Ping(ctx context.Context, addr netip.AddrPort, to AgentID) error {
	_, err := p.request(ctx, addr, to, typePing, typePong, plainTo(to))
	if err != nil {
		return fmt.Errorf("ping agent %d at %s: %w", to, addr, err)
	}
	return nil
}

// Ask asks a host agent whether it was given a higher epoch of the server. With an
// error the answer is "cannot tell".
func (p *Peer) Ask(ctx context.Context, addr netip.AddrPort, to AgentID, ask PeerAsk) (higher Answer, err error) {
	if err := CheckName(ask.Server); err != nil {
		return fleet.CannotTell, err
	}
	higher, err = p.request(ctx, addr, to, typeAsk, typeAnswer, appendAsk(plainTo(to), ask))
	if err != nil {
		return fleet.CannotTell, fmt.Errorf("ask agent %d at %s: %w", to, addr, err)
	}
	return higher, nil
}

// request sends a datagram until its answer comes or ctx ends.
func (p *Peer) request(ctx context.Context, addr netip.AddrPort, to AgentID, typ, reply byte, plain []byte) (Answer, error) {
	k, ok := p.Keys.PeerKey(p.Self, to)
	if !ok {
		return fleet.CannotTell, ErrUnknownAgent
	}
	datagram, id, err := sealPeer(&k, typ, p.Self, plain, p.Rand)
	if err != nil {
		return fleet.CannotTell, err
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return fleet.CannotTell, err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	buf := make([]byte, MaxDatagram+1)
	for ctx.Err() == nil {
		// For an ask, refused now may be answered soon, so errors of the socket only cost a turn.
		_, _ = c.Write(datagram)
		_ = c.SetReadDeadline(time.Now().Add(peerRetry))
		for {
			n, err := c.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				break
			}
			if typ == typePing && errors.Is(err, syscall.ECONNREFUSED) && !addr.Addr().IsLoopback() {
				return fleet.CannotTell, ErrNobodyListens
			}
			if err != nil {
				continue
			}
			from, _, rest, err := openPeer(p.Keys, p.Self, reply, buf[:n])
			if err != nil || from != to {
				continue
			}
			if got, answer, err := parseReply(reply, rest); err == nil && got == id {
				return answer, nil
			}
		}
	}
	return fleet.CannotTell, ctx.Err()
}

// Reply answers one request datagram, or returns why it must not be answered.
// higher answers asks; it says "cannot tell" if it cannot.
func (p *Peer) Reply(datagram []byte, higher func(AgentID, PeerAsk) Answer) ([]byte, error) {
	typ := typePing
	if len(datagram) > 1 && datagram[1] == typeAsk {
		typ = typeAsk
	}
	from, id, rest, err := openPeer(p.Keys, p.Self, typ, datagram)
	if err != nil {
		return nil, err
	}
	k, ok := p.Keys.PeerKey(p.Self, from)
	if !ok {
		return nil, ErrUnknownAgent
	}
	plain := append(plainTo(from), id[:]...)
	reply := typePong
	if typ == typeAsk {
		ask, err := parseAsk(rest)
		if err != nil {
			return nil, err
		}
		reply = typeAnswer
		plain = append(plain, byte(higher(from, ask)))
	} else if len(rest) != 0 {
		return nil, ErrMalformed
	}
	sealed, _, err := sealPeer(&k, reply, p.Self, plain, p.Rand)
	return sealed, err
}

// Serve answers requests on the socket until ctx ends, and closes it.
func (p *Peer) Serve(ctx context.Context, c *net.UDPConn, higher func(AgentID, PeerAsk) Answer) error {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	buf := make([]byte, MaxDatagram+1)
	for {
		n, addr, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("peer socket %s: %w", c.LocalAddr(), err)
		}
		if reply, err := p.Reply(buf[:n], higher); err == nil {
			_, _ = c.WriteToUDPAddrPort(reply, addr) // lost like any datagram; the peer asks again
		}
	}
}
