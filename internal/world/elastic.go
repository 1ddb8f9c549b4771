package world

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// Destination is what an elastic address leads to: an instance or an interface.
type Destination struct {
	Instance  *Instance
	Interface string
}

// Associate leads an elastic (exclusive) address to a target, as EC2 does: with
// reassociate it leaves its old one without a word. Doing it again changes
// nothing. Errors: ErrNotFound; ErrInstanceState while the machine is pending or
// gone; ErrAssociated.
func (w *World) Associate(ip string, to Destination, reassociate bool) error {
	a := w.addresses[ip]
	if a == nil || !a.Exclusive {
		return fmt.Errorf("elastic address %s: %w", ip, ErrNotFound)
	}
	holder := to.Instance
	if holder == nil {
		n := w.interfaces[to.Interface]
		if n == nil {
			return fmt.Errorf("interface %q: %w", to.Interface, ErrNotFound)
		}
		holder = w.instances[n.Holder]
	}
	switch {
	case holder != nil && (holder.State == fleet.InstancePending || holder.State.Gone()):
		return fmt.Errorf("%s is %s: %w", holder.name(), holder.PlatformState(), ErrInstanceState)
	case to.Instance == nil && a.Interface == to.Interface, to.Instance != nil && slices.Contains(a.Holders, to.Instance.ID):
		return nil
	case (a.Interface != "" || len(a.Holders) > 0) && !reassociate:
		return fmt.Errorf("address %s: %w", ip, ErrAssociated)
	}
	w.Disassociate(ip)
	if to.Instance != nil {
		return w.HoldAddress(ip, to.Instance, true)
	}
	a.Interface = to.Interface
	n := w.interfaces[to.Interface]
	n.leads = insert(n.leads, ip)
	w.note("associate", ip, a.Server, to.Interface)
	w.touch(a)
	return nil
}

// Disassociate leads an elastic address nowhere.
func (w *World) Disassociate(ip string) {
	a := w.addresses[ip]
	if a == nil {
		return
	}
	if n := w.interfaces[a.Interface]; n != nil {
		n.leads = remove(n.leads, ip)
	}
	a.Interface = ""
	for _, id := range slices.Clone(a.Holders) {
		w.ReleaseAddress(ip, w.instances[id])
	}
	w.touch(a)
}

// AddressSight is what a platform's describe call tells of an address.
type AddressSight struct {
	IP string
	// Holder is the instance that it leads to, directly or through Interface.
	Holder    string
	Interface string
}

func (w *World) presentAddress(a *Address) AddressSight {
	s := AddressSight{IP: a.IP, Interface: a.Interface}
	if holders := w.holdersOf(a); len(holders) > 0 {
		s.Holder = holders[0]
	}
	return s
}

// holdersOf returns the instances that an address leads to.
func (w *World) holdersOf(a *Address) []string {
	if a.Interface == "" {
		return a.Holders
	}
	if n := w.interfaces[a.Interface]; n.attached {
		return []string{n.Holder}
	}
	return nil
}

// SeeAddress is a describe call, as SeeInstance. Errors: ErrNotFound.
func (w *World) SeeAddress(ip string) (AddressSight, error) {
	a := w.addresses[ip]
	if a == nil {
		return AddressSight{}, fmt.Errorf("address %s: %w", ip, ErrNotFound)
	}
	return see(w, a.past, w.presentAddress(a), ip)
}
