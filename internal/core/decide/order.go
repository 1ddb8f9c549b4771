package decide

import (
	"cmp"
	"slices"

	"relight/internal/core/fleet"
)

// inOrder returns the view with its lists in one order, so that two controllers
// that saw the same things in another order decide the same: hosts by name, the
// newest instance first, evidence by what it is worth. Lists that are in order already are not copied.
func inOrder(v View) View {
	v.Hosts = sorted(v.Hosts, func(a, b fleet.Host) int { return cmp.Compare(a.Name, b.Name) })
	v.Observed.Instances = sorted(v.Observed.Instances, func(a, b fleet.Instance) int {
		return cmp.Or(cmp.Compare(b.Epoch, a.Epoch), cmp.Compare(a.Host, b.Host), cmp.Compare(a.State, b.State), a.At.Compare(b.At))
	})
	v.Observed.Volumes = sorted(v.Observed.Volumes, func(a, b fleet.VolumeState) int {
		return cmp.Or(cmp.Compare(a.Volume, b.Volume), cmp.Compare(a.Host, b.Host))
	})
	v.Status.Evidence = sorted(v.Status.Evidence, func(a, b fleet.Evidence) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(lasting(b), lasting(a)), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Volume, b.Volume),
			cmp.Compare(a.Host, b.Host), b.At.Compare(a.At), cmp.Compare(a.By, b.By))
	})
	return v
}

// lasting ranks evidence by how long it is worth something: a proof is made of the
// first that there is.
func lasting(e fleet.Evidence) int {
	switch {
	case e.Method.EndsInstance():
		return 2
	case e.Method.Final():
		return 1
	default:
		return 0
	}
}

func sorted[T any](list []T, compare func(a, b T) int) []T {
	if slices.IsSortedFunc(list, compare) {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, compare)
	return list
}
