package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"relight/internal/lab"
)

// table collects what was measured.
type table struct {
	rows   []row
	limits map[string]time.Duration
	splits map[string][]lab.Split
}

type row struct {
	who, what string
	took      []time.Duration
}

func (t *table) add(who, what string, d time.Duration) {
	if r := t.find(who, what); r != nil {
		r.took = append(r.took, d)
		return
	}
	t.rows = append(t.rows, row{who, what, []time.Duration{d}})
}

// limit says after how long a silence a product counts a host as lost.
func (t *table) limit(who string, limit time.Duration) {
	if t.limits == nil {
		t.limits = map[string]time.Duration{}
	}
	t.limits[who] = limit
}

// overhead is what a product adds to the time until it counts a host as lost, by its own
// settings, and to the procedure by hand: its deciding, its book-keeping, its waiting.
// Only a host's loss is told by a silence. False if a part was not measured.
func (t *table) overhead(who string) (time.Duration, bool) {
	start, floor := t.find(who, hostKilled+": start"), t.find(byHand, hostKilled+": start")
	limit, known := t.limits[who]
	if start == nil || floor == nil || !known {
		return 0, false
	}
	return median(start.took) - limit - median(floor.took), true
}

func (t *table) find(who, what string) *row {
	for i := range t.rows {
		if t.rows[i].who == who && t.rows[i].what == what {
			return &t.rows[i]
		}
	}
	return nil
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

// ours is what the others are held against: Relight with a limit as long as the token
// of the tuned Pacemaker, and the silence that a tuned keepalived bears.
func (t *table) ours(what string) *row { return t.find(relightLike, what) }

// relightLike has the limit of pacemaker, token 1 s.
const relightLike = "relight, limit 1s"

// printOverheads says what each adds to its limit and to the procedure by hand.
func (t *table) printOverheads(out io.Writer) {
	for _, who := range slices.Sorted(maps.Keys(t.limits)) {
		if moved := t.find(who, addressMoved); moved != nil {
			fmt.Fprintf(out, "%s: lost by its settings after %.2f s, the rest until another host has the address %.2f s\n", who, t.limits[who].Seconds(), (median(moved.took) - t.limits[who]).Seconds())
		}
	}
	base, known := t.overhead(relightLike)
	for _, who := range slices.Sorted(maps.Keys(t.limits)) {
		over, measured := t.overhead(who)
		if !measured {
			continue
		}
		fmt.Fprintf(out, "%s: lost by its settings after %.2f s, by hand %.2f s, the rest of its start %.2f s", who, t.limits[who].Seconds(), median(t.find(byHand, hostKilled+": start").took).Seconds(), over.Seconds())
		if known && who != relightLike {
			fmt.Fprintf(out, "; that of %s is %.2f of it", relightLike, base.Seconds()/over.Seconds())
		}
		fmt.Fprintln(out)
	}
}

// print writes medians, ranges and how they compare with Relight's.
func (t *table) print(out io.Writer) {
	fmt.Fprintf(out, "load %s\n%-28s %-22s %3s %8s   %-15s %s\n", load(), "from the kill to", "", "n", "median", "range", "ratio")
	for _, r := range t.rows {
		s := slices.Sorted(slices.Values(r.took))
		ratio := ""
		if o := t.ours(r.what); o != nil {
			ratio = fmt.Sprintf("%.1f", median(r.took).Seconds()/median(o.took).Seconds())
		}
		fmt.Fprintf(out, "%-28s %-22s %3d %7.2fs   %5.2f - %5.2f s %5s\n", r.who, r.what, len(s), median(s).Seconds(), s[0].Seconds(), s[len(s)-1].Seconds(), ratio)
	}
	t.printOverheads(out)
	for _, what := range slices.Sorted(maps.Keys(t.splits)) {
		list := t.splits[what]
		part := func(of func(lab.Split) time.Duration) float64 {
			var d []time.Duration
			for _, s := range list {
				d = append(d, of(s))
			}
			return median(d).Seconds()
		}
		fmt.Fprintf(out, "%s: detect %.2f s, fence %.2f s, launch %.2f s, boot to first write %.2f s, verify %.2f s\n", what,
			part(func(s lab.Split) time.Duration { return s.Detect }), part(func(s lab.Split) time.Duration { return s.Fence }),
			part(func(s lab.Split) time.Duration { return s.Launch }), part(func(s lab.Split) time.Duration { return s.Boot }),
			part(func(s lab.Split) time.Duration { return s.Verify }))
	}
}
