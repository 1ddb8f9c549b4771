package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/controller"
)

// restoreCommand makes a controller's directory out of a backup.
func restoreCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a controller's directory out of a backup",
		Long: `Make the directory of a controller out of a file that relight backup wrote. It
works without an engine, into an empty or new directory only, and takes nothing
from a file that is damaged or of another version.

Make sure first that the old controller is dead and stays so. The new one goes on
from the moment of the backup. What happened to servers since then it learns from
their hosts and volumes: no epoch is used twice. Where neither shows which epoch was
the last it starts nothing until you ask for it; relight why says so of each server.
What people did since then it does not know: declare again what was changed, set
guards again that were set, and enrol again the hosts that joined. Tokens of people are not in a backup: there will be a
new administrator's token.`,
		Example: "  relight restore relight-2026-11-21.backup --data /var/lib/relight-new",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			log, err := logger(cmd.ErrOrStderr(), "error")
			if err != nil {
				return err
			}
			got, err := controller.Restore(cmd.Context(), args[0], dir, time.Now(), log)
			if errors.Is(err, controller.ErrNotEmpty) {
				return client.NewProblem(client.CodeBadRequest, "%v; nothing was changed", err).WithNext("relight restore %s --data NEWDIR", args[0])
			}
			if err != nil {
				return client.NewProblem(client.CodeBadRequest, "nothing is restored: %v", err).WithNext("relight restore ANOTHER-FILE --data %s", dir)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s holds the engine of %s: %d servers, %d records, %d audit segments\n",
				dir, got.At.Format(time.RFC3339), got.Servers, got.Records, got.Files)
			fmt.Fprintf(cmd.ErrOrStderr(), "next: relight controller --dir %s\n", dir)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "data", "", "the new controller's directory, empty or absent")
	_ = cmd.MarkFlagRequired("data")
	return cmd
}
