package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/spec"
	"relight/internal/store"
)

func kindOfDocument(k client.Kind) string {
	switch k {
	case client.KindSite:
		return kindSite
	case client.KindPolicy:
		return kindPolicy
	default:
		return kindServer
	}
}

// Apply implements api.Backend: all documents are checked together, and either
// all are written or none.
func (b *Backend) Apply(ctx context.Context, by string, req client.ApplyRequest) (client.ApplyAnswer, error) {
	answer := client.ApplyAnswer{DryRun: req.DryRun}
	docs, err := parseDocuments(req.Documents)
	if err != nil {
		return answer, err
	}
	existing, err := b.parsed(ctx)
	if err != nil {
		return answer, err
	}
	set, err := spec.Resolve(docs, existing)
	if err != nil {
		return answer, invalid(err)
	}
	if err := b.checkProviders(set.Servers); err != nil {
		return answer, err
	}
	if err := b.checkStorage(set); err != nil {
		return answer, err
	}
	answer.Warnings = b.warnSites(set.Sites)
	if err := b.compareAll(req.Documents, docs, existing, &answer); err != nil || req.DryRun {
		return answer, err
	}
	err = b.Journal.Do(ctx, b.Clock.Now(), func(tx *Tx) error {
		if err := b.checkStorage(set); err != nil { // one may have started meanwhile
			return err
		}
		for i, d := range docs {
			if answer.Documents[i].Result == client.Unchanged {
				continue
			}
			kind := kindOfDocument(client.Kind(d.Kind))
			if rev := req.Documents[i].Revision; rev != 0 && client.Revision(tx.state.Revision(kind, d.Name)) != rev {
				return moved(d)
			}
			tx.Put(kind, d.Name, Document{Raw: d.Raw})
			if kind == kindServer {
				recount(tx, d.Name, set.Servers)
			}
			tx.Emit(event.Event{Kind: event.ServerDeclared, Server: serverOf(d), By: by, Message: fmt.Sprintf("%s applies %s (%s)", by, d, answer.Documents[i].Result)})
		}
		return nil
	})
	if err != nil {
		return answer, err
	}
	for i, d := range docs {
		answer.Documents[i].Revision = client.Revision(b.State.Revision(kindOfDocument(client.Kind(d.Kind)), d.Name))
	}
	b.Changed()
	b.Loops.Wake("")
	return answer, nil
}

// recount counts a server where it runs by its new spec. One that was deleted and comes
// back may run still: a host on which nobody counts it would be filled twice, and
// switched off as if nobody lived there. A recovery keeps its own count.
func recount(tx *Tx, name string, servers []fleet.Server) {
	n := slices.IndexFunc(servers, func(s fleet.Server) bool { return s.Name == name })
	if st := tx.state.Status(name); n >= 0 && st.Recovery == nil {
		countOn(tx, st.Host, servers[n])
	}
}

// checkProviders refuses servers that nobody here could ever start: accepted,
// each would only fail at its first step.
func (b *Backend) checkProviders(servers []fleet.Server) error {
	var fields []client.Field
	for _, s := range servers {
		if !slices.Contains(b.Providers, s.Spec.Provider) {
			fields = append(fields, client.Field{
				Where:   "spec.provider",
				Message: fmt.Sprintf("server %s: no provider %s is wired in this controller; wired are: %s", s.Name, s.Spec.Provider, strings.Join(b.Providers, ", ")),
			})
			continue
		}
		if len(s.Spec.Placement.Apart) > 0 && !b.Viewer.Traits[s.Spec.Provider].Places {
			// Accepted, it would be a promise that nobody keeps (S15).
			fields = append(fields, client.Field{
				Where:   "spec.placement.apart",
				Message: fmt.Sprintf("server %s: provider %s chooses the hosts itself and keeps nothing apart; remove the line, or keep the servers apart by sites", s.Name, s.Spec.Provider),
			})
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return problem(client.CodeInvalidDocument, "%d problems; nothing was changed", len(fields)).WithFields(fields...)
}

func serverOf(d spec.Doc) string {
	if d.Kind == spec.KindServer {
		return d.Name
	}
	return ""
}

func moved(d spec.Doc) *client.Problem {
	return problem(client.CodeConflict, "%s was changed by somebody else since you read it", d)
}

func (b *Backend) compareAll(asked []client.Document, docs, existing []spec.Doc, answer *client.ApplyAnswer) error {
	for i, d := range docs {
		kind := kindOfDocument(client.Kind(d.Kind))
		rev := client.Revision(b.State.Revision(kind, d.Name))
		if asked[i].Revision != 0 && asked[i].Revision != rev {
			return moved(d)
		}
		applied := client.Applied{Kind: client.Kind(d.Kind), Name: d.Name, Result: client.Created, Revision: rev}
		var old spec.Doc
		if at := slices.IndexFunc(existing, func(e spec.Doc) bool { return e.Kind == d.Kind && e.Name == d.Name }); at >= 0 {
			old, applied.Result = existing[at], client.Changed
		}
		changes, err := spec.Diff(old, d)
		if err != nil {
			return err
		}
		if len(changes) == 0 && applied.Result == client.Changed {
			applied.Result = client.Unchanged
		}
		for _, c := range changes {
			applied.Changes = append(applied.Changes, client.Change{Field: c.Path, From: json.RawMessage(c.Old), To: json.RawMessage(c.New)})
		}
		answer.Documents = append(answer.Documents, applied)
	}
	return nil
}

// parseDocuments checks documents that came over the wire as strictly as files.
func parseDocuments(list []client.Document) ([]spec.Doc, error) {
	var docs []spec.Doc
	for _, d := range list {
		if len(d.Spec) == 0 {
			d.Spec = json.RawMessage("{}")
		}
		raw, err := d.Raw()
		if err != nil {
			return nil, err
		}
		parsed, err := spec.Parse(spec.File{Name: d.ID() + ".json", Data: raw})
		if err != nil {
			return nil, invalid(err)
		}
		docs = append(docs, parsed...)
	}
	return docs, nil
}

func invalid(err error) error {
	var problems spec.Problems
	if !errors.As(err, &problems) {
		return err
	}
	fields := make([]client.Field, 0, len(problems))
	for _, p := range problems {
		fields = append(fields, client.Field{Where: p.Path, Message: p.Message + fixOf(p)})
	}
	return problem(client.CodeInvalidDocument, "%d problems; nothing was changed", len(problems)).WithFields(fields...)
}

func fixOf(p spec.Problem) string {
	if p.Fix == "" {
		return ""
	}
	return "; " + p.Fix
}

// parsed returns all documents as package spec knows them.
func (b *Backend) parsed(ctx context.Context) ([]spec.Doc, error) {
	servers, err := b.Journal.documents(ctx)
	if err != nil {
		return nil, err
	}
	b.State.mu.RLock()
	stored := append(b.State.documents(), servers...)
	b.State.mu.RUnlock()
	docs := make([]spec.Doc, 0, len(stored))
	for _, d := range stored {
		doc, err := d.Doc()
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

func (b *Backend) document(ctx context.Context, kind client.Kind, name string) (client.Document, error) {
	stored, rev, err := b.Journal.document(ctx, kindOfDocument(kind), name)
	if errors.Is(err, store.ErrNotFound) {
		return client.Document{}, problem(client.CodeNotFound, "there is no %s %q", kind, name).WithNext("relight get %s", kind.Plural())
	}
	if err != nil {
		return client.Document{}, err
	}
	d, err := client.ParseDocument(stored.Raw)
	if err != nil {
		return d, err
	}
	d.Revision = client.Revision(rev)
	return d, nil
}

// Documents implements api.Backend.
func (b *Backend) Documents(ctx context.Context, kind client.Kind, q client.ListQuery) (client.List[client.Document], error) {
	var list client.List[client.Document]
	for _, name := range b.State.Names(kindOfDocument(kind)) {
		if name <= q.Cursor {
			continue
		}
		d, err := b.document(ctx, kind, name)
		if err != nil {
			return list, err
		}
		if !matches(d.Metadata.Labels, q.Selector) {
			continue
		}
		if q.Limit > 0 && len(list.Items) == q.Limit {
			list.Next = list.Items[len(list.Items)-1].Metadata.Name
			break
		}
		list.Items = append(list.Items, d)
	}
	return list, nil
}

// Document implements api.Backend.
func (b *Backend) Document(ctx context.Context, kind client.Kind, name string) (client.Document, error) {
	return b.document(ctx, kind, name)
}

// Delete implements api.Backend. A server that is deleted is forgotten, not
// stopped: its instance and its data stay as they are, and its status stays too,
// so that the same name never sees an epoch twice (S3, S8).
func (b *Backend) Delete(ctx context.Context, by string, kind client.Kind, name string, ifMatch client.Revision) error {
	doc, err := b.document(ctx, kind, name)
	if err != nil {
		return err
	}
	if ifMatch != 0 && doc.Revision != ifMatch {
		return problem(client.CodeConflict, "%s was changed by somebody else since you read it", doc.ID())
	}
	if err := b.mayDelete(ctx, kind, name); err != nil {
		return err
	}
	status := b.State.Status(name)
	err = b.Journal.Do(ctx, b.Clock.Now(), func(tx *Tx) error {
		if kind == client.KindServer {
			if err := b.mayForget(name); err != nil { // a recovery may have begun meanwhile
				return err
			}
		}
		tx.Delete(kindOfDocument(kind), name)
		e := event.Event{Kind: event.ServerDeleted, By: by, Message: fmt.Sprintf("%s deletes %s; its instance and data stay", by, doc.ID())}
		if kind == client.KindServer {
			e.Server = name
			freePlace(tx, status.Host, name)
			for _, k := range []string{kindRequest, kindPause, kindScheduled} {
				tx.Delete(k, name)
			}
		}
		tx.Emit(e)
		return nil
	})
	if err != nil {
		return err
	}
	b.Changed()
	b.Loops.Wake("")
	return nil
}

func (b *Backend) mayDelete(ctx context.Context, kind client.Kind, name string) error {
	if kind == client.KindServer {
		return b.mayForget(name)
	}
	existing, err := b.parsed(ctx)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(existing), func(d spec.Doc) bool {
		return client.Kind(d.Kind) == kind && d.Name == name
	})
	if _, err := spec.Resolve(left, nil); err != nil {
		return invalid(err)
	}
	return nil
}

// mayForget refuses to delete a server that is being recovered, and one that others are
// started after: they would wait for what nobody knows, and no document could be applied
// any more beside theirs.
func (b *Backend) mayForget(name string) error {
	if r := b.State.Status(name).Recovery; r != nil {
		return problem(client.CodeRefused, "a recovery of %s runs (%s)", name, r.Rung).WithNext("relight why %s", name)
	}
	var needed []string
	for _, s := range b.State.Servers() {
		if slices.Contains(s.Spec.After, name) {
			needed = append(needed, s.Name)
		}
	}
	if len(needed) > 0 {
		return problem(client.CodeRefused, "%s is started after %s (spec.after): remove it from there first", strings.Join(needed, ", "), name).WithNext("relight get server %s -o yaml", needed[0])
	}
	return nil
}

// pendingServers counts the servers that need attention; for readiness.
func (b *Backend) pendingServers() (needPerson, recovering int) {
	for _, s := range b.State.Servers() {
		switch b.State.Status(s.Name).Phase {
		case fleet.PhaseNeedsPerson:
			needPerson++
		case fleet.PhaseRecovering:
			recovering++
		default:
		}
	}
	return needPerson, recovering
}
