package agent

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// latePeers answer nothing; the call returns so long after its deadline, as it does
// in an agent that got no processor time.
type latePeers struct{ by time.Duration }

func (p latePeers) Ping(ctx context.Context, _ netip.AddrPort, _ beat.AgentID) error {
	<-ctx.Done()
	<-time.After(p.by)
	return ctx.Err()
}

func (p latePeers) Ask(ctx context.Context, _ netip.AddrPort, _ beat.AgentID, _ beat.PeerAsk) (fleet.Answer, error) {
	return fleet.CannotTell, ctx.Err()
}

// An agent that was frozen while it waited finds no answer, and that is no word
// about the peer: two such agents would make it dead (S4).
func TestAFrozenAgentSaysNothingAboutItsPeer(t *testing.T) {
	for _, c := range []struct {
		late time.Duration
		want fleet.Answer
	}{{0, fleet.No}, {stallAfter, fleet.No}, {stallAfter + time.Millisecond, fleet.CannotTell}, {time.Minute, fleet.CannotTell}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			told := make(chan struct{}, 8)
			a := &Agent{peers: latePeers{c.late}, board: newBoard(func() int64 { return 0 }, func() { told <- struct{}{} })}
			go a.pingOn(ctx, link.Peer{Host: "host-2", Addr: "127.0.0.1:9", Agent: 2})
			<-told
			if got := a.board.hosts(a.board.pings); len(got) != 1 || got[0].Alive != c.want {
				t.Errorf("a ping that ends %s late says %v, want %s", c.late, got, c.want)
			}
			cancel()
			synctest.Wait()
		})
	}
}

// So it is with a check that a witness makes.
func TestAFrozenAgentSaysNothingAboutAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		<-ctx.Done()
		if saw := unreached(ctx, ctx.Err()); saw.alive != fleet.No {
			t.Errorf("in time it says %s, want no", saw.alive)
		}
		<-time.After(time.Minute)
		if saw := unreached(ctx, ctx.Err()); saw.alive != fleet.CannotTell {
			t.Errorf("a minute late it says %s, want that it cannot tell", saw.alive)
		}
	})
}

// gonePeer is a host whose kernel says that its agent is gone, until it is back.
type gonePeer struct {
	latePeers
	back chan struct{}
}

func (p gonePeer) Ping(context.Context, netip.AddrPort, beat.AgentID) error {
	select {
	case <-p.back:
		return nil
	default:
		return fmt.Errorf("ping: %w", beat.ErrNobodyListens)
	}
}

// What a kernel says is passed on each time, and is no word any more once the agent
// itself answers.
func TestAHostWithoutAnAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		now := time.Now()
		p := gonePeer{back: make(chan struct{})}
		a := &Agent{news: make(chan struct{}, 1), peers: p, board: newBoard(func() int64 { return int64(time.Since(now)) }, func() {})}
		go a.pingOn(ctx, link.Peer{Host: "host-2", Addr: "10.0.0.2:9", Agent: 2})
		for range 3 {
			synctest.Wait()
			pings, kernels := a.board.hosts(a.board.pings), a.board.hosts(a.board.kernels)
			if len(pings) != 1 || pings[0].Alive != fleet.No || len(kernels) != 1 || kernels[0].Alive != fleet.Yes || kernels[0].Ago != 0 {
				t.Errorf("pings %v, kernels %v", pings, kernels)
			}
			select {
			case <-a.news:
			default:
				t.Error("nothing is passed on")
			}
			<-time.After(pingPace)
		}
		close(p.back)
		<-time.After(pingPace)
		synctest.Wait()
		pings, kernels := a.board.hosts(a.board.pings), a.board.hosts(a.board.kernels)
		if len(pings) != 1 || pings[0].Alive != fleet.Yes || len(kernels) != 0 {
			t.Errorf("the agent is back: pings %v, kernels %v", pings, kernels)
		}
		cancel()
		synctest.Wait()
	})
}
