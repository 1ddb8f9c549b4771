package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

func (a *app) snapshotsCmd() *cobra.Command {
	cmd := group("snapshots", "List, put back and delete snapshots of servers' LUNs",
		`A snapshot is what an array keeps of a LUN as one epoch left it: relight move
--snapshot has them taken. They stay until a person deletes them.`,
		"  relight snapshots list lic-01\n  relight snapshots restore lic-01 relight-lic-01-e3 --reason \"the upgrade went wrong\"\n  relight snapshots delete lic-01 relight-lic-01-e3",
		a.snapshotsListCmd(), a.snapshotsRestoreCmd(), a.snapshotsDeleteCmd())
	cmd.Aliases = []string{"snapshot"}
	return cmd
}

func (a *app) snapshotListing(server string) listing[client.KeptSnapshot] {
	next := "relight move SERVER --to HOST --snapshot"
	if server != "" {
		next = "relight move " + server + " --to HOST --snapshot"
	}
	l := whole("snapshot", next, func(s client.KeptSnapshot) string { return s.Name },
		func(c *client.Client, ctx context.Context) (client.List[client.KeptSnapshot], error) {
			return c.Snapshots(ctx, server)
		})
	l.columns = []column[client.KeptSnapshot]{
		{"SERVER", false, func(s client.KeptSnapshot) string { return s.Server }},
		{"VOLUME", false, func(s client.KeptSnapshot) string { return s.Volume }},
		{"SNAPSHOT", false, snapshotCell},
		{"TAKEN", false, takenCell(a)},
		{"BYTES", false, bytesCell},
		{"ARRAY", false, func(s client.KeptSnapshot) string { return s.Array }},
		{"LUN", true, func(s client.KeptSnapshot) string { return s.LUN }},
	}
	return l
}

func snapshotCell(s client.KeptSnapshot) string {
	if s.Error != "" {
		return "unknown: " + s.Error
	}
	return s.Name
}

func takenCell(a *app) func(client.KeptSnapshot) string {
	return func(s client.KeptSnapshot) string {
		if s.At.IsZero() {
			return ""
		}
		return client.Ago(s.At, a.Now())
	}
}

func bytesCell(s client.KeptSnapshot) string {
	if s.Error != "" {
		return ""
	}
	return fmt.Sprint(s.Bytes)
}

func (a *app) snapshotsListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list [SERVER]", Short: "List what arrays keep of servers' LUNs",
		Long:    "List shows the snapshots of all servers' LUNs, or of one server's. What an array\nthat does not answer keeps is unknown.",
		Example: "  relight snapshots list\n  relight snapshots list lic-01 -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return getAll(cmd.Context(), a, c, a.snapshotListing(strings.Join(args, "")), client.ListQuery{})
		},
	}
}

func (a *app) snapshotsRestoreCmd() *cobra.Command {
	var (
		reason string
		yes    bool
	)
	cmd := &cobra.Command{
		Use: "restore SERVER SNAPSHOT", Short: "Put a snapshot back on all LUNs of a server",
		Long: `Restore makes the LUNs of a server what they were when the snapshot was taken. All
that was written since is lost.

It is refused while an epoch of the server may run: pause it, shut its machine down
and wait until it is seen as ended, or state that it is dead (relight fence confirm).
Its arrays shut that epoch out before they touch a LUN. The next epoch starts from
the old data once the pause ends: relight resume. A restore that was broken off keeps
the server from starting until it is repeated.

On a terminal the server's name must be typed; elsewhere --yes is needed.`,
		Example: "  relight pause lic-01 --reason \"back to before the upgrade\"\n  relight snapshots restore lic-01 relight-lic-01-e3 --reason \"the upgrade went wrong\"\n  relight resume lic-01",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return usage(cmd, "--reason is needed: why what was written since may be lost").WithNext("relight snapshots list %s", args[0])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := a.confirm(cmd, yes, args[0], "put the LUNs of "+args[0]+" back to "+args[1]+"; what was written since is lost"); err != nil {
				return err
			}
			got, err := c.RestoreSnapshot(cmd.Context(), args[0], args[1], reason)
			if err != nil {
				return err
			}
			defer a.next("relight resume " + args[0])
			return a.snapshotAnswer(got)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	yesFlag(cmd, &yes)
	return cmd
}

func (a *app) snapshotAnswer(got client.SnapshotAnswer) error {
	return a.object(got, "snapshot/"+got.Snapshot, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "%s (%s)\n", clean(got.Message), strings.Join(got.Volumes, ", "))
		return err
	})
}

func (a *app) snapshotsDeleteCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "delete SERVER SNAPSHOT", Short: "Delete a snapshot of a server's LUNs",
		Long: `Delete has the arrays delete one snapshot of all LUNs of a server. It cannot be
undone. On a terminal the snapshot's exact name must be typed; elsewhere --yes is
needed.`,
		Example: "  relight snapshots delete lic-01 relight-lic-01-e3",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := a.confirm(cmd, yes, args[1], "delete snapshot "+args[1]+" of "+args[0]+" for ever"); err != nil {
				return err
			}
			got, err := c.DeleteSnapshot(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			defer a.next("relight snapshots list " + args[0])
			return a.snapshotAnswer(got)
		},
	}
	yesFlag(cmd, &yes)
	return cmd
}
