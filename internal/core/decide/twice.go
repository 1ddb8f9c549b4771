package decide

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// twice says that the present epoch is carried by more than one instance of which one at
// least may run, or is empty. A person has copied a machine with its tags. Nothing tells
// which is the copy, so that none is ended for it; a recovery that is due for another reason
// ends all of them.
func twice(v View) string {
	carries := func(i fleet.Instance) bool {
		return i.Epoch == v.Status.Epoch && i.Epoch != 0 && i.State.TakesRoom(i.Alive)
	}
	count, lives := 0, false
	for _, i := range v.Observed.Instances {
		if carries(i) {
			count, lives = count+1, lives || i.State.Ending() == 0
		}
	}
	if count == 1 && lives {
		return onlyCopy(v)
	}
	if count < 2 || !lives {
		return "" // as at nearly every look: it is worded only where it is so
	}
	var seen []string
	for _, i := range v.Observed.Instances {
		if !carries(i) {
			continue
		}
		what := fmt.Sprintf("one is %s on %s", i.State, orUnknown(i.Host))
		if i.Detail != "" {
			what += " (" + i.Detail + ")"
		}
		seen = append(seen, what)
	}
	slices.Sort(seen) // whatever order they were seen in, it is told the same
	return fmt.Sprintf("epoch %d is carried by %d instances, and nobody knows which is the server: %s; next: end the copy by hand, or take its relight tags away; to end all of them and start the next epoch: relight heal %s --rung %s",
		v.Status.Epoch, len(seen), join(seen), v.Server.Name, fleet.Relaunch)
}

// onlyCopy says that one instance of the present epoch has ended, and that what lives of it
// has not got the server's own: the end was the server's, and the copy is left. Nothing is
// done for it. That the copy lives keeps the epoch from being proved dead, and passes for
// life where nothing tells the two apart.
func onlyCopy(v View) string {
	ended := slices.IndexFunc(v.Observed.Instances, func(i fleet.Instance) bool { return i.Epoch == v.Status.Epoch && v.Observed.Outlived(i) })
	if ended < 0 {
		return ""
	}
	var free []string
	for _, vol := range v.Observed.Volumes {
		if vol.Holder != v.Status.Epoch && vol.Held == fleet.No {
			free = append(free, "volume "+vol.Volume)
		}
	}
	for _, a := range v.Observed.Addresses {
		if a.Holder == 0 {
			free = append(free, "address "+a.IP)
		}
	}
	if len(free) == 0 {
		return ""
	}
	slices.Sort(free)
	i := v.Observed.Instances[ended]
	what := fmt.Sprintf("%s on %s", i.State, orUnknown(i.Host))
	if i.Detail != "" {
		what += " (" + i.Detail + ")"
	}
	return fmt.Sprintf("an instance of epoch %d is %s, and another that carries it lives and has not %s: it looks as if the server has ended and a copy of it is left; next, to end what is left and start the next epoch: relight heal %s --rung %s",
		v.Status.Epoch, what, join(slices.Compact(free)), v.Server.Name, fleet.Relaunch)
}
