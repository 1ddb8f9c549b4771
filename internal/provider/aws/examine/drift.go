package examine

import (
	"fmt"
	"strings"

	"relight/internal/core/fleet"
)

// Drift is how a running instance differs from its server's document.
type Drift struct {
	Instance string
	// Fields are the differences: what is declared, and what runs.
	Fields []string
	// Blind is why the instance could not be read whole; then nothing is said of it.
	Blind string
}

// mostDrift is how many fields of one server are told.
const mostDrift = 5

// drift says of a server what its instance is by now and its document is not.
func (f Facts) drift(s fleet.Server) []Finding {
	d := f.Drift[s.Name]
	if d.Blind != "" || len(d.Fields) == 0 {
		return nil
	}
	fields := d.Fields
	if more := len(fields) - mostDrift; more > 0 {
		fields = append(fields[:mostDrift:mostDrift], fmt.Sprintf("and %d more", more))
	}
	return []Finding{{
		"server " + s.Name, Warn, fmt.Sprintf("%s has drifted from what is declared: %s", d.Instance, strings.Join(fields, "; ")),
		"a relaunch brings back what is declared, and not what somebody has changed on the instance since",
		fmt.Sprintf("relight import aws %s --diff %s; to take it over: relight import aws %s --name %s --out %s.yaml", d.Instance, s.Name, d.Instance, s.Name, s.Name),
	}}
}

// unread lists the servers whose instance was not held against their document.
func (f Facts) unread() []Finding {
	var blind []string
	for _, name := range sorted(f.Drift) {
		if why := f.Drift[name].Blind; why != "" {
			blind = append(blind, name+" ("+why+")")
		}
	}
	var out []Finding
	const why = "what has been changed on an instance by hand is lost with a relaunch"
	if len(blind) > 0 {
		out = append(out, Finding{"drift", Warn, "not looked at, since not all of the instance could be read: " + some(blind), why, "grant what relight import aws reads; the list is in docs/guide/aws.md"})
	}
	if len(f.Undrifted) > 0 {
		out = append(out, Finding{"drift", Warn, fmt.Sprintf("%d more servers are not held against their instances: %s", len(f.Undrifted), some(f.Undrifted)), why, "relight import aws --diff " + f.Undrifted[0] + "; or examine them by file: relight doctor aws -f FILE"})
	}
	return out
}
