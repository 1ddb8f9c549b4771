package client

import (
	"encoding/json"
	"strconv"
	"strings"
)

// APIVersion is what documents carry in apiVersion.
const APIVersion = "relight/v1alpha1"

// Kind is a kind of document.
type Kind string

// The kinds of documents.
const (
	KindServer Kind = "Server"
	KindSite   Kind = "Site"
	KindPolicy Kind = "Policy"
)

// Kinds lists all kinds in the order in which they are applied: a server may
// name a policy and sites.
func Kinds() []Kind { return []Kind{KindPolicy, KindSite, KindServer} }

// Plural returns the kind's word in paths and on the command line.
func (k Kind) Plural() string {
	switch k {
	case KindServer:
		return "servers"
	case KindSite:
		return "sites"
	case KindPolicy:
		return "policies"
	default:
		return strings.ToLower(string(k))
	}
}

// Revision is the store's revision of a document; 0 if it does not exist.
type Revision uint64

// ETag returns the revision as an entity tag.
func (r Revision) ETag() string { return `"` + strconv.FormatUint(uint64(r), 10) + `"` }

// ParseETag reads an entity tag that ETag made.
func ParseETag(tag string) (Revision, error) {
	n, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	if err != nil {
		return 0, NewProblem(CodeBadRequest, "%q is not an entity tag of ours, such as \"42\"", tag)
	}
	return Revision(n), nil
}

// Document is one spec document as a person wrote it, in the form of the file.
// Spec holds the set fields only, so that what a policy fills in stays out.
type Document struct {
	APIVersion string          `json:"apiVersion,omitempty" doc:"relight/v1alpha1"`
	Kind       Kind            `json:"kind" enum:"Server,Site,Policy"`
	Metadata   Metadata        `json:"metadata"`
	Spec       json.RawMessage `json:"spec" doc:"the set fields only"`
	// Revision is the document's revision in answers. In an apply it is a
	// condition: the document must still stand at it. 0 means no condition.
	Revision Revision `json:"revision,omitempty"`
}

// Metadata names a document.
type Metadata struct {
	Name   string            `json:"name" minLength:"1" maxLength:"253"`
	Labels map[string]string `json:"labels,omitempty"`
}

// ParseDocument reads the JSON form of a document.
func ParseDocument(raw []byte) (Document, error) {
	var d Document
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, NewProblem(CodeInvalidDocument, "the document cannot be read: %v", err)
	}
	return d, nil
}

// Raw returns the document in the JSON form of the file, without its revision.
func (d Document) Raw() (json.RawMessage, error) {
	d.Revision = 0
	if d.APIVersion == "" {
		d.APIVersion = APIVersion
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, NewProblem(CodeInvalidDocument, "%s cannot be written: %v", d.ID(), err)
	}
	return raw, nil
}

// ID returns "kind/name" in lower case, as -o name prints it.
func (d Document) ID() string { return strings.ToLower(string(d.Kind)) + "/" + d.Metadata.Name }

// ApplyRequest is the documents of one apply.
type ApplyRequest struct {
	Documents []Document
	DryRun    bool
}

// Result is what an apply did to one document.
type Result string

// The results.
const (
	Created   Result = "created"
	Changed   Result = "changed"
	Unchanged Result = "unchanged"
	Failed    Result = "failed"
)

// Applied is the answer about one document.
type Applied struct {
	Kind     Kind     `json:"kind"`
	Name     string   `json:"name"`
	Result   Result   `json:"result"`
	Changes  []Change `json:"changes,omitempty"`
	Revision Revision `json:"revision,omitempty"`
	// Warnings are sentences about what is allowed but likely wrong.
	Warnings []string `json:"warnings,omitempty"`
	// Problem is set if the result is failed.
	Problem *Problem `json:"problem,omitempty"`
}

// ID returns "kind/name" in lower case.
func (a Applied) ID() string { return strings.ToLower(string(a.Kind)) + "/" + a.Name }

// Change is one field of a document that differs.
type Change struct {
	// Field is a path such as spec.health.check.interval.
	Field string `json:"field"`
	// From and To are the values as JSON; absent means unset.
	From json.RawMessage `json:"from,omitempty"`
	To   json.RawMessage `json:"to,omitempty"`
}

// ApplyAnswer is what an apply did, in the order of the request.
type ApplyAnswer struct {
	DryRun    bool      `json:"dryRun"`
	Documents []Applied `json:"documents"`
	// Warnings name what was accepted and does nothing as things are.
	Warnings []string `json:"warnings,omitempty"`
}

// List is one page of things. Next is the cursor of the page after it, empty on
// the last.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// MarshalJSON writes an empty list as [], which every reader can walk.
func (l List[T]) MarshalJSON() ([]byte, error) {
	type plain List[T]
	if l.Items == nil {
		l.Items = []T{}
	}
	return json.Marshal(plain(l))
}

// ListQuery narrows a list. Zero fields do not narrow.
type ListQuery struct {
	// Selector lists label values that must all match.
	Selector map[string]string
	Cursor   string
	// Limit is the most items of a page; 0 leaves it to the engine.
	Limit int
}

// ParseSelector reads "k=v,k2=v2". An empty selector selects nothing of its own
// and returns nil; a malformed one is an error, never "everything" (S5).
func ParseSelector(s string) (map[string]string, error) {
	if s == "" {
		return nil, nil
	}
	out := map[string]string{}
	for part := range strings.SplitSeq(s, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || k == "" || v == "" || strings.HasSuffix(k, "!") {
			return nil, NewProblem(CodeBadRequest, "%q is not a selector such as tier=db,site=dc1", s)
		}
		out[k] = v
	}
	return out, nil
}

// FormatSelector writes what ParseSelector reads, keys in order.
func FormatSelector(sel map[string]string) string {
	parts := make([]string, 0, len(sel))
	for _, k := range sortedKeys(sel) {
		parts = append(parts, k+"="+sel[k])
	}
	return strings.Join(parts, ",")
}
