package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"relight/internal/audit"
	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	"relight/internal/store"
)

// State is what the store holds, in memory: one table for each kind of record. The
// documents of servers are the exception: only what they amount to is kept.
// Only Journal writes it, after the store has acknowledged.
type State struct {
	mu     sync.RWMutex
	tables map[string]map[string]record
	rev    store.Revision
	// docs are the documents with policy and defaults filled in, kept so that a
	// decision does not merge them again.
	docs documents
	// tally counts the servers by what is recorded of them, used the units that are
	// taken on each host; both follow each write. paths holds every site with all
	// above it. A change of the sites leaves tally and paths to settle.
	tally *decide.Tally
	// waits holds the budget for which a server waits, by server.
	waits     map[string]budgetWait
	used      map[string]int
	freed     int               // units given back since Freed was asked
	open      map[string]string // the open incident of each cause
	closed    []closedIncident  // the others, by when they closed
	healing   map[string]bool   // the servers for which a recovery runs
	bound     map[string]string // the hosts to which planned moves are under way, by server
	paths     map[string][]string
	unsettled bool
	// words counts the changes of what people say of more than one server, see said.
	words uint64
	// order holds the names of all servers, sorted; nil once one came or went. A
	// fleet is walked far more often than it changes.
	order atomic.Pointer[[]string]
	// named is the moment of the last incident and the number that the next one of
	// that moment gets. It belongs to whoever has the journal's turn.
	named struct {
		base string
		next int
	}
}

type record struct {
	value any
	rev   store.Revision
}

// NewState returns an empty state.
func NewState() *State {
	return &State{tables: map[string]map[string]record{}, used: map[string]int{}, open: map[string]string{}, waits: map[string]budgetWait{}, healing: map[string]bool{}, bound: map[string]string{}, unsettled: true}
}

// Load reads everything of ours from the store, and the heads of the chains.
func (s *State) Load(ctx context.Context, st store.Store) error {
	records, rev, err := st.List(ctx, root)
	if err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	heads, _, err := st.List(ctx, headPrefix)
	if err != nil {
		return fmt.Errorf("read the audit heads: %w", err)
	}
	tables := map[string]map[string]record{}
	known := decoders()
	var servers []Document
	names := newShared()
	records = append(records, heads...)
	for i, r := range records {
		records[i] = store.Record{} // decoded, nobody needs it: a large fleet must not be there twice
		kind, name, err := kindOf(r.Key)
		if err != nil {
			return err
		}
		decode, ok := known[kind]
		if !ok {
			return fmt.Errorf("record %s: kind %q is unknown; it was written by a newer version", r.Key, kind)
		}
		v, err := decode(r.Value)
		if err != nil {
			return fmt.Errorf("record %s: %w", r.Key, err)
		}
		switch doc := v.(type) {
		case Document:
			if kind == kindServer {
				servers, v = append(servers, doc), nil
			}
		case fleet.Status:
			v = names.status(doc)
		}
		table(tables, kind)[name] = record{value: v, rev: r.Rev}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables, s.rev = tables, rev
	s.words++ // anything may have changed
	s.used, s.open, s.closed, s.healing = map[string]int{}, map[string]string{}, nil, map[string]bool{}
	s.bound = map[string]string{}
	for _, t := range tables { // each record has an entry of its own: the order is all one
		for name, r := range t {
			s.derive(name, r.value)
		}
	}
	return s.rebuild(servers)
}

var headPrefix = strings.TrimSuffix(audit.HeadKey(0), "00000")

func kindOf(key string) (kind, name string, err error) {
	if n, ok := strings.CutPrefix(key, headPrefix); ok {
		return kindHead, n, nil
	}
	return split(key)
}

func table(tables map[string]map[string]record, kind string) map[string]record {
	t, ok := tables[kind]
	if !ok {
		t = map[string]record{}
		tables[kind] = t
	}
	return t
}

// rebuild fills in every document again: those of the sites and policies, which the
// state holds, and the given ones of the servers, which only the store does.
func (s *State) rebuild(servers []Document) error {
	docs, err := fill(s.documents(), servers)
	if err != nil {
		return err
	}
	s.docs, s.unsettled = docs, true
	s.order.Store(nil)
	return nil
}

// refill fills in the single documents that changed.
func (s *State) refill(keys []string, puts map[string]any) error {
	for _, key := range keys {
		kind, name, err := split(key)
		if err != nil {
			return err
		}
		s.unsettled = s.unsettled || kind == kindSite
		d, ok := puts[key].(Document)
		if !ok && kind == kindSite {
			delete(s.docs.sites, name)
		}
		if !ok && kind == kindServer {
			delete(s.docs.servers, name)
			s.order.Store(nil)
		}
		if !ok {
			continue
		}
		doc, err := d.Doc()
		if err != nil {
			return err
		}
		if s.docs.policies == nil {
			if err := s.rebuild(nil); err != nil {
				return err
			}
		}
		if _, known := s.docs.servers[name]; !known && kind == kindServer {
			s.order.Store(nil)
		}
		if err := s.docs.add(doc); err != nil {
			return err
		}
	}
	return nil
}

// ownName returns the name of a record cut off from its key, and for a server that
// is declared the one that all share.
func (s *State) ownName(name string) string {
	if d, ok := s.docs.servers[name]; ok {
		return d.name
	}
	return strings.Clone(name)
}

// documents returns those of the policies and sites.
func (s *State) documents() []Document {
	var docs []Document
	for _, kind := range []string{kindPolicy, kindSite} {
		for _, name := range slices.Sorted(maps.Keys(s.tables[kind])) {
			docs = append(docs, s.tables[kind][name].value.(Document))
		}
	}
	return docs
}

// Server returns a server with all defaults filled in.
func (s *State) Server(name string) (fleet.Server, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d, ok := s.docs.servers[name]
	if !ok {
		return fleet.Server{}, false
	}
	return d.server(), true
}

// Servers returns all servers, by name.
func (s *State) Servers() []fleet.Server {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]fleet.Server, 0, len(s.docs.servers))
	for _, name := range s.names() {
		out = append(out, s.docs.servers[name].server())
	}
	return out
}

// serversOf appends the servers of one provider to list, by name: a sweep is made
// each second, in the memory of the one before.
func (s *State) serversOf(provider string, list []fleet.Server) []fleet.Server {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, name := range s.names() {
		if d := s.docs.servers[name]; d.rest.Provider == provider {
			list = append(list, s.locatedHere(d.server()))
		}
	}
	return list
}

// ServerNames returns the names of all servers, in order. It is not the caller's
// to change.
func (s *State) ServerNames() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.names()
}

// names is ServerNames for who holds the lock.
func (s *State) names() []string {
	if have := s.order.Load(); have != nil {
		return *have
	}
	names := slices.Sorted(maps.Keys(s.docs.servers))
	s.order.Store(&names) // a writer that changes them holds the lock alone, and comes later
	return names
}

// recovering returns those of the servers for which a recovery runs, in their order.
func (s *State) recovering(servers []fleet.Server) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.healing) == 0 {
		return nil
	}
	var out []string
	for i := range servers {
		if s.healing[servers[i].Name] {
			out = append(out, servers[i].Name)
		}
	}
	return out
}

// priorities returns the priorities of servers; one that is unknown has none.
func (s *State) priorities(names []string) []int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]int, len(names))
	for i, name := range names {
		if d, ok := s.docs.servers[name]; ok {
			out[i] = d.rest.Priority
		}
	}
	return out
}

// Sites returns all declared sites, by name.
func (s *State) Sites() []fleet.Site {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]fleet.Site, 0, len(s.docs.sites))
	for _, name := range slices.Sorted(maps.Keys(s.docs.sites)) {
		out = append(out, s.docs.sites[name])
	}
	return out
}

// Status returns a server's status; the zero Status of a new server has only its name.
func (s *State) Status(name string) fleet.Status {
	st, ok := Get[fleet.Status](s, kindStatus, name)
	if !ok {
		return fleet.Status{Server: name}
	}
	return st
}

// statusOf returns a server's status with its revision.
func (s *State) statusOf(name string) (fleet.Status, store.Revision) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.tables[kindStatus][name]
	if !ok {
		return fleet.Status{Server: name}, 0
	}
	return r.value.(fleet.Status), r.rev
}

// Get returns one record of the state.
func Get[T any](s *State, kind, name string) (T, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return peek[T](s, kind, name)
}

func peek[T any](s *State, kind, name string) (T, bool) {
	r, ok := s.tables[kind][name]
	if !ok {
		var zero T
		return zero, false
	}
	return r.value.(T), true
}

// All returns all records of a kind, in the order of their names.
func All[T any](s *State, kind string) []T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.tables[kind]
	out := make([]T, 0, len(t))
	for _, name := range slices.Sorted(maps.Keys(t)) {
		out = append(out, t[name].value.(T))
	}
	return out
}

// Names returns the names of all records of a kind, in order.
func (s *State) Names(kind string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.tables[kind]))
}

// Revision returns the revision of one record, 0 if there is none.
func (s *State) Revision(kind, name string) store.Revision {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tables[kind][name].rev
}

// pathUp returns a site and everything above it, the site itself first. A cycle
// ends the path: spec refuses one, an older record may still hold it.
func pathUp(sites map[string]fleet.Site, name string) []string {
	var out []string
	for name != "" && !slices.Contains(out, name) {
		out = append(out, name)
		name = sites[name].Spec.Parent
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
