package world

import "fmt"

// poolKey names a platform's stock of machines of one type in one site.
type poolKey struct{ site, kind string }

type pool struct {
	free  int
	async bool
}

// SetCapacity says how many more machines of a type a site has room for, from
// now on; types without a pool are bound by hosts alone. With async the platform
// accepts a launch for which it has no room, and ends it from pending, as EC2 may.
func (w *World) SetCapacity(site, kind string, free int, async bool) {
	p := w.pools[poolKey{site, kind}]
	if p == nil {
		p = &pool{}
		w.pools[poolKey{site, kind}] = p
	}
	p.free, p.async = free, async
	w.note("capacity", site, "", kind)
}

// Capacity is how many machines of a type fit in a site now; false if it has no pool.
func (w *World) Capacity(site, kind string) (int, bool) {
	p := w.pools[poolKey{site, kind}]
	if p == nil {
		return 0, false
	}
	return p.free, true
}

// takePool takes the machine's place in the nearest pool of its type.
// Errors: ErrInsufficient if it is empty.
func (w *World) takePool(i *Instance) error {
	if i.Type == "" || i.pool != nil || len(w.pools) == 0 {
		return nil
	}
	for _, site := range w.Path(i.Host) {
		p := w.pools[poolKey{site, i.Type}]
		switch {
		case p == nil:
			continue
		case p.free > 0:
			p.free--
			i.pool = p
		case p.async:
			i.doomed = true
		default:
			return fmt.Errorf("%s in %s: %w", i.Type, site, ErrInsufficient)
		}
		return nil
	}
	return nil
}

func (i *Instance) freePool() {
	if i.pool != nil {
		i.pool.free++
		i.pool = nil
	}
}
