package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"relight/internal/core/fleet"
	"relight/internal/provider/sim"
	"relight/internal/simulate/oracle"
	"relight/internal/spec"
	"relight/internal/store"
)

// declare reads the specs as the world and the oracle know them; the product
// reads them by itself.
func (e *engine) declare() error {
	docs, err := spec.Parse(spec.File{Name: "spec.yaml", Data: []byte(e.sc.Spec)})
	if err != nil {
		return err
	}
	e.applied = docs
	set, err := spec.Resolve(docs, nil)
	if err != nil {
		return err
	}
	for _, s := range set.Servers {
		sim.Declare(e.world, s, e.zoneOf(s))
		e.isolations[s.Name] = s.Spec.OnIsolation
		for _, v := range s.Spec.Identity.Volumes {
			e.volumes[s.Name] = append(e.volumes[s.Name], sim.VolumeID(s, v.Name))
		}
	}
	for _, site := range set.Sites {
		for _, a := range site.Spec.Arrays {
			if w := e.world.Array(a.Name); w != nil {
				w.LastResort = a.LUNOffline == fleet.LUNOfflineLast
			}
		}
	}
	e.holds(docs, set)
	return nil
}

// holds takes the documents for those that are in force.
func (e *engine) holds(docs []spec.Doc, set spec.Set) {
	e.docs = docs
	e.oracle.Declare(oracle.Intent{Servers: set.Servers, Sites: set.Sites, Fleet: set.Fleet})
}

// docKeys is where the store keeps the documents.
const docKeys = "relight/v1/"

func docKey(d spec.Doc) string { return docKeys + strings.ToLower(string(d.Kind)) + "/" + d.Name }

// asks has a person change what is declared: do asks the product for it, and docs are
// what is in force from the moment at which the store takes the document of that key.
// What the product refuses changes nothing, and what no answer came of is as the store
// has it, also where a member holds it that comes to lead later.
func (e *engine) asks(key string, docs []spec.Doc, do func() error) error {
	if e.wanted == nil {
		e.wanted = map[string][]spec.Doc{}
	}
	e.wanted[key] = docs
	err := do()
	if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, errCrash) {
		delete(e.wanted, key)
	}
	return err
}

// committedDocs looks for the document that somebody waits for.
func (e *engine) committedDocs(txn store.Txn) {
	for _, op := range txn.Ops {
		docs, waited := e.wanted[op.Key]
		if !waited {
			continue
		}
		set, err := spec.Resolve(docs, nil)
		if err != nil {
			e.fail(fmt.Errorf("the product has taken documents that hold no water: %w", err))
			return
		}
		e.holds(docs, set)
	}
}

// docOf finds a document by kind and name.
func docOf(docs []spec.Doc, kind spec.Kind, name string) (spec.Doc, bool) {
	at := slices.IndexFunc(docs, func(d spec.Doc) bool { return d.Kind == kind && d.Name == name })
	if at < 0 {
		return spec.Doc{}, false
	}
	return docs[at], true
}

// without returns the documents but for one.
func without(docs []spec.Doc, d spec.Doc) []spec.Doc {
	return slices.DeleteFunc(slices.Clone(docs), func(o spec.Doc) bool { return o.Kind == d.Kind && o.Name == d.Name })
}

// withField returns the document with a field of its spec set, or left out if the value
// is nil. A mistake in it is for the product to refuse.
func withField(d spec.Doc, field string, value any) (spec.Doc, error) {
	var whole map[string]any
	if err := json.Unmarshal(d.Raw, &whole); err != nil {
		return d, err
	}
	inner, _ := whole["spec"].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
		whole["spec"] = inner
	}
	inner[field] = value
	if value == nil {
		delete(inner, field)
	}
	raw, err := json.Marshal(whole)
	if err != nil {
		return d, err
	}
	docs, err := spec.Parse(spec.File{Name: d.Name + ".json", Data: raw})
	if err != nil {
		return d, err
	}
	return docs[0], nil
}
