package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

func (a *app) orphansCmd() *cobra.Command {
	l := whole("orphan", "", func(o client.Orphan) string { return o.On + "/" + o.Server }, (*client.Client).Orphans)
	l.empty = "relight get servers"
	l.columns = []column[client.Orphan]{
		{"ON", false, func(o client.Orphan) string { return o.On }},
		{"KIND", false, func(o client.Orphan) string { return o.Kind }},
		{"SERVER", false, func(o client.Orphan) string { return o.Server }},
		{"EPOCH", false, func(o client.Orphan) string {
			if o.Epoch == 0 {
				return ""
			}
			return fmt.Sprint(o.Epoch)
		}},
		{"WHAT", true, func(o client.Orphan) string { return o.What }},
		{"DETAIL", false, func(o client.Orphan) string {
			if o.Error != "" {
				return "unknown: " + o.Error
			}
			return o.Detail
		}},
		{"NEXT", false, func(o client.Orphan) string { return o.Next }},
	}
	return listCmd(a, "orphans", "List what hosts and arrays have of servers that are not in the fleet",
		`Orphans lists what deleted servers have left: instances, addresses and standby guests
on hosts, maps on arrays that sites declare. A server that is deleted is forgotten, not
stopped, so all of that may be in use. Nothing is removed by it, or ever by itself:
each line ends with what to type. Hosts and arrays that cannot be asked are listed as
unknown. What is left of older epochs of servers that the fleet has is no orphan: their
controller ends it (relight why SERVER).`,
		"  relight orphans\n  relight orphans -o json", l)
}
