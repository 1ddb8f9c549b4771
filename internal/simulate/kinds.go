package simulate

import (
	"fmt"
	"strings"
)

// kind is one sort of fault. The table kinds is the language: a class, a verb,
// and what they do.
type kind struct {
	class, verb string
	// args is how the arguments are written; min and max count them.
	args     string
	min, max int
	// lasts is true if it ends after Fault.For; what returns at once is a moment.
	lasts bool
	// undrawn is true if no seed draws it.
	undrawn bool
	// apply makes it so and returns what ends it, or nil.
	apply func(e *engine, f Fault) (end func(), err error)
}

func (k kind) usage() string {
	text := "at TIME "
	if k.lasts {
		text += "[for TIME] "
	}
	return strings.TrimSpace(text + k.class + " NAME " + k.verb + " " + k.args)
}

// kinds is the whole language of faults.
func kinds() []kind {
	var all []kind
	for _, part := range [][]kind{hostKinds(), serverKinds(), arrayKinds(), controllerKinds(), clockKinds(), storeKinds(), memberKinds(), apiKinds(), personKinds(), specKinds()} {
		all = append(all, part...)
	}
	return all
}

// Language describes every sort of fault, one a line, for people.
func Language() []string {
	var out []string
	for _, k := range kinds() {
		out = append(out, k.usage())
	}
	return out
}

func kindOf(f Fault) (kind, error) {
	var near []string
	for _, k := range kinds() {
		if k.class == f.Class && k.verb == f.Verb {
			if !k.lasts && f.For > 0 {
				return kind{}, fmt.Errorf("%s %s is over at once: it takes no \"for\"", f.Class, f.Verb)
			}
			return k, nil
		}
		if k.class == f.Class {
			near = append(near, k.verb)
		}
	}
	if len(near) == 0 {
		return kind{}, fmt.Errorf("class %q is unknown: there are host, site, server, volume, array, controller, clock, store, member, api, person", f.Class)
	}
	return kind{}, fmt.Errorf("a %s does not %q: it %s", f.Class, f.Verb, strings.Join(near, ", "))
}
