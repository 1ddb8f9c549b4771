package world

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// Interface is a network interface that can move between machines, with its
// hardware address and private addresses.
type Interface struct {
	ID     string
	Server string
	// Place is the zone that it is bound to; empty means everywhere.
	Place string
	MAC   string
	IPs   []string
	// Holder is the id of the machine that it is attached to, or "".
	Holder string
	// Busy makes a detach hang until it is forced or the guest ends.
	Busy bool

	attached bool
	leaving  leaving
	// leads are the elastic addresses that lead to it.
	leads []string
	past  *past[InterfaceSight]
}

// InterfaceSight is what a platform's describe call tells of an interface.
type InterfaceSight struct {
	ID string
	// State is available or in-use; Attachment is attaching, attached, detaching
	// or busy, empty without a holder.
	State      string
	Holder     string
	Attachment string
}

// places are the network identities that an instance has, made when it gets its
// first: most of a large fleet has none.
type places struct {
	interfaces, groups []string
	initiators         []*Initiator
}

// Interfaces are those that the instance holds, in order.
func (i *Instance) Interfaces() []string {
	if i.places == nil {
		return nil
	}
	return slices.Clone(i.places.interfaces)
}

func (i *Instance) net() *places {
	if i.places == nil {
		i.places = &places{}
	}
	return i.places
}

// AddInterface adds an interface, free.
func (w *World) AddInterface(n Interface) {
	w.interfaces[n.ID] = &n
	for _, ip := range n.IPs {
		w.byIP[ip] = &n
	}
	w.recordInterface(&n)
}

// Interface returns the interface, or nil. Callers read it only.
func (w *World) Interface(id string) *Interface { return w.interfaces[id] }

// AttachInterface attaches an interface. Errors: ErrNotFound, ErrInterfaceInUse,
// ErrZoneMismatch, ErrInstanceState (neither running nor stopped).
func (w *World) AttachInterface(id string, i *Instance) error {
	if i.State != fleet.InstanceRunning && i.State != fleet.InstanceStopped {
		return fmt.Errorf("%s is %s: %w", i.name(), i.PlatformState(), ErrInstanceState)
	}
	if err := w.freeInterface(id, i.Host); err != nil {
		return err
	}
	w.attachInterface(id, i)
	return nil
}

// freeInterface checks that an interface can be attached on a host.
func (w *World) freeInterface(id, host string) error {
	n := w.interfaces[id]
	switch {
	case n == nil:
		return fmt.Errorf("interface %s: %w", id, ErrNotFound)
	case n.Holder != "":
		return fmt.Errorf("interface %s is held by %s: %w", id, w.instances[n.Holder].name(), ErrInterfaceInUse)
	case !w.below(host, n.Place):
		return fmt.Errorf("interface %s is in %s, host %s is not: %w", id, n.Place, host, ErrZoneMismatch)
	}
	return nil
}

func (w *World) attachInterface(id string, i *Instance) {
	n := w.interfaces[id]
	n.Holder = i.ID
	i.net().interfaces = insert(i.net().interfaces, id)
	w.note("attach interface", id, n.Server, i.name())
	w.recordInterface(n)
	w.afterSpan(w.cfg.Delays.Attach, func() {
		if n.Holder == i.ID {
			n.attached = true
			w.recordInterface(n)
		}
	})
}

// DetachInterface detaches an interface; a busy one hangs until its guest ends or
// force takes it. Errors: ErrNotFound, ErrNotAttached.
func (w *World) DetachInterface(id string, i *Instance, force bool) error {
	n := w.interfaces[id]
	switch {
	case n == nil:
		return fmt.Errorf("interface %s: %w", id, ErrNotFound)
	case n.Holder != i.ID:
		return fmt.Errorf("interface %s, %s: %w", id, i.name(), ErrNotAttached)
	case n.leaving != leavingNot && !force:
		return nil
	}
	n.leaving = leavingSoon
	w.recordInterface(n)
	w.afterSpan(w.cfg.Delays.Detach, func() {
		switch {
		case n.Holder != i.ID || n.leaving == leavingNot:
		case n.Busy && i.Executes && !force:
			n.leaving = leavingBusy
			w.recordInterface(n)
		default:
			w.closeInterface(n, i)
		}
	})
	return nil
}

func (w *World) closeInterface(n *Interface, i *Instance) {
	n.Holder, n.attached, n.leaving = "", false, leavingNot
	i.places.interfaces = remove(i.places.interfaces, n.ID)
	w.note("detach interface", n.ID, n.Server, i.name())
	w.recordInterface(n)
}

// dropInterfaces detaches the interfaces of a machine: all of one that is gone,
// those that hung busy of one that only stopped to execute.
func (w *World) dropInterfaces(i *Instance, all bool) {
	if i.places == nil {
		return
	}
	for _, id := range slices.Clone(i.places.interfaces) {
		if n := w.interfaces[id]; all || n.leaving == leavingBusy {
			w.closeInterface(n, i)
		}
	}
}

// SeeInterface is a describe call, as SeeInstance. Errors: ErrNotFound.
func (w *World) SeeInterface(id string) (InterfaceSight, error) {
	n := w.interfaces[id]
	if n == nil {
		return InterfaceSight{}, fmt.Errorf("interface %s: %w", id, ErrNotFound)
	}
	return see(w, n.past, n.present(), id)
}

func (n *Interface) present() InterfaceSight {
	s := InterfaceSight{ID: n.ID, State: "in-use", Holder: n.Holder}
	switch {
	case n.Holder == "":
		s.State = "available"
	case n.leaving == leavingBusy:
		s.Attachment = "busy"
	case n.leaving == leavingSoon:
		s.Attachment = "detaching"
	case n.attached:
		s.Attachment = "attached"
	default:
		s.Attachment = "attaching"
	}
	return s
}

// recordInterface records how an interface is, and where that leads the elastic addresses
// which lead to it: late readers would else see them with its old holder for ever.
func (w *World) recordInterface(n *Interface) {
	keep(w, &n.past, n.present())
	for _, ip := range n.leads {
		w.addresses[ip].record(w)
	}
}
