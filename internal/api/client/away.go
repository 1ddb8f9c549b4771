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
		line := fmt.Sprintf("it is away in %s since epoch %d", a.Place(), a.Epoch)
		if loss := a.Loss(); loss != "" {
			line += ", " + loss
		}
		out = append(out, line)
		for _, c := range a.Copies {
			id := c.ID
			if id == "" {
				id = "a volume that is still to be made"
			}
			out = append(out, fmt.Sprintf("  volume %s is %s; %s was left as it is", c.Volume, id, c.Of))
		}
		for _, n := range a.Interfaces {
			out = append(out, fmt.Sprintf("  %s; %s was left as it is", n, n.Of))
		}
		out = append(out, fmt.Sprintf("  to stay: write these ids and subnet %s into its document, then: relight apply -f FILE", a.Subnet))
		if len(a.Copies) > 0 {
			out = append(out, "  to go back: copy the data to volumes in the old zone, write their ids into its document, then: relight apply -f FILE && relight heal "+s.Server+" --rung relaunch")
		}
	}
	for _, n := range s.UnusedInterfaces {
		out = append(out, fmt.Sprintf("interface %s was made for %s and is in no use; it is not deleted: aws ec2 delete-network-interface --network-interface-id %s", n.ID, n.Declared, n.ID))
	}
	for _, c := range s.Unused {
		out = append(out, fmt.Sprintf("volume %s was made for %s from snapshot %s and is in no use; it is not deleted: aws ec2 delete-volume --volume-id %s", c.ID, c.Volume, c.Snapshot, c.ID))
	}
	return out
}
