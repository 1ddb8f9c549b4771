package client

import (
	"fmt"

	"relight/internal/core/fleet"
)

// AwayLines say, for people, that a server runs in another zone with copies of its
// volumes, what was lost with that, and how to stay or to go back; none if it does not.
func AwayLines(s fleet.Status) []string {
	var out []string
	if a := s.Away; a != nil {
		out = append(out, fmt.Sprintf("it is away in %s since epoch %d, %s", a.Zone, a.Epoch, a.Loss()))
		for _, c := range a.Copies {
			id := c.ID
			if id == "" {
				id = "a volume that is still to be made"
			}
			out = append(out, fmt.Sprintf("  volume %s is %s; %s was left as it is", c.Volume, id, c.Of))
		}
		out = append(out,
			fmt.Sprintf("  to stay: write these volume ids and subnet %s into its document, then: relight apply -f FILE", a.Subnet),
			"  to go back: copy the data to volumes in the old zone, write their ids into its document, then: relight apply -f FILE && relight heal "+s.Server+" --rung relaunch")
	}
	for _, c := range s.Unused {
		out = append(out, fmt.Sprintf("volume %s was made for %s from snapshot %s and is in no use; it is not deleted: aws ec2 delete-volume --volume-id %s", c.ID, c.Volume, c.Snapshot, c.ID))
	}
	return out
}
