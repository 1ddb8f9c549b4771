package power

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"relight/internal/core/fleet"
)

// Reading is what a look at one device found. It switched nothing.
type Reading struct {
	// Level counts from 1, in the order in which levels are tried.
	Level  int
	Device fleet.PowerDevice
	// State counts only if Err is nil.
	State State
	Err   error
	// Doubts are what the device's own description says against its declaration.
	Doubts []string
}

// Look reads the state of all devices, all at once, and holds each declaration
// against what the device's program says of itself.
func Look(ctx context.Context, p fleet.Power) []Reading { return panel{run: run}.look(ctx, p) }

func (p panel) look(ctx context.Context, power fleet.Power) []Reading {
	var out []Reading
	for i, l := range power.Order() {
		for _, d := range l.All {
			out = append(out, Reading{Level: i + 1, Device: d})
		}
	}
	var all sync.WaitGroup
	for i := range out {
		all.Go(func() { p.lookAt(ctx, &out[i]) })
	}
	all.Wait()
	return out
}

func (p panel) lookAt(ctx context.Context, r *Reading) {
	if r.Err = usable(r.Device); r.Err != nil {
		return
	}
	r.State, r.Err = p.read(ctx, r.Device)
	if errors.Is(r.Err, errHopeless) {
		return
	}
	a := p.run(ctx, r.Device, "metadata")
	m, err := parseMetadata(a.out)
	if a.err != nil || a.code != 0 || a.cut || err != nil {
		r.Doubts = []string{"it does not describe itself, so its options cannot be checked"}
		return
	}
	r.Doubts = m.doubts(r.Device)
}

// description is the metadata of a fence agent.
type description struct {
	XMLName    xml.Name    `xml:"resource-agent"`
	Parameters []parameter `xml:"parameters>parameter"`
	Actions    []action    `xml:"actions>action"`
}

type parameter struct {
	Name     string `xml:"name,attr"`
	Required string `xml:"required,attr"`
	Content  struct {
		Default *string `xml:"default,attr"`
	} `xml:"content"`
}

type action struct {
	Name string `xml:"name,attr"`
}

func parseMetadata(out []byte) (description, error) {
	var m description
	if err := xml.Unmarshal(out, &m); err != nil {
		return m, fmt.Errorf("metadata: %w: %w", ErrUnclear, err)
	}
	return m, nil
}

// doubts lists options that the program does not know: it would pass over them
// without a word, and with them over the address or the login that they were
// meant to be.
func (m description) doubts(d fleet.PowerDevice) []string {
	known, need := map[string]bool{}, map[string]bool{}
	for _, p := range m.Parameters {
		name := strings.ReplaceAll(p.Name, "-", "_")
		known[name] = true
		if p.Required == "1" && p.Content.Default == nil {
			need[name] = true
		}
	}
	var out []string
	for _, o := range slices.Sorted(maps.Keys(d.Options)) {
		if !known[strings.ReplaceAll(o, "-", "_")] {
			out = append(out, fmt.Sprintf("it does not know the option %q and would pass over it", o))
		}
	}
	if !known["plug"] && !known["port"] {
		out = append(out, fmt.Sprintf("it has no plugs and would pass over plug %q", d.Plug))
	}
	for _, n := range slices.Sorted(maps.Keys(need)) {
		if _, given := d.Options[n]; !given && n != "action" && n != "plug" && n != "port" && !m.otherwise(n, d) {
			out = append(out, fmt.Sprintf("it demands the option %q", n))
		}
	}
	for _, want := range []string{"off", "status"} {
		if !slices.Contains(m.Actions, action{want}) {
			out = append(out, fmt.Sprintf("it has no action %q, so it cannot prove anything", want))
		}
	}
	return out
}

// otherwise reports whether an older or newer name of a demanded option is given.
func (m description) otherwise(name string, d fleet.PowerDevice) bool {
	for _, pair := range [][2]string{{"ip", "ipaddr"}, {"username", "login"}, {"password", "passwd"}} {
		for i, n := range pair {
			if _, given := d.Options[pair[1-i]]; n == name && given {
				return true
			}
		}
	}
	return false
}
