package decide

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// identityOf lists everything that moves with the server and is given to an instance
// from outside. The addresses of a virtual machine are the guest's own.
func identityOf(s fleet.Server) []fleet.Object {
	id := s.Spec.Identity
	if s.Spec.Template.VM != nil {
		id.Addresses = nil
	}
	list := make([]fleet.Object, 0, len(id.Volumes)+len(id.Addresses)+len(id.Interfaces)+len(id.Groups)+len(id.Names))
	for _, vol := range id.Volumes {
		list = append(list, fleet.Object{Volume: vol.Name})
	}
	for _, n := range id.Interfaces {
		if n.Index > 0 { // the primary one comes with the launch
			list = append(list, fleet.Object{Interface: n.ID})
		}
	}
	for _, a := range id.Addresses {
		list = append(list, fleet.Object{Address: a.IP})
	}
	for _, g := range id.Groups {
		list = append(list, fleet.Object{Group: g.ID})
	}
	for _, n := range id.Names {
		list = append(list, fleet.Object{Name: n.Name})
	}
	return list
}

// lacks names a part of the identity that the present epoch is not known to hold, or
// is empty. A machine whose attach was given up boots all the same and may pass its
// check without its data, which is no server that is healed (S14). What was verified
// once had everything; a process is started only after everything was given to it.
func lacks(v View) string {
	if v.Status.Epoch == 0 || v.Traits.AttachFirst || !v.Status.VerifiedAt.IsZero() {
		return ""
	}
	for _, o := range identityOf(v.Server) {
		if !slices.Contains(v.Status.Given, o) && !holds(v, o, v.Status.Epoch) {
			return fmt.Sprintf("%s was not given to epoch %d", o, v.Status.Epoch)
		}
	}
	return ""
}

// holds reports that the last look shows the object in the hands of the epoch.
func holds(v View, o fleet.Object, epoch fleet.Epoch) bool {
	for _, vol := range v.Observed.Volumes {
		if o.Volume != "" && vol.Volume == o.Volume && vol.Holder == epoch && vol.Held == fleet.Yes {
			return true
		}
	}
	for _, a := range v.Observed.Addresses {
		if o.Address != "" && a.IP == o.Address && a.Holder == epoch && a.Rival == "" {
			return true
		}
	}
	for _, other := range v.Observed.Others {
		if other.Object == o && other.Holder == epoch {
			return true
		}
	}
	return false
}

// given notes that the present epoch was given an object.
func given(s fleet.Status, step fleet.Step) []fleet.Object {
	if step.Kind != fleet.StepAttach || step.Epoch != s.Epoch || slices.Contains(s.Given, step.Object) {
		return s.Given
	}
	return append(slices.Clone(s.Given), step.Object)
}
