package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

func (a *app) hostCmd() *cobra.Command {
	return group("host", "Enrol, list and remove hosts",
		"A host runs an agent, which was enrolled with a token that is good once.",
		"  relight host token host-4 --for 10m\n  relight host list\n  relight host remove host-4",
		a.hostTokenCmd(), a.hostListCmd(), a.hostRemoveCmd())
}

func (a *app) hostTokenCmd() *cobra.Command {
	var span time.Duration
	cmd := &cobra.Command{
		Use: "token [HOST]", Short: "Make a token with which one host may enrol",
		Long: `Token prints a secret that lets one host enrol, once. It is shown only here. With
HOST it is good for a host of that name only.`,
		Example: "  relight host token host-4 --for 10m",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := client.JoinTokenRequest{For: fleet.Duration(span)}
			if len(args) == 1 {
				req.Host = args[0]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := c.CreateJoinToken(cmd.Context(), req)
			if err != nil {
				return err
			}
			if t.Command != "" {
				defer a.next(t.Command)
			}
			return a.object(t, t.Token, func(out io.Writer) error {
				fmt.Fprintf(a.Err, "good until %s, once\n", client.Clock(t.Until, a.Now()))
				_, err := fmt.Fprintln(out, t.Token)
				return err
			})
		},
	}
	cmd.Flags().DurationVar(&span, "for", time.Hour, "how long the token is good")
	return cmd
}

func (a *app) hostListCmd() *cobra.Command {
	return listCmd(a, "list", "List enrolled hosts", "List shows the enrolled hosts, as relight get hosts does.",
		"  relight host list -o wide", a.hostListing())
}

func (a *app) hostRemoveCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "remove HOST", Short: "End a host's enrolment",
		Long: `Remove ends a host's enrolment: its agent's key is good no more and nothing is
placed there. Instances that run on it keep running, but nobody watches them from
there.`,
		Example: "  relight host remove host-4 --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(func(c *client.Client) error {
				if err := a.confirm(cmd, yes, args[0], "end the enrolment of host "+args[0]); err != nil {
					return err
				}
				return c.RemoveHost(cmd.Context(), args[0])
			}, "host/"+args[0]+" removed", "relight get hosts")
		},
	}
	yesFlag(cmd, &yes)
	return cmd
}
