package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

func (a *app) checkOutput(cmd *cobra.Command) error {
	formats := []string{"table", "wide", "json", "yaml", "name"}
	if !slices.Contains(formats, a.flags.output) {
		err := usage(cmd, "%q is not an output format; there are %s", a.flags.output, strings.Join(formats, ", "))
		a.flags.output = "table"
		return err
	}
	return nil
}

// column is one column of a table of T.
type column[T any] struct {
	head string
	// wide columns show with -o wide only.
	wide bool
	cell func(T) string
}

// text reports whether output is for people, in tables and sentences.
func (a *app) text() bool { return a.flags.output == "table" || a.flags.output == "wide" }

// object prints v as JSON or YAML, or calls forPeople. Name is what -o name
// prints.
func (a *app) object(v any, name string, forPeople func(io.Writer) error) error {
	switch a.flags.output {
	case "json":
		return writeJSON(a.Out, v)
	case "yaml":
		return writeYAML(a.Out, v)
	case "name":
		_, err := fmt.Fprintln(a.Out, name)
		return err
	default:
		return forPeople(a.Out)
	}
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeYAML goes through JSON, so that the two forms name every field alike.
func writeYAML(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return err
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(plain(tree)); err != nil {
		return err
	}
	return enc.Close()
}

// plain turns JSON numbers into integers where they are, since a large number
// must not turn into 1e+06.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	}
	return v
}

// table writes rows in columns. Control characters of cells are made visible:
// messages come from hosts, and must not drive a person's terminal.
func table[T any](w io.Writer, wide bool, cols []column[T], rows []T) error {
	cols = shown(cols, wide)
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	heads := make([]string, len(cols))
	for i, c := range cols {
		heads[i] = c.head
	}
	lines := [][]string{heads}
	for _, r := range rows {
		cells := make([]string, len(cols))
		for i, c := range cols {
			cells[i] = clean(c.cell(r))
			if cells[i] == "" {
				cells[i] = "-"
			}
		}
		lines = append(lines, cells)
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(tw, strings.TrimRight(strings.Join(l, "\t"), "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

func shown[T any](cols []column[T], wide bool) []column[T] {
	var out []column[T]
	for _, c := range cols {
		if wide || !c.wide {
			out = append(out, c)
		}
	}
	return out
}

func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '·'
		}
		return r
	}, s)
}

// paint colours a word for a terminal. The word itself always tells the same.
func (a *app) paint(word string) string {
	if !a.OutTerminal || a.Env("NO_COLOR") != "" {
		return word
	}
	code := ""
	switch strings.ToLower(word) {
	case "down", "hold", "fail", "refused":
		code = "31"
	case "suspect", "impaired", "isolated", "unknown", "warn":
		code = "33"
	case "healthy", "pass", "ok", "chosen":
		code = "32"
	}
	if code == "" {
		return word
	}
	return "\x1b[" + code + "m" + word + "\x1b[0m"
}

// next writes the commands to type next where they disturb no data.
func (a *app) next(commands ...string) {
	if a.text() && len(commands) > 0 {
		_, _ = fmt.Fprintln(a.Err, "next: "+strings.Join(commands, " | "))
	}
}
