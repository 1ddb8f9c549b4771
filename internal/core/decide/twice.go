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
	var seen []string
	lives := false
	for _, i := range v.Observed.Instances {
		if i.Epoch != v.Status.Epoch || i.Epoch == 0 || !i.State.TakesRoom(i.Alive) {
			continue
		}
		lives = lives || !i.Ended()
		what := fmt.Sprintf("one is %s on %s", i.State, orUnknown(i.Host))
		if i.Detail != "" {
			what += " (" + i.Detail + ")"
		}
		seen = append(seen, what)
	}
	if len(seen) < 2 || !lives {
		return ""
	}
	slices.Sort(seen) // whatever order they were seen in, it is told the same
	return fmt.Sprintf("epoch %d is carried by %d instances, and nobody knows which is the server: %s; next: end the copy by hand, or take its relight tags away; to end all of them and start the next epoch: relight heal %s --rung %s",
		v.Status.Epoch, len(seen), join(seen), v.Server.Name, fleet.Relaunch)
}
