package controller

import (
	"context"
	"net/http"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/metric"
	"relight/internal/provider"
	"relight/internal/store"
)

// counted counts the calls to a provider by what became of them. It belongs
// inside of the authority wrapper: a call that was held back reached nobody.
type counted struct {
	provider.Provider
	count func(op, class string)
}

// Observe implements provider.Provider.
func (p counted) Observe(ctx context.Context, servers []fleet.Server) (provider.Sweep, error) {
	sweep, err := p.Provider.Observe(ctx, servers)
	p.count("observe", classOf(err))
	return sweep, err
}

// Do implements provider.Provider.
func (p counted) Do(ctx context.Context, call provider.Call) (provider.Outcome, error) {
	out, err := p.Provider.Do(ctx, call)
	p.count(string(call.Step.Kind), classOf(err))
	return out, err
}

func classOf(err error) string {
	if err == nil {
		return ""
	}
	class, _ := provider.ClassOf(err)
	return string(class)
}

// openMetrics makes the registry and has it hear the journal.
func (c *Controller) openMetrics() {
	c.metrics = metric.New(metric.Config{
		Version: c.opt.Build.Version, Revision: c.opt.Build.Commit,
		ProviderOf: func(server string) string {
			s, _ := c.state.Server(server)
			return s.Spec.Provider
		},
	})
	c.metrics.Beats(func() (uint64, map[string]uint64) { return beatCounts(c.hub.Beats().Stats()) })
	c.journal.Listen(func(batch []Recorded) {
		for _, r := range batch {
			c.metrics.Observe(r.Event)
		}
	})
}

func beatCounts(s beat.Stats) (accepted uint64, dropped map[string]uint64) {
	dropped = map[string]uint64{}
	for reason, n := range s.Dropped {
		dropped[beat.Reason(reason).String()] = n
	}
	return s.Accepted, dropped
}

// serveMetrics answers a scrape; what is not counted by events is read then.
func (c *Controller) serveMetrics() http.Handler {
	inner := c.metrics.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.metrics.SetServers(c.state.verdicts())
		a := c.reign.Authority()
		c.metrics.SetAuthority(c.clock.Now().Before(a.Until), a.Term, Shards)
		c.metrics.SetStoreRevision(int64(c.state.latest()))
		c.metrics.SetSpare(c.spare.bySite())
		inner.ServeHTTP(w, r)
	})
}

// verdicts counts the declared servers by the verdict that was journaled last.
func (s *State) verdicts() map[fleet.Verdict]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	count := map[fleet.Verdict]int{}
	for name := range s.docs.servers {
		status, _ := peek[fleet.Status](s, kindStatus, name)
		count[status.Verdict]++
	}
	return count
}

// latest is the store's revision that the state has come to.
func (s *State) latest() store.Revision {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rev
}
