package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// jsonReader reads a stream of JSON documents into the same nodes as YAML, for
// YAML's own idea of JSON lacks surrogate pairs and exact places.
type jsonReader struct {
	*reader
	dec *json.Decoder
	// at, line and col follow the text; tokens only ever move forward.
	at        int
	line, col int
	// parts counts the document's values.
	parts int
}

var (
	errTooDeep  = errors.New("too deep")
	errTooLarge = errors.New("too large")
)

// json yields the root nodes of all documents up to the first fault.
func (r *reader) json() iter.Seq[*yaml.Node] {
	return func(yield func(*yaml.Node) bool) {
		j := &jsonReader{reader: r, dec: json.NewDecoder(strings.NewReader(r.src.text)), line: 1, col: 1}
		j.dec.UseNumber()
		for {
			begin := j.at
			j.parts = 0
			n, err := j.value(0)
			if errors.Is(err, io.EOF) && n == nil {
				return
			}
			if err == nil && int(j.dec.InputOffset())-begin > maxDocument {
				err = errTooLarge
			}
			if err != nil {
				j.syntax(err)
				return
			}
			if !yield(n) {
				return
			}
		}
	}
}

func (j *jsonReader) syntax(err error) {
	if errors.Is(err, errTooLarge) {
		j.fault(mark{j.line, j.col, 1}, fmt.Sprintf("the document has more than %d bytes or %d parts", maxDocument, maxParts), largeWhy, "write one document per server")
		return
	}
	if errors.Is(err, errTooDeep) {
		j.fault(mark{j.line, j.col, 1}, fmt.Sprintf("nested deeper than %d levels", maxDepth), "no field of ours is so deep; such files exist only to exhaust memory", "remove the extra levels")
		return
	}
	var bad *json.SyntaxError
	if errors.As(err, &bad) {
		j.forward(max(j.at, min(int(bad.Offset), len(j.src.text))-1))
	} else if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		j.forward(len(j.src.text))
		err = errors.New("the text ends within a document")
	}
	j.fault(mark{j.line, j.col, 1}, "not valid JSON: "+err.Error(), "", "check the quotes, commas and brackets before this place")
}

// forward moves the place to byte offset to.
func (j *jsonReader) forward(to int) {
	for j.at < to {
		r, size := utf8.DecodeRuneInString(j.src.text[j.at:])
		j.at += size
		if j.col++; r == '\n' {
			j.line, j.col = j.line+1, 1
		}
	}
}

// start moves the place to the next token's first byte.
func (j *jsonReader) start() {
	t := j.src.text
	to := int(j.dec.InputOffset())
	for to < len(t) && strings.IndexByte(" \t\r\n,:", t[to]) >= 0 {
		to++
	}
	j.forward(to)
}

// value reads one value; at the end of the text it returns nil and io.EOF.
func (j *jsonReader) value(depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	j.start()
	if j.parts++; j.parts > maxParts {
		return nil, errTooLarge
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: j.line, Column: j.col}
	tok, err := j.dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := tok.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if v == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for j.dec.More() {
			c, err := j.value(depth + 1)
			if err != nil {
				return n, err
			}
			n.Content = append(n.Content, c)
		}
		_, err := j.dec.Token()
		return n, err
	case string:
		n.Tag, n.Value, n.Style = "!!str", v, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!int", v.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(v)
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, nil
}
