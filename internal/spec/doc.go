// Package spec turns YAML and JSON files into fleet values and back.
//
// [Parse] reads files into [Doc] values that keep only what was written, so that
// a Policy that changes later still fills what a Server left out. [Resolve]
// checks references between documents and fills defaults; its [Set] is what the
// core works on. [Schema] is the same knowledge as JSON Schema.
//
// All of it hangs on one table of fields (the shape files): what the decoder
// accepts, the schema says and the guide explains is the same by construction.
// Nothing of a file counts if any part of it is wrong, and all that is wrong is
// said at once, with file, line, column, why and what to do.
package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// APIVersion is the version of the file format that this package reads and writes.
const APIVersion = "relight/v1alpha1"

// Kind says what a document declares.
type Kind string

// The kinds of documents.
const (
	KindServer Kind = "Server"
	KindSite   Kind = "Site"
	KindPolicy Kind = "Policy"
)

// Kinds lists all kinds, the most used first.
func Kinds() []Kind { return []Kind{KindServer, KindSite, KindPolicy} }

// DefaultPolicy is the name of the Policy that fills servers which name none and
// that holds the guards of the whole fleet.
const DefaultPolicy = "default"

// Doc is one checked document as it was written: nothing is filled in.
type Doc struct {
	Kind   Kind
	Name   string
	Labels map[string]string
	// Raw is the whole document as canonical JSON: set fields only, sorted keys,
	// durations and addresses in one notation. It is what a store should keep.
	Raw json.RawMessage

	src   *source
	marks marks
}

// File is the name of the file that the document came from, or empty.
func (d Doc) File() string {
	if d.src == nil {
		return ""
	}
	return d.src.name
}

// String names the document as people write it, such as "Server web-1".
func (d Doc) String() string { return string(d.Kind) + " " + d.Name }

// header is what every document starts with.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       Kind   `json:"kind"`
	Metadata   struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
}

// ErrNotDoc means that stored bytes are not a document of ours.
var ErrNotDoc = errors.New("not a relight document")

// Load makes a Doc from the Raw of an earlier one. It checks the header only:
// whoever stored it had it checked by Parse, and fields that a newer release
// wrote must not stop an older one from healing.
func Load(raw []byte) (Doc, error) {
	var h header
	if err := json.Unmarshal(raw, &h); err != nil {
		return Doc{}, fmt.Errorf("%w: %w", ErrNotDoc, err)
	}
	if h.APIVersion != APIVersion || !slices.Contains(Kinds(), h.Kind) || h.Metadata.Name == "" {
		return Doc{}, fmt.Errorf("%w: apiVersion %q, kind %q, name %q", ErrNotDoc, h.APIVersion, h.Kind, h.Metadata.Name)
	}
	return Doc{Kind: h.Kind, Name: h.Metadata.Name, Labels: h.Metadata.Labels, Raw: bytes.Clone(raw)}, nil
}

// spec decodes the document's spec over v, so that only set fields change.
func (d Doc) spec(v any) error {
	body := struct {
		Spec any `json:"spec"`
	}{v}
	if err := json.Unmarshal(d.Raw, &body); err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	return nil
}
