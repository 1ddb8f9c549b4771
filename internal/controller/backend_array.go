package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	"relight/internal/spec"
)

// checkStorage refuses changes after which an epoch that may run would be looked for in
// the wrong place: an array that never had a map of it lists none, and would call it
// shut out; a directory that it never had is sealed with ease.
func (b *Backend) checkStorage(set spec.Set) error {
	var fields []client.Field
	for _, s := range set.Servers {
		if epoch, may := b.mayRun(s.Name); may {
			fields = append(fields, changedVolumes(b.State, s, epoch)...)
		}
	}
	for _, s := range set.Sites {
		fields = append(fields, b.changedArrays(s)...)
	}
	if len(fields) == 0 {
		return nil
	}
	return problem(client.CodeInvalidDocument, "%d problems; nothing was changed", len(fields)).WithFields(fields...)
}

// mayRun returns the server's epoch if it is not known to be dead.
func (b *Backend) mayRun(server string) (fleet.Epoch, bool) {
	st := b.State.Status(server)
	return st.Epoch, st.Epoch > 0 && decide.Fenced(st) < st.Epoch
}

// changedVolumes refuses another LUN or path for a volume, or none, beside an epoch that may
// write to the old one: it would not be shut out of that any more, a seal of a new path would
// prove nothing of it, and what it has acknowledged would not be there.
func changedVolumes(state *State, s fleet.Server, epoch fleet.Epoch) []client.Field {
	old, _ := state.Server(s.Name)
	var fields []client.Field
	refuse := func(why string) {
		fields = append(fields, client.Field{
			Where:   "spec.identity.volumes",
			Message: fmt.Sprintf("server %s: epoch %d %s; end it and state that it is dead first: relight fence confirm %s", s.Name, epoch, why, s.Name),
		})
	}
	for _, v := range old.Spec.Identity.Volumes {
		n := slices.IndexFunc(s.Spec.Identity.Volumes, func(n fleet.Volume) bool { return n.Name == v.Name })
		var now fleet.Volume
		if n >= 0 {
			now = s.Spec.Identity.Volumes[n]
		}
		switch {
		case v.LUN != nil && (now.LUN == nil || now.LUN.Array != v.LUN.Array || now.LUN.Name != v.LUN.Name):
			refuse(fmt.Sprintf("may use the LUN %s of array %s as volume %s, and would not be shut out of it any more", v.LUN.Name, v.LUN.Array, v.Name))
		case v.Path != now.Path && v.Path != "":
			refuse(fmt.Sprintf("may write to %s as volume %s, and a seal elsewhere would not keep it from that", v.Path, v.Name))
		}
	}
	return fields
}

// changedArrays compares the arrays of a site with those that it had.
func (b *Backend) changedArrays(s fleet.Site) []client.Field {
	var fields []client.Field
	for _, before := range b.State.Sites() {
		if before.Name != s.Name {
			continue
		}
		for _, old := range before.Spec.Arrays {
			users := b.usersOf(old.Name)
			if len(users) == 0 || hasArray(s, old) {
				continue
			}
			fields = append(fields, client.Field{
				Where:   "spec.arrays",
				Message: fmt.Sprintf("site %s: array %s has the LUNs of %s, whose maps would be looked for elsewhere; leave its driver and what its options point at as they are, or end these servers and state that they are dead first: relight fence confirm", s.Name, old.Name, strings.Join(users, ", ")),
			})
		}
	}
	return fields
}

// usersOf names the servers that may run and have a LUN on the array.
func (b *Backend) usersOf(array string) []string {
	var out []string
	for _, s := range b.State.Servers() {
		for _, v := range s.Spec.Identity.Volumes {
			if v.LUN == nil || v.LUN.Array != array {
				continue
			}
			if _, may := b.mayRun(s.Name); may {
				out = append(out, s.Name)
			}
			break
		}
	}
	return out
}

// hasArray reports whether the site still has the very array. Its portal and how a
// controller proves who it is may change.
func hasArray(s fleet.Site, old fleet.Array) bool {
	for _, a := range s.Spec.Arrays {
		if a.Name == old.Name {
			return a.Driver == old.Driver && maps.Equal(pointers(a), pointers(old))
		}
	}
	return false
}

// pointers are the options that say which array it is and what our maps are called.
func pointers(a fleet.Array) map[string]string {
	out := maps.Clone(a.Options)
	for _, name := range []string{"user", "password_script", "ca"} {
		delete(out, name)
	}
	return out
}
