// Package bench measures what Relight itself costs: beats, decisions, the overhead
// of a recovery, memory and the deadline scan. Everything runs in this process and
// on loopback, and is bounded in time.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"relight/internal/beat/beatbench"
	"relight/internal/bench/massheal"
)

// Row is one result.
type Row = beatbench.Row

// Options choose what is measured.
type Options struct {
	// Only names the parts to run; empty runs all of [Parts] but the million, which takes
	// a quarter of an hour.
	Only []string
	// Dir is where the store of the recovery part is made, and removed; it should
	// lie on a real disk. Empty takes the system's directory for temporary files.
	Dir string
	// EC2 measures sweeps of an account. It is handed in, because it needs the SDK,
	// which takes a minute to compile; without it there is no such part.
	EC2 func(context.Context) ([]Row, error)
	// Progress gets a line as each part begins.
	Progress io.Writer
}

type part struct {
	name string
	run  func(context.Context, Options) ([]Row, error)
	// named is true if it runs only when it is named.
	named bool
}

func parts() []part {
	return []part{
		{name: "decide", run: decideRows},
		{name: "scan", run: scanRows},
		{name: "memory", run: memoryRows},
		{name: "scale", run: scaleRows},
		{name: "recovery", run: recoveryRows},
		{name: "massheal", run: func(ctx context.Context, _ Options) ([]Row, error) { return massheal.Rows(ctx) }},
		{name: "beats", run: func(ctx context.Context, _ Options) ([]Row, error) { return beatbench.Run(ctx, io.Discard) }},
		{name: "ec2", run: ec2Rows},
		{name: "million", run: millionRows, named: true},
	}
}

func ec2Rows(ctx context.Context, opt Options) ([]Row, error) {
	if opt.EC2 == nil {
		return nil, nil
	}
	return opt.EC2(ctx)
}

// Parts returns the names of all parts, in the order in which they run.
func Parts() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// Run measures the chosen parts, one after the other. Without the million they take
// some minutes of processor time.
// The program that calls it must call [beatbench.Child] first thing in main.
func Run(ctx context.Context, opt Options) ([]Row, error) {
	for _, name := range opt.Only {
		if !slices.Contains(Parts(), name) {
			return nil, fmt.Errorf("bench: no part is called %q; there are %s", name, strings.Join(Parts(), ", "))
		}
	}
	var rows []Row
	for _, p := range parts() {
		if !slices.Contains(opt.Only, p.name) && (len(opt.Only) > 0 || p.named) {
			continue
		}
		fmt.Fprintf(opt.Progress, "measuring %s\n", p.name)
		more, err := p.run(ctx, opt)
		if err != nil {
			return rows, fmt.Errorf("bench %s: %w", p.name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// Print writes the rows as one aligned table.
func Print(w io.Writer, rows []Row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tVALUE\tUNIT\tGOAL\tPEER\tPEER VALUE\tRATIO")
	for _, r := range rows {
		peer, ratio := "", ""
		if r.Peer != "" {
			peer, ratio = figure(r.PeerValue), "x"+figure(r.Ratio)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, figure(r.Value), r.Unit, r.Goal, r.Peer, peer, ratio)
	}
	return tw.Flush()
}

// figure prints four significant digits, whole numbers in full.
func figure(v float64) string {
	if math.Abs(v) >= 1000 || v == math.Trunc(v) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}

// Save writes the rows to path. With merge, rows of other names that the file
// holds already stay: a part that was measured alone must not drop the others.
func Save(path string, rows []Row, merge bool) error {
	if merge {
		old, err := load(path)
		if err != nil {
			return err
		}
		rows = join(old, rows)
	}
	raw, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // results are for everyone
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644) //nolint:gosec // results are for everyone
}

// Beside returns the rows that the module bench/peers left next to the results in
// path; none if it was not run.
func Beside(path string) ([]Row, error) {
	return load(filepath.Join(filepath.Dir(path), "detector.json"))
}

func load(path string) ([]Row, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var rows []Row
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return rows, nil
}

// join puts news over the old rows of the same names and adds the rest.
func join(old, news []Row) []Row {
	out := slices.Clone(old)
	for _, r := range news {
		if i := slices.IndexFunc(out, func(o Row) bool { return o.Name == r.Name }); i >= 0 {
			out[i] = r
			continue
		}
		out = append(out, r)
	}
	return out
}

// against adds what the row is compared with.
func against(r Row, peer string, value float64) Row {
	r.Peer, r.PeerValue = peer, value
	if value != 0 {
		r.Ratio = r.Value / value
	}
	return r
}

// quantile returns the smallest of the values that at least the share q of them
// does not exceed; 0 for none.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
