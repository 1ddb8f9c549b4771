package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// looks gathers the wishes to look at servers of one provider: while one look is
// under way the others wait and then share the next, so that a thousand recoveries
// at once cost a provider few calls. Each look begins after it was wished for.
type looks struct {
	turn  chan struct{} // holds one while a look is under way
	mu    sync.Mutex
	queue []*wish
}

type wish struct {
	server fleet.Server
	err    error
	done   bool
}

// look takes a fresh observation of one server.
func (h *Healer) look(ctx context.Context, server fleet.Server) error {
	p, ok := h.Providers[server.Spec.Provider]
	if !ok {
		return fmt.Errorf("server %s: no provider %q is wired here", server.Name, server.Spec.Provider)
	}
	l := h.looksOf(server.Spec.Provider)
	w := &wish{server: server}
	l.mu.Lock()
	l.queue = append(l.queue, w)
	l.mu.Unlock()

	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return fmt.Errorf("observe %s: %w", server.Name, ctx.Err())
	}
	if !w.done {
		l.mu.Lock()
		batch := l.queue
		l.queue = nil
		l.mu.Unlock()
		h.observe(ctx, p, batch)
	}
	if w.err != nil {
		return fmt.Errorf("observe %s: %w", server.Name, w.err)
	}
	return nil
}

// observe grants all wishes of a batch with one look.
func (h *Healer) observe(ctx context.Context, p provider.Provider, batch []*wish) {
	servers := make([]fleet.Server, 0, len(batch))
	for _, w := range batch {
		servers = append(servers, h.Viewer.State.located(w.server))
	}
	sweep, err := p.Observe(ctx, servers)
	if err == nil {
		h.Collector.TakeFor(servers, sweep)
	}
	for _, w := range batch {
		w.err, w.done = err, true
		seen := func(s provider.ServerSight) bool { return s.Observed.Server == w.server.Name }
		if err == nil && sweep.Blind != "" && !slices.ContainsFunc(sweep.Servers, seen) {
			w.err = fmt.Errorf("it could not be seen: %s", sweep.Blind)
		}
	}
}

func (h *Healer) looksOf(provider string) *looks {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, ok := h.looks[provider]
	if !ok {
		if h.looks == nil {
			h.looks = map[string]*looks{}
		}
		l = &looks{turn: make(chan struct{}, 1)}
		h.looks[provider] = l
	}
	return l
}
