package world

import (
	"fmt"
	"slices"
)

// Address is an IP address with those who answer to it.
type Address struct {
	IP     string
	Server string
	// Exclusive addresses move: a platform takes them from the old holder.
	// Others are configured on hosts, where nothing stops a second holder.
	Exclusive bool
	// AllowTwo is true where an old epoch that is cut off may still answer
	// (fence: storage), so that two holders are no violation.
	AllowTwo bool
	Holders  []string
	// Interface is the interface that it leads to, if not directly to a holder.
	Interface string

	dirty bool
	past  *past[AddressSight]
}

// AddAddress adds an address without a holder.
func (w *World) AddAddress(a Address) {
	w.addresses[a.IP] = &a
	w.touch(&a)
}

// Address returns the address, or nil. Callers read it only.
func (w *World) Address(ip string) *Address { return w.addresses[ip] }

// HoldAddress gives an address to an instance. Errors: ErrNotFound; ErrConflict
// if an exclusive one is held, unless take says to take it away.
func (w *World) HoldAddress(ip string, i *Instance, take bool) error {
	a := w.addresses[ip]
	if a == nil {
		return fmt.Errorf("address %s: %w", ip, ErrNotFound)
	}
	if slices.Contains(a.Holders, i.ID) {
		return nil
	}
	if i.State.Gone() {
		return fmt.Errorf("%s is %s: %w", i.name(), i.State, ErrConflict)
	}
	if a.Exclusive && len(a.Holders) > 0 {
		if !take {
			return fmt.Errorf("address %s is held by %s: %w", ip, w.instances[a.Holders[0]].name(), ErrConflict)
		}
		for _, id := range slices.Clone(a.Holders) {
			w.ReleaseAddress(ip, w.instances[id])
		}
	}
	w.tookEpoch(i)
	a.Holders = insert(a.Holders, i.ID)
	i.Addresses = insert(i.Addresses, ip)
	w.note("hold", ip, a.Server, i.name())
	w.touch(a)
	return nil
}

// ReleaseAddress takes an address from an instance; one that does not hold it is
// left alone.
func (w *World) ReleaseAddress(ip string, i *Instance) {
	a := w.addresses[ip]
	if a == nil || !slices.Contains(a.Holders, i.ID) {
		return
	}
	a.Holders = remove(a.Holders, i.ID)
	i.Addresses = remove(i.Addresses, ip)
	w.note("release", ip, a.Server, i.name())
	w.touch(a)
}
