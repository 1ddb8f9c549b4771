package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/core/lease"
	"relight/internal/provider/onprem/link"
)

// pingPace is the time between two pings of one host, and how long each may take.
const pingPace = time.Second

// peerKeys are the keys of this host's pairs, from the present watch.
type peerKeys struct {
	self beat.AgentID
	mu   sync.Mutex
	to   map[beat.AgentID]beat.Key
	from map[beat.AgentID]beat.Key
}

// PeerKey implements beat.PeerKeys.
func (k *peerKeys) PeerKey(from, to beat.AgentID) (beat.Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if from == k.self {
		key, ok := k.to[to]
		return key, ok
	}
	key, ok := k.from[from]
	return key, ok && to == k.self
}

func (k *peerKeys) set(peers []link.Peer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.to, k.from = map[beat.AgentID]beat.Key{}, map[beat.AgentID]beat.Key{}
	for _, p := range peers {
		k.to[p.Agent], k.from[p.Agent] = beat.Key(p.To), beat.Key(p.From)
	}
}

// asker is what the agent needs of its peers; *beat.Peer, or a fake in tests.
type asker interface {
	Ping(ctx context.Context, addr netip.AddrPort, to beat.AgentID) error
	Ask(ctx context.Context, addr netip.AddrPort, to beat.AgentID, ask beat.PeerAsk) (fleet.Answer, error)
}

func newPeer(self beat.AgentID, keys *peerKeys) *beat.Peer {
	return &beat.Peer{Self: self, Keys: keys, Rand: rand.Reader}
}

// higher answers a peer: was this host given a higher epoch of the server?
func (a *Agent) higher(_ beat.AgentID, ask beat.PeerAsk) fleet.Answer {
	return a.memory.obeyed().Higher(lease.Instance{Server: ask.Server, Epoch: ask.Epoch})
}

// pingOn asks again and again whether a host is there. No answer is a no of this
// one source, never a proof.
func (a *Agent) pingOn(ctx context.Context, p link.Peer) {
	s := subject{host: p.Host}
	defer a.board.drop(a.board.pings, s)
	defer a.board.drop(a.board.kernels, s)
	addr, err := netip.ParseAddrPort(p.Addr)
	if err != nil {
		a.board.put(a.board.pings, s, sight{detail: "its address is not known"})
		<-ctx.Done()
		return
	}
	for {
		began := time.Now()
		pctx, cancel := context.WithTimeout(ctx, pingPace)
		err := a.peers.Ping(pctx, addr, p.Agent)
		stalled := overslept(pctx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			a.board.drop(a.board.kernels, s)
			a.board.put(a.board.pings, s, sight{alive: fleet.Yes})
		case errors.Is(err, beat.ErrNobodyListens):
			a.board.put(a.board.pings, s, sight{alive: fleet.No, detail: err.Error()})
			a.board.put(a.board.kernels, s, sight{alive: fleet.Yes})
			a.tell() // an old word of the kernel is worth nothing, so each is passed on at once
		case stalled:
			a.board.put(a.board.pings, s, sight{detail: ownStall})
		default:
			a.board.put(a.board.pings, s, sight{alive: fleet.No, detail: fmt.Sprintf("no answer within %s", pingPace)})
		}
		if !pause(ctx, pingPace-time.Since(began)) {
			return
		}
	}
}

// stallAfter is how long after its deadline a look may end. One that ends later was
// not waiting for an answer: this agent got no processor time.
const stallAfter = pingPace / 4

// ownStall says why a look without an answer says nothing.
const ownStall = "this host cannot look: its agent stood still meanwhile"

// overslept reports whether the deadline of ctx passed long ago: the answer may lie
// unread, and its absence is our own fault and no word about a peer (invariant S4).
func overslept(ctx context.Context) bool {
	limit, ok := ctx.Deadline()
	return ok && time.Since(limit) > stallAfter
}

// askHeirs asks every host that could take the server over whether it was given a
// higher epoch.
func (a *Agent) askHeirs(ctx context.Context, server string, epoch fleet.Epoch) fleet.Answer {
	heirs, peers := a.heirs(server)
	ctx, cancel := context.WithTimeout(ctx, lease.AskWithin)
	defer cancel()
	answers := make(chan fleet.Answer, len(heirs))
	for _, heir := range heirs {
		p, known := peers[heir]
		go func() {
			answer := fleet.CannotTell
			if addr, err := netip.ParseAddrPort(p.Addr); known && err == nil && a.peers != nil {
				answer, _ = a.peers.Ask(ctx, addr, p.Agent, beat.PeerAsk{Server: server, Epoch: epoch})
			}
			answers <- answer
		}()
	}
	var all []fleet.Answer
	for range heirs {
		all = append(all, <-answers)
	}
	return lease.Together(all)
}

func (a *Agent) heirs(server string) ([]string, map[string]link.Peer) {
	w := a.memory.watched()
	peers := map[string]link.Peer{}
	for _, p := range w.Peers {
		peers[p.Host] = p
	}
	for _, s := range w.Servers {
		if s.Server == server {
			return s.Heirs, peers
		}
	}
	return nil, peers
}
