package controller

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"relight/internal/core/fleet"
	"relight/internal/spec"
)

// Document is a spec document as it was applied: set fields only, so that a
// policy that changes later still fills the rest.
type Document struct {
	Raw json.RawMessage `json:"raw"`
}

// Doc returns the document as package spec knows it.
func (d Document) Doc() (spec.Doc, error) { return spec.Load(d.Raw) }

// documents are all documents with policy and defaults filled in. What was applied
// stays in the store; see Journal.documents.
type documents struct {
	policies *spec.Policies
	servers  map[string]*declared
	sites    map[string]fleet.Site
	fleet    fleet.Policy
	// specs and checks are the latest that servers have in common.
	specs  latest[fleet.ServerSpec]
	checks latest[fleet.Check]
	names  shared
}

// declared is a server in few bytes: most of its spec comes from its policy and is
// the same for many.
type declared struct {
	name     string
	labels   map[string]string
	identity fleet.Identity
	template fleet.Template
	check    *fleet.Check
	// rest is the spec without those.
	rest *fleet.ServerSpec
}

// server puts the parts together again.
func (d *declared) server() fleet.Server {
	s := fleet.Server{Name: d.name, Labels: d.labels, Spec: *d.rest}
	s.Spec.Identity, s.Spec.Template, s.Spec.Health.Check = d.identity, d.template, *d.check
	return s
}

// latest holds the last few different values, each once.
type latest[T any] struct{ kept []*T }

// latestKept bounds the comparisons for a value that nobody else has.
const latestKept = 16

// one returns the kept value that equals v, or keeps it.
func (l *latest[T]) one(v T) *T {
	for _, have := range l.kept {
		if reflect.DeepEqual(*have, v) {
			return have
		}
	}
	if len(l.kept) == latestKept {
		l.kept = slices.Delete(l.kept, 0, 1)
	}
	l.kept = append(l.kept, &v)
	return &v
}

// fill fills in every document: those of policies and sites first, and then those of
// the servers one by one. It lets go of each of the servers' documents, for a large
// fleet must not be there twice. References were checked when they were applied.
func fill(others, servers []Document) (documents, error) {
	out := documents{servers: make(map[string]*declared, len(servers)), sites: map[string]fleet.Site{}, names: newShared()}
	parsed := make([]spec.Doc, 0, len(others))
	for _, d := range others {
		doc, err := d.Doc()
		if err != nil {
			return out, err
		}
		parsed = append(parsed, doc)
	}
	var err error
	if out.policies, err = spec.NewPolicies(parsed); err != nil {
		return out, err
	}
	out.fleet = out.policies.Fleet()
	for _, doc := range parsed {
		if err := out.add(doc); err != nil {
			return out, err
		}
	}
	for i, d := range servers {
		servers[i] = Document{}
		doc, err := d.Doc()
		if err != nil {
			return out, err
		}
		if err := out.add(doc); err != nil {
			return out, err
		}
	}
	return out, nil
}

// add fills in one server or site.
func (d *documents) add(doc spec.Doc) error {
	switch doc.Kind {
	case spec.KindServer:
		server, err := d.policies.Effective(doc)
		if err != nil {
			return fmt.Errorf("%s: %w", doc, err)
		}
		d.servers[doc.Name] = d.declare(server)
	case spec.KindSite:
		site, err := spec.Site(doc)
		if err != nil {
			return err
		}
		d.sites[doc.Name] = site
	default: // policies are in d.policies
	}
	return nil
}

// declare takes a server apart into what is its own and what others share.
func (d *documents) declare(s fleet.Server) *declared {
	out := &declared{name: s.Name, labels: s.Labels, identity: s.Spec.Identity, template: s.Spec.Template, check: d.checks.one(s.Spec.Health.Check)}
	s.Spec.Identity, s.Spec.Template, s.Spec.Health.Check = fleet.Identity{}, fleet.Template{}, fleet.Check{}
	out.rest = d.specs.one(s.Spec)
	out.identity.Volumes, out.identity.Addresses = slices.Clone(out.identity.Volumes), slices.Clone(out.identity.Addresses)
	for i := range out.identity.Volumes {
		v := &out.identity.Volumes[i]
		v.Name, v.Reach = d.names.name(v.Name), fleet.Reach(d.names.name(string(v.Reach)))
	}
	return out
}
