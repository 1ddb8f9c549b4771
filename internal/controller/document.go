package controller

import (
	"encoding/json"
	"fmt"

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

// documents are all documents with policy and defaults filled in.
type documents struct {
	policies *spec.Policies
	servers  map[string]fleet.Server
	sites    map[string]fleet.Site
	fleet    fleet.Policy
}

// fill fills in every document. References were checked when they were applied.
func fill(docs []Document) (documents, error) {
	out := documents{servers: map[string]fleet.Server{}, sites: map[string]fleet.Site{}}
	parsed := make([]spec.Doc, 0, len(docs))
	for _, d := range docs {
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
		d.servers[doc.Name] = server
	case spec.KindSite:
		site, err := spec.Site(doc)
		if err != nil {
			return err
		}
		d.sites[doc.Name] = site
	}
	return nil
}
