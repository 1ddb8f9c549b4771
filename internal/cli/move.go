package cli

import (
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

func (a *app) moveCmd() *cobra.Command {
	var (
		to, reason string
		back, dry  bool
		snapshot   bool
		yes, wait  bool
		timeout    time.Duration
	)
	cmd := &cobra.Command{
		Use:   "move SERVER (--to HOST | --back)",
		Short: "Move a working server to another host",
		Long: `Move stops a working server where it runs, proves that it has stopped, and starts
its next epoch on the named host with the same disks, addresses and name. --back
names the host that it came from.

A server with spec.quiesce is quiesced first; if that fails the move is called off.

What cannot be is refused before anything is ended: a host that does not reach the
volumes, has no room, or breaks a rule of the spec. If the start over there fails it
goes back to where it came from. Every guard counts as it does for relight heal, and
a storm too. It uses up no try of the ladder. --dry-run only shows what would be done.

--snapshot has the arrays keep a snapshot of each of its LUNs, named
relight-SERVER-eEPOCH, after it was stopped and proved dead and before it starts over
there. If one cannot be taken, it starts again where it was.

On a terminal the name must be typed; elsewhere --yes is needed.`,
		Example:     "  relight move lic-01 --to host-2 --dry-run\n  relight move lic-01 --to host-2 --reason \"new memory\" --wait\n  relight move lic-01 --to host-2 --snapshot\n  relight move lic-01 --back",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{compares: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if dry {
				return a.planned(cmd.Context(), c, args[0], client.PlanQuery{Host: to, Back: back, Snapshot: snapshot})
			}
			where := "on " + to
			if back {
				where = "where it came from"
			}
			if err := a.confirm(cmd, yes, args[0], "stop "+args[0]+" and start it "+where); err != nil {
				return err
			}
			got, err := c.Move(cmd.Context(), args[0], client.MoveRequest{To: to, Back: back, Reason: reason, Snapshot: snapshot})
			if err != nil {
				return err
			}
			if err := a.healAnswer(args[0], got); err != nil || !wait {
				return err
			}
			return a.waitHealed(cmd.Context(), c, args[0], got.Request.At, timeout)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the host that it is to run on")
	cmd.Flags().BoolVar(&back, "back", false, "to the host that it came from")
	cmd.Flags().BoolVar(&snapshot, "snapshot", false, "have the arrays keep a snapshot of each of its LUNs first")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only show what would be done, exit code as of relight plan")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it works over there")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	cmd.MarkFlagsOneRequired("to", "back")
	cmd.MarkFlagsMutuallyExclusive("to", "back")
	yesFlag(cmd, &yes)
	return cmd
}
