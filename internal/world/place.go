package world

import (
	"fmt"
	"slices"
)

// search is one kind of request for a host.
type search struct {
	site  string
	units int
}

// findRoom returns the first host within a site that has room, in order of their
// names. It begins where the last search of the kind ended, or each launch of a
// large fleet would look at all hosts that are full; hosts before that which came
// back meanwhile are found when there is no room behind it. What found no room
// finds none until some is freed: the servers of a lost zone ask again and again.
func (w *World) findRoom(r Request) (*Host, error) {
	kind := search{r.Site, r.Units}
	begin := w.searched[kind]
	for n := range w.hostNames {
		if w.full[kind] {
			break
		}
		at := (begin + n) % len(w.hostNames)
		name := w.hostNames[at]
		h := w.hosts[name]
		if h.InContact() && h.Closed == "" && w.below(name, r.Site) && w.UsedUnits(name)+r.Units <= h.Units {
			w.searched[kind] = at
			return h, nil
		}
	}
	w.full[kind] = true
	return nil, fmt.Errorf("site %q: %w for %d units", r.Site, ErrCapacity, r.Units)
}

// freedRoom has the next searches look at a host again that got room. One that
// takes nothing has no room yet: see changeHost.
func (w *World) freedRoom(host string) {
	if h := w.hosts[host]; !h.InContact() || h.Closed != "" {
		return
	}
	clear(w.full)
	at, _ := slices.BinarySearch(w.hostNames, host)
	// order: each entry changes by itself.
	for kind, begin := range w.searched {
		if at < begin {
			w.searched[kind] = at
		}
	}
}
