package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"relight/internal/lab"
)

// table collects what was measured.
type table struct {
	rows   []row
	splits map[string][]lab.Split
}

type row struct {
	who, what string
	took      []time.Duration
}

func (t *table) add(who, what string, d time.Duration) {
	for i := range t.rows {
		if t.rows[i].who == who && t.rows[i].what == what {
			t.rows[i].took = append(t.rows[i].took, d)
			return
		}
	}
	t.rows = append(t.rows, row{who, what, []time.Duration{d}})
}

func (t *table) split(what string, s lab.Split) {
	if t.splits == nil {
		t.splits = map[string][]lab.Split{}
	}
	t.splits[what] = append(t.splits[what], s)
}

// write keeps every single measurement, in seconds.
func (t *table) write(path string) error {
	type entry struct {
		Who  string    `json:"who"`
		What string    `json:"what"`
		Took []float64 `json:"took_s"`
	}
	var out struct {
		At string `json:"at"`
		// Load is the machine's load average at the end.
		Load string  `json:"load"`
		Rows []entry `json:"rows"`
		// Splits are Relight's own, in nanoseconds.
		Splits map[string][]lab.Split `json:"splits"`
	}
	out.Load = load()
	out.At, out.Splits = time.Now().UTC().Format(time.RFC3339), t.splits
	for _, r := range t.rows {
		e := entry{Who: r.who, What: r.what}
		for _, d := range r.took {
			e.Took = append(e.Took, d.Seconds())
		}
		out.Rows = append(out.Rows, e)
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644) //nolint:gosec // measurements are no secret
}

// load is the machine's load average over the last minutes: emulated machines on a
// busy computer boot slowly, and then the boot is all that is seen.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(data))[:3], " ")
}

// print writes medians, ranges and how they compare with Relight's.
func (t *table) print(out io.Writer) {
	fmt.Fprintf(out, "load %s\n%-28s %-22s %3s %8s   %-15s %s\n", load(), "from the kill to", "", "n", "median", "range", "ratio")
	for _, r := range t.rows {
		s := slices.Sorted(slices.Values(r.took))
		ratio := ""
		for _, o := range t.rows {
			if strings.HasPrefix(o.who, "relight") && o.what == r.what {
				ratio = fmt.Sprintf("%.1f", median(r.took).Seconds()/median(o.took).Seconds())
			}
		}
		fmt.Fprintf(out, "%-28s %-22s %3d %7.2fs   %5.2f - %5.2f s %5s\n", r.who, r.what, len(s), median(s).Seconds(), s[0].Seconds(), s[len(s)-1].Seconds(), ratio)
	}
	for what, list := range t.splits {
		part := func(of func(lab.Split) time.Duration) float64 {
			var d []time.Duration
			for _, s := range list {
				d = append(d, of(s))
			}
			return median(d).Seconds()
		}
		fmt.Fprintf(out, "relight, %s: detect %.2f s, fence %.2f s, launch %.2f s, boot to first write %.2f s, verify %.2f s\n", what,
			part(func(s lab.Split) time.Duration { return s.Detect }), part(func(s lab.Split) time.Duration { return s.Fence }),
			part(func(s lab.Split) time.Duration { return s.Launch }), part(func(s lab.Split) time.Duration { return s.Boot }),
			part(func(s lab.Split) time.Duration { return s.Verify }))
	}
}
