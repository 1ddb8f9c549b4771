package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

func (a *app) stormCmd() *cobra.Command {
	return group("storm", "Look at a storm, and let it go on",
		`A storm is more than one host's failure: every recovery that nobody asked for by
name holds until all servers that it hit work again, or a person lets it go on.`,
		"  relight storm show", a.stormShowCmd(), a.stormGoOnCmd())
}

func (a *app) stormShowCmd() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the storm that holds recoveries",
		Long:    "Show prints the storm that is recorded: its hosts, and who lets it go on.",
		Example: "  relight storm show",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			v, err := c.Storm(cmd.Context())
			if err != nil {
				return err
			}
			if s := v.Storm; s != nil && s.GoOn == nil {
				defer a.next("relight storm go-on " + s.ID + " --reason ...")
			}
			return a.object(v, "storm", func(out io.Writer) error { return a.writeStorm(out, v) })
		},
	}
}

func (a *app) writeStorm(out io.Writer, v client.StormView) error {
	s := v.Storm
	if s == nil {
		_, err := fmt.Fprintln(out, "no storm")
		return err
	}
	if _, err := fmt.Fprintf(out, "%s since %s: %s\n", s.ID, client.Clock(s.At, a.Now()), s.Reason); err != nil || s.GoOn == nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s lets it go on since %s: %s\n", s.GoOn.By, client.Clock(s.GoOn.At, a.Now()), s.GoOn.Reason)
	return err
}

func (a *app) stormGoOnCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "go-on ID", Short: "Let the recoveries go on that a storm holds",
		Long: `Go-on lets every recovery go on that this storm holds, within the budgets. It is
bound to the storm as you have seen it: one that hits more hosts holds again.`,
		Example: "  relight storm go-on storm-20310501-120033.500 --reason \"a dead switch in rack-1, it stays dead\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return usage(cmd, "--reason is needed: what you saw").WithNext("relight storm show")
			}
			return a.do(func(c *client.Client) error {
				_, err := c.StormGoOn(cmd.Context(), args[0], reason)
				return err
			}, args[0]+" goes on", "relight get servers")
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "what you saw, for the record")
	return cmd
}
