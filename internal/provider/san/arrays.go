package san

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"relight/internal/array"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// KeySize is the length in bytes of Options.Key.
const KeySize = 32

// Options are what Arrays need.
type Options struct {
	// Open makes the driver of an array that a site declares; it touches nothing yet. Nil
	// means that no server's volumes may be LUNs.
	Open func(fleet.Array) (array.Array, error)
	// Fenced reads from the journal up to which epoch a server was fenced.
	Fenced array.Marks
	// Key is what the epochs' secrets on arrays are made of; all controllers have the same.
	Key []byte
	Now func() time.Time
}

// Arrays are the SAN arrays that sites declare, for all providers whose servers have LUNs
// there. There is one of it in a controller: a driver keeps two calls apart, and can do
// so only for those that come to it. It is safe for concurrent use.
type Arrays struct {
	opt Options

	// mu may be taken while a provider's own lock is held, and never the other way about.
	mu sync.Mutex
	// sans are the arrays that sites declare, by name.
	sans    map[string]*declared
	servers map[string]fleet.Server
	names   []string // of servers, sorted
	tell    []func(servers []string)
}

// declared is an array that a site declares, with what was last seen on it.
type declared struct {
	decl fleet.Array
	site string
	// arr refuses epochs that the journal calls fenced; err is why it could not be
	// opened.
	arr, bare array.Array
	err       error

	// mu may be taken while Arrays.mu is held, and never the other way about.
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

	// examining is held while the array is examined, probing (a channel of one, since whoever
	// waits has not all the time) while it is found out what its reservations are worth.
	examining sync.Mutex
	probing   chan struct{}
	// found is what came of that; mu is held. givenUp are second lines that could not be
	// made, by server.
	found   worth
	givenUp map[string]givenUp
}

// New returns arrays of which none is declared yet, so that a provider can be given them
// before the controller that opens them. Until then every LUN's array is unknown.
func New() *Arrays {
	return &Arrays{sans: map[string]*declared{}, servers: map[string]fleet.Server{}}
}

// Opened returns arrays that are open.
func Opened(o Options) *Arrays {
	a := New()
	a.Open(o)
	return a
}

// Open lets sites declare arrays. It is called once, before SetSites.
func (a *Arrays) Open(o Options) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.opt = o
}

// Listen has a function told of which servers there is news. The function must not wait,
// nor call back.
func (a *Arrays) Listen(tell func(servers []string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tell = append(a.tell, tell)
}

func (a *Arrays) wake(servers ...string) {
	if len(servers) == 0 {
		return
	}
	a.mu.Lock()
	tell := a.tell
	a.mu.Unlock()
	for _, t := range tell {
		t(servers)
	}
}

// SetServers says which servers exist, of all providers. It replaces the earlier list.
func (a *Arrays) SetServers(list []fleet.Server) {
	servers := make(map[string]fleet.Server, len(list))
	for _, s := range list {
		servers[s.Name] = s
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.servers, a.names = servers, slices.Sorted(maps.Keys(servers))
}

// SetSites says which sites exist, and so which arrays. It replaces the earlier list. One
// that has not changed stays as it is, because its driver keeps two calls apart.
func (a *Arrays) SetSites(sites []fleet.Site) {
	a.mu.Lock()
	have := a.sans
	a.mu.Unlock()
	sans := map[string]*declared{}
	for _, site := range sites {
		for _, decl := range site.Spec.Arrays {
			if old := have[decl.Name]; old != nil && old.err == nil && old.site == site.Name && reflect.DeepEqual(old.decl, decl) {
				sans[decl.Name] = old
				continue
			}
			sans[decl.Name] = a.open(site.Name, decl) // no lock: a driver may have to ask for a password first
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sans = sans
}

func (a *Arrays) open(site string, decl fleet.Array) *declared {
	n := &declared{decl: decl, site: site, effects: map[string]time.Time{}, givenUp: map[string]givenUp{}, probing: make(chan struct{}, 1)}
	if a.opt.Open == nil {
		n.err = fmt.Errorf("array %s: this controller has no drivers for arrays", decl.Name)
		return n
	}
	if n.bare, n.err = a.opt.Open(decl); n.err != nil {
		n.err = fmt.Errorf("array %s cannot be opened: %w", decl.Name, n.err)
		return n
	}
	n.arr = array.WithMarks(array.WithLeave(n.bare, provider.Leased), a.opt.Fenced)
	return n
}

// of returns the array of a LUN.
func (a *Arrays) of(vol fleet.Volume) (*declared, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.sans[vol.LUN.Array]
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

// serversOn names the servers with LUNs on an array.
func (a *Arrays) serversOn(name string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, server := range a.names {
		if units, _ := unitsOn(a.servers[server], name); len(units) > 0 {
			out = append(out, server)
		}
	}
	return out
}

// Portal is where initiators log in to an array.
type Portal struct {
	Array string
	// Addr is address:port.
	Addr string
}

// Portals lists those of the arrays that volumes are on, each once.
func (a *Arrays) Portals(volumes []fleet.Volume) []Portal {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Portal
	for _, v := range volumes {
		if v.LUN == nil || a.sans[v.LUN.Array] == nil {
			continue
		}
		for _, addr := range a.sans[v.LUN.Array].decl.Portals() {
			if p := (Portal{Array: v.LUN.Array, Addr: addr}); !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// State is whether an array answers this controller.
type State struct {
	Name, Site string
	// URL is where its management is; empty if that is on this machine.
	URL string
	// Err is why it does not.
	Err error
	// NoLine is why its reservations are no second line although its declaration wants one,
	// once that is known.
	NoLine string
	// Without are the servers that are let in there and have no second line although the
	// array's declaration wants one.
	Without []string
}

// all lists the declared arrays by name.
func (a *Arrays) all() []*declared {
	a.mu.Lock()
	defer a.mu.Unlock()
	sans := make([]*declared, 0, len(a.sans))
	for _, name := range slices.Sorted(maps.Keys(a.sans)) {
		sans = append(sans, a.sans[name])
	}
	return sans
}

// Ask asks all declared arrays at once, by name.
func (a *Arrays) Ask(ctx context.Context) []State {
	sans := a.all()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	out := make([]State, len(sans))
	var asking sync.WaitGroup
	for i, n := range sans {
		out[i] = State{Name: n.decl.Name, Site: n.site, URL: n.decl.Options["url"], Err: n.err, NoLine: n.noLine(a.opt.Now())}
		if n.err == nil {
			asking.Go(func() {
				if _, out[i].Err = n.bare.Maps(ctx, "doctor"); out[i].Err == nil {
					out[i].Without = a.without(ctx, n)
				}
			})
		}
	}
	asking.Wait()
	return out
}
