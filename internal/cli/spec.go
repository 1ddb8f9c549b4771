package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"relight/internal/api/client"
	"relight/internal/spec"
)

// parse reads files of documents. What is wrong in them is told at once, each
// with its place, why and what to do.
func (a *app) parse(files []SourceFile) ([]client.Document, error) {
	if a.Documents != nil {
		return a.Documents(files)
	}
	in := make([]spec.File, 0, len(files))
	for _, f := range files {
		in = append(in, spec.File{Name: f.Name, Data: f.Data})
	}
	docs, err := spec.Parse(in...)
	if err != nil {
		return nil, a.invalid(err)
	}
	out := make([]client.Document, 0, len(docs))
	for _, d := range docs {
		doc, err := client.ParseDocument(d.Raw)
		if err != nil {
			return nil, err
		}
		out = append(out, doc)
	}
	return out, nil
}

// invalid writes the problems of files for people, or keeps them as fields for
// programs.
func (a *app) invalid(err error) error {
	var ps spec.Problems
	if !errors.As(err, &ps) {
		return client.NewProblem(client.CodeInvalidDocument, "%v", err)
	}
	var fields []client.Field
	for _, p := range ps {
		if a.flags.output != "json" {
			fmt.Fprintln(a.Err, strings.TrimRight(p.Detail(), "\n"))
			continue
		}
		where := p.File
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
		}
		fields = append(fields, client.Field{Where: where, Message: p.Message})
	}
	return client.NewProblem(client.CodeInvalidDocument, "%d mistake(s) in the files; nothing was applied", len(ps)).WithFields(fields...)
}

func (a *app) schema() (json.RawMessage, error) {
	if a.Schema != nil {
		return a.Schema()
	}
	return spec.Schema(), nil
}
