package onprem

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"relight/internal/array"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

const (
	// sanEvery is the least time between two looks at an array; one that answers
	// slowly is asked seldom, see san.due.
	sanEvery = time.Second
	// sanWithin bounds one look.
	sanWithin = 5 * time.Second
	// sanFresh is for how long what was seen still says something.
	sanFresh = 8 * time.Second
)

// san is an array that a site declares, with what was last seen on it.
type san struct {
	decl fleet.Array
	site string
	// arr refuses epochs that the journal calls fenced; err is why it could not be
	// opened.
	arr, bare array.Array
	err       error

	// mu may be taken while Hub.mu is held, and never the other way about.
	mu sync.Mutex
	// seen is what the look that began at `at` showed, by server; failed is why the
	// last look showed nothing.
	seen    map[string][]array.Mapped
	at      time.Time
	took    time.Duration
	failed  error
	running chan struct{} // closed when the look that is under way has ended
	// effects are when something was last done for a server: what was seen before it
	// is not the present any more.
	effects map[string]time.Time
}

// openArrays opens the arrays of the sites. One that has not changed stays as it is,
// because its driver keeps two calls apart. Hub.mu is not held: a driver may have to
// ask for a password first.
func (h *Hub) openArrays(sites []fleet.Site) map[string]*san {
	h.mu.Lock()
	have := h.sans
	h.mu.Unlock()
	sans := map[string]*san{}
	for _, site := range sites {
		for _, decl := range site.Spec.Arrays {
			if old := have[decl.Name]; old != nil && old.err == nil && old.site == site.Name && reflect.DeepEqual(old.decl, decl) {
				sans[decl.Name] = old
				continue
			}
			sans[decl.Name] = h.openArray(site.Name, decl)
		}
	}
	return sans
}

func (h *Hub) openArray(site string, decl fleet.Array) *san {
	n := &san{decl: decl, site: site, effects: map[string]time.Time{}}
	if h.opt.OpenArray == nil {
		n.err = fmt.Errorf("array %s: this controller has no drivers for arrays", decl.Name)
		return n
	}
	if n.bare, n.err = h.opt.OpenArray(decl); n.err != nil {
		n.err = fmt.Errorf("array %s cannot be opened: %w", decl.Name, n.err)
		return n
	}
	n.arr = array.WithMarks(n.bare, h.opt.Fenced)
	return n
}

// sanOf returns the array of a LUN.
func (h *Hub) sanOf(vol fleet.Volume) (*san, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.sans[vol.LUN.Array]
	switch {
	case n == nil:
		return nil, fmt.Errorf("no site declares array %s", vol.LUN.Array)
	case n.err != nil:
		return nil, n.err
	default:
		return n, nil
	}
}

// unitsOn lists the server's LUNs on an array by unit, and their volumes' names.
func unitsOn(s fleet.Server, name string) (units map[int]string, volumes []string) {
	units = map[int]string{}
	for _, v := range s.Spec.Identity.Volumes {
		if v.LUN != nil && v.LUN.Array == name {
			units[v.LUN.Unit] = v.LUN.Name
			volumes = append(volumes, v.Name)
		}
	}
	return units, volumes
}

// portals lists the arrays of the servers' LUNs; mu is held.
func (h *Hub) portals(servers []link.WatchedServer) []link.Portal {
	var out []link.Portal
	for _, w := range servers {
		for _, v := range w.Volumes {
			if v.LUN == nil || h.sans[v.LUN.Array] == nil {
				continue
			}
			for _, addr := range h.sans[v.LUN.Array].decl.Portals() {
				if p := (link.Portal{Array: v.LUN.Array, Addr: addr}); !slices.Contains(out, p) {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

// lookAtArrays has the arrays of the servers looked at that are due. It waits, for
// lookWait at most, only for those of which nothing present is known.
func (h *Hub) lookAtArrays(ctx context.Context, servers []fleet.Server) {
	var wait []<-chan struct{}
	for _, n := range h.arraysOf(servers) {
		if ended := h.lookAtArray(ctx, n); ended != nil {
			wait = append(wait, ended)
		}
	}
	if len(wait) == 0 {
		return
	}
	limit := time.NewTimer(h.lookWait())
	defer limit.Stop()
	for _, ended := range wait {
		select {
		case <-ended:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (h *Hub) arraysOf(servers []fleet.Server) []*san {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*san
	for i := range servers {
		for _, v := range servers[i].Spec.Identity.Volumes {
			if v.LUN == nil {
				continue
			}
			if n := h.sans[v.LUN.Array]; n != nil && n.err == nil && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// lookAtArray begins a look if one is due. It returns when the look will have ended if
// what is known is not the present.
func (h *Hub) lookAtArray(ctx context.Context, n *san) <-chan struct{} {
	now := h.opt.Now()
	running, begins := n.begin(now)
	if begins {
		asked := h.serversOn(n.decl.Name)
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), sanWithin)
		go func() {
			defer cancel()
			h.finishLook(look, n, now, asked)
		}()
	}
	return running
}

// begin takes a look up if one is due. It also returns when the look that is under way
// will have ended, or nil if what is known is the present.
func (n *san) begin(now time.Time) (running <-chan struct{}, begins bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if begins = n.running == nil && n.due(now); begins {
		n.running = make(chan struct{})
	}
	if n.running == nil || now.Sub(n.at) <= sanFresh && !n.overtaken() {
		return nil, begins
	}
	return n.running, begins
}

// due says whether a look should begin; mu is held. Looks take a tenth of the time at
// most, whatever an array needs for one; what was done is looked at soon.
func (n *san) due(now time.Time) bool {
	return now.Sub(n.at) >= max(sanEvery, 9*n.took) || n.overtaken() && now.Sub(n.at) >= n.took
}

func (n *san) overtaken() bool {
	for _, at := range n.effects { // any one will do
		if !at.Before(n.at) {
			return true
		}
	}
	return false
}

// serversOn names the servers with LUNs on an array.
func (h *Hub) serversOn(name string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, server := range h.names {
		if units, _ := unitsOn(h.servers[server], name); len(units) > 0 {
			out = append(out, server)
		}
	}
	return out
}

// finishLook asks the array and notes what it said.
func (h *Hub) finishLook(ctx context.Context, n *san, began time.Time, servers []string) {
	seen, err := mapsOn(ctx, n.bare, servers)
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := err == nil && !reflect.DeepEqual(seen, n.seen) || (err == nil) != (n.failed == nil)
	n.at, n.took, n.failed = began, h.opt.Now().Sub(began), err
	if err == nil {
		n.seen = seen
	}
	close(n.running)
	n.running = nil
	if changed {
		h.wake("")
	}
}

// mapsOn lists the maps of the servers.
func mapsOn(ctx context.Context, a array.Array, servers []string) (map[string][]array.Mapped, error) {
	out := make(map[string][]array.Mapped, len(servers))
	for _, s := range servers {
		out[s] = nil
	}
	if l, ok := a.(array.Lister); ok {
		all, err := l.AllMaps(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range all {
			if _, ours := out[m.Server]; ours {
				out[m.Server] = append(out[m.Server], m)
			}
		}
		return out, nil
	}
	for _, s := range servers {
		maps, err := a.Maps(ctx, s)
		if err != nil {
			return nil, err
		}
		out[s] = maps
	}
	return out, nil
}

// onArrays adds what the arrays show of a server's LUNs; mu is held. An array that
// cannot be asked says nothing, which is not "none" (S4).
func (h *Hub) onArrays(s *fleet.Server, o *fleet.Observed) {
	for _, v := range s.Spec.Identity.Volumes {
		if v.LUN == nil {
			continue
		}
		n := h.sans[v.LUN.Array]
		if n == nil || n.err != nil {
			o.Complete = false
			continue
		}
		maps, at, ok := n.mapsOf(s.Name, h.opt.Now())
		if !ok {
			o.Complete = false
			continue
		}
		if len(maps) == 0 {
			o.Volumes = append(o.Volumes, fleet.VolumeState{Volume: v.Name, Held: fleet.No, At: at})
		}
		for _, m := range maps {
			state := fleet.VolumeState{Volume: v.Name, Epoch: m.Epoch, Held: fleet.Yes, At: at}
			if len(m.Initiators) > 0 {
				state.Holder = m.Epoch
			}
			o.Volumes = append(o.Volumes, state)
		}
	}
}

// mapsOf returns what was seen of a server, if that is the present.
func (n *san) mapsOf(server string, now time.Time) ([]array.Mapped, time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps, known := n.seen[server]
	if !known || n.failed != nil || now.Sub(n.at) > sanFresh {
		return nil, time.Time{}, false
	}
	if done, any := n.effects[server]; any && !done.Before(n.at) {
		return nil, time.Time{}, false
	}
	return maps, n.at, true
}

// did notes that something was done for a server, or may have been.
func (n *san) did(server string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.effects[server] = now
}

// ArrayState is whether an array answers this controller.
type ArrayState struct {
	Name, Site string
	// Err is why it does not.
	Err error
}

// AskArrays asks all declared arrays at once, by name.
func (h *Hub) AskArrays(ctx context.Context) []ArrayState {
	h.mu.Lock()
	sans := make([]*san, 0, len(h.sans))
	for _, name := range sortedNames(h.sans) {
		sans = append(sans, h.sans[name])
	}
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	out := make([]ArrayState, len(sans))
	var asking sync.WaitGroup
	for i, n := range sans {
		out[i] = ArrayState{Name: n.decl.Name, Site: n.site, Err: n.err}
		if n.err == nil {
			asking.Go(func() { _, out[i].Err = n.bare.Maps(ctx, "doctor") })
		}
	}
	asking.Wait()
	return out
}
