package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

func (a *app) healCmd() *cobra.Command {
	var (
		rung, to, reason string
		yes, wait        bool
		timeout          time.Duration
	)
	cmd := &cobra.Command{
		Use:   "heal SERVER",
		Short: "Ask for a recovery, also of a healthy server",
		Long: `Heal asks the engine for a recovery. Every guard counts as it does for the
engine's own recoveries: what holds it is told, with exit code 4 (refused) or 5
(needs approval).

On a terminal the name must be typed; elsewhere --yes is needed.`,
		Example: "  relight heal lic-01 --reason \"memory leak\"\n  relight heal lic-01 --rung move --to dc2 --yes --wait",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := a.confirm(cmd, yes, args[0], "end the running instance of "+args[0]+" and bring it back"); err != nil {
				return err
			}
			got, err := c.Heal(cmd.Context(), args[0], client.HealRequest{Rung: fleet.Rung(rung), To: to, Reason: reason})
			if err != nil {
				return err
			}
			if err := a.healAnswer(args[0], got); err != nil || !wait {
				return err
			}
			return a.waitHealed(cmd.Context(), c, args[0], got.Request.At, timeout)
		},
	}
	cmd.Flags().StringVar(&rung, "rung", "", "restartApp, reboot, recover, relaunch or move; the ladder's first by default")
	cmd.Flags().StringVar(&to, "to", "", "site of a move")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the server is healed")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	yesFlag(cmd, &yes)
	return cmd
}

// healAnswer prints what became of a request and turns a hold into its code.
func (a *app) healAnswer(name string, got client.HealAnswer) error {
	err := a.object(got, "server/"+name, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "%s: %s\n", name, clean(first(got.Message, got.Decision.Reason)))
		return err
	})
	h := got.Decision.Hold
	if err != nil || h == nil || h.Gate == decide.GateProgress {
		a.next("relight events " + name + " --watch")
		return err
	}
	code := client.CodeRefused
	next := "relight why " + name
	if h.Gate == decide.GateApproval {
		code, next = client.CodeNeedsApproval, "relight approve "+name
	}
	return client.NewProblem(code, "held by %s: %s", h.Gate, h.Reason).WithNext("%s", next)
}

func (a *app) pauseCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "pause SERVER",
		Short: "Stop recoveries of a server until it is resumed",
		Long: `Pause stops recoveries of one server. It does not end by itself: for a planned
time use relight maintain start, which does.`,
		Example: "  relight pause lic-01 --reason \"debugging\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := c.Pause(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			defer a.next("relight resume " + args[0])
			return a.object(p, "server/"+args[0], func(out io.Writer) error {
				_, err := fmt.Fprintf(out, "%s paused by %s\n", p.Server, p.By)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who wonder")
	return cmd
}

func (a *app) resumeCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "resume SERVER",
		Short:   "End a pause",
		Long:    "Resume lets recoveries of a paused server go on.",
		Example: "  relight resume lic-01",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(func(c *client.Client) error { return c.Resume(cmd.Context(), args[0]) },
				args[0]+" resumed", "relight why "+args[0])
		},
	}
}

func (a *app) approveCmd() *cobra.Command {
	return a.answerCmd("approve", "Approve a plan that asks",
		`Approve says yes to the plan that waits for a server. The answer is bound to the
epoch and to the exact plan: if either changes, it is asked again. --plan makes
sure that it is still the plan that you saw.`, false)
}

func (a *app) denyCmd() *cobra.Command {
	return a.answerCmd("deny", "Refuse a plan that asks",
		"Deny says no to the plan that waits for a server. The server stays as it is.", true)
}

func (a *app) answerCmd(verb, short, long string, deny bool) *cobra.Command {
	var (
		plan, reason string
		yes          bool
	)
	cmd := &cobra.Command{
		Use: verb + " SERVER", Short: short, Long: long,
		Example: fmt.Sprintf("  relight get approvals\n  relight %s db-07 --reason \"seen with ola\"", verb),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			_, row, err := a.approvalListing().one(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if plan != "" && plan != row.Plan {
				return client.NewProblem(client.CodeConflict, "the plan for %s is now %s, not %s", row.Server, row.Plan, plan).WithNext("relight plan %s", row.Server)
			}
			a.asked(row)
			if err := a.confirm(cmd, yes, row.Server, verb+" this plan"); err != nil {
				return err
			}
			req := client.ApprovalRequest{Epoch: row.Epoch, Plan: row.Plan, Reason: reason}
			do := c.Approve
			if deny {
				do = c.Deny
			}
			got, err := do(cmd.Context(), row.Server, req)
			if err != nil {
				return err
			}
			defer a.next("relight why " + row.Server)
			return a.object(got, "approval/"+row.Server, func(out io.Writer) error {
				_, err := fmt.Fprintf(out, "%s: %s (%d of %d)\n", row.Server, clean(got.Message), got.Given, got.Needed)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&plan, "plan", "", "answer only if this is still the plan")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	yesFlag(cmd, &yes)
	return cmd
}

// asked shows on standard error what the answer would be about.
func (a *app) asked(r client.ApprovalRow) {
	if !a.text() {
		return
	}
	fmt.Fprintf(a.Err, "%s, epoch %d: %s\n", r.Server, r.Epoch, clean(r.Reason))
	for i, s := range r.Steps {
		fmt.Fprintf(a.Err, "%3d. %s\n", i+1, clean(s))
	}
}
