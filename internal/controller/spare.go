package controller

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// SpareWatch keeps the answer to "N+1 possible?" and tells when it turns. It decides
// nothing: a fleet without spare room runs on.
type SpareWatch struct {
	Viewer  *Viewer
	Journal *Journal
	Clock   Clock
	Log     *slog.Logger

	mu   sync.Mutex
	last decide.Spare
	took time.Duration
	// told holds, by site, whether people were last told that it has room.
	told map[string]bool
}

// spareEvery is how often the watch looks.
const spareEvery = 15 * time.Second

// spareShare is the part of the time that the watch may take in a large fleet.
const spareShare = 100

// quickSpare is how long an answer may take that is made anew for each who asks.
const quickSpare = 50 * time.Millisecond

// watch looks again and again until ctx ends. It leaves the hosts the time to be heard
// first: a host that was not heard yet is no spare, and that is no news.
func (s *SpareWatch) watch(ctx context.Context) {
	wait := time.NewTimer(spareEvery)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		now := s.Clock.Now()
		if err := s.tell(ctx, s.look(now), now); err != nil {
			s.Log.Warn("cannot tell of the spare room", "err", err)
		}
		s.mu.Lock()
		next := max(spareEvery, spareShare*s.took)
		s.mu.Unlock()
		wait.Reset(next)
	}
}

// Now returns the answer, as of now if that is quick to find.
func (s *SpareWatch) Now() decide.Spare {
	if s == nil {
		return decide.Spare{}
	}
	s.mu.Lock()
	last, took := s.last, s.took
	s.mu.Unlock()
	if took > quickSpare {
		return last
	}
	return s.look(s.Clock.Now())
}

// look asks the core.
func (s *SpareWatch) look(now time.Time) decide.Spare {
	began := time.Now()
	out := s.Viewer.spare(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.took = out, time.Since(began)
	return out
}

// bySite says for each site of the last look whether it has room.
func (s *SpareWatch) bySite() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]bool{}
	for _, site := range s.last.Sites {
		out[site.Site] = site.OK
	}
	return out
}

// spare asks whether the loss of any one host could be borne.
func (w *Viewer) spare(now time.Time) decide.Spare {
	hosts := w.hosts(fleet.Server{}, now)
	var tenants []decide.Tenant
	for _, server := range w.State.Servers() {
		traits := w.Traits[server.Spec.Provider].For(server)
		if host := w.State.Status(server.Name).Host; host != "" && traits.Places {
			tenants = append(tenants, decide.Tenant{
				Server: server, Host: host,
				Relaunches: slices.Contains(traits.Rungs, fleet.Relaunch), Moves: slices.Contains(traits.Rungs, fleet.Move),
			})
		}
	}
	return decide.SpareOf(hosts, tenants, w.Collector.reachesAll)
}

// reachesAll reports whether the host can use all volumes of a server that are not
// found by the platform.
func (c *Collector) reachesAll(server fleet.Server, host string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	h, s := c.hosts[host], c.servers[server.Name]
	if h == nil {
		return false
	}
	for _, vol := range server.Spec.Identity.Volumes {
		if vol.Path == "" && !vol.OnArray() {
			continue
		}
		if near := h.reaches[s]; near == nil || !slices.Contains(*near, vol.Name) {
			return false
		}
	}
	return true
}

// tell emits what turned since it was last told. Sums of sites that others are parts of
// are not told besides: of a rack and its zone people hear once.
func (s *SpareWatch) tell(ctx context.Context, now decide.Spare, at time.Time) error {
	if !at.Before(s.Viewer.Authority().Until) {
		return nil // whoever leads tells
	}
	if s.told == nil {
		s.told = map[string]bool{}
	}
	var news []decide.SiteSpare
	for _, site := range s.leaves(now, at) {
		if was, known := s.told[site.Site]; was != site.OK && (known || !site.OK) {
			news = append(news, site)
		}
	}
	if len(news) > 0 {
		err := s.Journal.Do(ctx, at, func(tx *Tx) error {
			for _, site := range news {
				e := event.Event{Kind: event.SpareRegained, Message: site.Site + ": any one host may be lost again"}
				if !site.OK {
					e.Kind, e.Host, e.Message = event.SpareLost, site.Worst, site.Site+": not every host may be lost: "+site.Reason
				}
				tx.Emit(e)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, site := range now.Sites {
		s.told[site.Site] = site.OK
	}
	return nil
}

// leaves returns the sites that have hosts of their own, and the fleet if it has some.
func (s *SpareWatch) leaves(now decide.Spare, at time.Time) []decide.SiteSpare {
	own := map[string]bool{}
	for _, h := range s.Viewer.hosts(fleet.Server{}, at) {
		site := "fleet"
		if len(h.Sites) > 0 {
			site = h.Sites[0]
		}
		own[site] = true
	}
	return slices.DeleteFunc(slices.Clone(now.Sites), func(site decide.SiteSpare) bool { return !own[site.Site] })
}
