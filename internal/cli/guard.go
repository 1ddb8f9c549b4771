package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

func (a *app) maintainCmd() *cobra.Command {
	return group("maintain", "Open, list and end maintenance windows",
		`In a maintenance window nothing is done to the servers of its scope: the fleet, a
site or a server. Every window ends by itself.`,
		"  relight maintain start site rack-1 --for 1h --reason \"kernel updates\"\n  relight maintain list\n  relight maintain end m-12",
		a.maintainStartCmd(), a.maintainListCmd(), a.maintainEndCmd())
}

func (a *app) maintainStartCmd() *cobra.Command {
	var (
		span         time.Duration
		from, reason string
	)
	cmd := &cobra.Command{
		Use:     "start fleet | start site NAME | start server NAME",
		Short:   "Open a window, now or later",
		Long:    "Start opens a maintenance window. It needs a length and a reason.",
		Example: "  relight maintain start server lic-01 --for 30m --reason \"disk swap\"\n  relight maintain start fleet --for 2h --from 2026-11-22T01:00:00Z --reason \"network\"",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := client.MaintenanceRequest{Reason: reason, For: fleet.Duration(span)}
			switch {
			case args[0] == "fleet" && len(args) == 1:
				req.Scope = "fleet"
			case (args[0] == "site" || args[0] == "server") && len(args) == 2:
				req.Scope = args[0] + " " + args[1]
			default:
				return usage(cmd, "the scope is fleet, site NAME or server NAME")
			}
			if span <= 0 || reason == "" {
				return usage(cmd, "--for and --reason are needed: a window ends by itself and says why it is")
			}
			if from != "" {
				at, err := time.Parse(time.RFC3339, from)
				if err != nil {
					return usage(cmd, "--from %q is not a moment such as 2026-11-22T01:00:00Z", from)
				}
				req.From = at
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			m, err := c.StartMaintenance(cmd.Context(), req)
			if err != nil {
				return err
			}
			defer a.next("relight maintain end " + m.ID)
			return a.object(m, "maintenance/"+m.ID, func(out io.Writer) error {
				if m.Warning != "" {
					fmt.Fprintln(out, "warning: "+m.Warning)
				}
				_, err := fmt.Fprintf(out, "%s: %s until %s\n", m.ID, m.Scope, client.Clock(m.Until, a.Now()))
				return err
			})
		},
	}
	cmd.Flags().DurationVar(&span, "for", 0, "how long, such as 1h30m")
	cmd.Flags().StringVar(&from, "from", "", "when it opens (RFC 3339); now by default")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who wonder")
	return cmd
}

func (a *app) maintainListCmd() *cobra.Command {
	return listCmd(a, "list", "List windows that have not ended", "List shows open and coming maintenance windows.",
		"  relight maintain list", a.maintenanceListing())
}

func (a *app) maintainEndCmd() *cobra.Command {
	return &cobra.Command{
		Use: "end ID", Short: "End a window early",
		Long:    "End closes a maintenance window before its time. What it held goes on.",
		Example: "  relight maintain end m-12",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(func(c *client.Client) error { return c.EndMaintenance(cmd.Context(), args[0]) },
				args[0]+" ended", "relight get servers")
		},
	}
}

func (a *app) freezeCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "freeze", Short: "Stop every destructive step of the fleet",
		Long: `Freeze stops everything that could harm a server, at once and for the whole
fleet, until somebody unfreezes it. Watching goes on.`,
		Example: "  relight freeze --reason \"network is being rebuilt\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			f, err := c.SetFreeze(cmd.Context(), reason)
			if err != nil {
				return err
			}
			defer a.next("relight unfreeze")
			return a.object(f, "freeze", func(out io.Writer) error {
				_, err := fmt.Fprintf(out, "frozen by %s at %s\n", f.By, client.Clock(f.At, a.Now()))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who wonder")
	return cmd
}

func (a *app) unfreezeCmd() *cobra.Command {
	return &cobra.Command{
		Use: "unfreeze", Short: "End the fleet-wide stop",
		Long:    "Unfreeze lets recoveries go on, within their budgets.",
		Example: "  relight unfreeze",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.do(func(c *client.Client) error { return c.ClearFreeze(cmd.Context()) },
				"no longer frozen", "relight get servers")
		},
	}
}

func (a *app) fenceCmd() *cobra.Command {
	return group("fence", "State that an epoch is dead",
		`Fencing is the engine's work. Where it cannot make a proof, a person can state that
an epoch is dead.`,
		"  relight fence confirm db-07 --epoch 3 --reason \"pulled both power cords\"", a.fenceConfirmCmd())
}

func (a *app) fenceConfirmCmd() *cobra.Command {
	var (
		epoch  uint64
		reason string
		yes    bool
	)
	cmd := &cobra.Command{
		Use: "confirm SERVER", Short: "State that an epoch of a server is dead and can write no more",
		Long: `Confirm is a person's word that the epoch can write no more. The engine believes
it: if it is wrong, two instances may write to the same volumes. Look at the
machine first.

The epoch must be the server's present one (relight why shows it). On a terminal
the name must be typed; elsewhere --yes is needed.`,
		Example: "  relight fence confirm db-07 --epoch 3 --reason \"pulled both power cords\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if epoch == 0 || reason == "" {
				return usage(cmd, "--epoch and --reason are needed: which epoch is dead, and how you know").WithNext("relight why %s", args[0])
			}
			deed := fmt.Sprintf("state that epoch %d of %s is dead; if it is not, two instances may write to its volumes", epoch, args[0])
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := a.confirm(cmd, yes, args[0], deed); err != nil {
				return err
			}
			got, err := c.ConfirmFence(cmd.Context(), args[0], client.FenceConfirmRequest{Epoch: fleet.Epoch(epoch), Reason: reason})
			if err != nil {
				return err
			}
			defer a.next("relight why " + args[0])
			err = a.object(got, "server/"+args[0], func(out io.Writer) error {
				_, err := fmt.Fprintf(out, "epoch %d of %s attested dead by %s: %s\n", got.Evidence.Epoch, args[0], got.Evidence.By, clean(got.Message))
				return err
			})
			if err == nil && !got.Complete {
				return exitWith(client.ExitNeedsApproval)
			}
			return err
		},
	}
	cmd.Flags().Uint64Var(&epoch, "epoch", 0, "the epoch that is dead")
	cmd.Flags().StringVar(&reason, "reason", "", "how you know")
	yesFlag(cmd, &yes)
	return cmd
}
