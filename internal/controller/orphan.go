package controller

import (
	"context"
	"fmt"
	"strings"

	"relight/internal/api/client"
	"relight/internal/provider"
)

// Orphans implements api.Backend. It only looks: what the fleet has forgotten may still
// be somebody's.
func (b *Backend) Orphans(ctx context.Context) (client.List[client.Orphan], error) {
	list := client.List[client.Orphan]{Items: []client.Orphan{}}
	if b.Left == nil {
		return list, nil
	}
	for _, o := range b.Left(ctx) {
		row := client.Orphan{Kind: string(o.Kind), Server: o.Server, Epoch: o.Epoch, On: o.On, What: o.What, Detail: o.Detail, Next: o.Next, At: o.At}
		if o.Err != nil {
			row.Error = o.Err.Error()
		}
		list.Items = append(list.Items, row)
	}
	return list, nil
}

// orphans asks the arrays and the hosts.
func (c *Controller) orphans(ctx context.Context) []provider.Orphan {
	return append(c.arrays.Orphans(ctx), c.hub.Orphans()...)
}

// checkOrphans says what is left of servers that the fleet does not have. Hosts and
// arrays that cannot be asked have checks of their own.
func checkOrphans(found []provider.Orphan) client.DoctorCheck {
	check := client.DoctorCheck{Name: "orphans", State: client.DoctorOK, Detail: "hosts and arrays have nothing of servers that the fleet does not have"}
	var left []string
	for _, o := range found {
		if o.Err == nil {
			left = append(left, fmt.Sprintf("%s of %s on %s", o.Kind, o.Server, o.On))
		}
	}
	if len(left) > 0 {
		const shown = 5
		check.State, check.Next = client.DoctorWarn, "relight orphans"
		check.Detail = "left over, and nothing of ours removes it: " + strings.Join(left[:min(len(left), shown)], ", ")
		if more := len(left) - shown; more > 0 {
			check.Detail += fmt.Sprintf(" and %d more", more)
		}
	}
	return check
}
