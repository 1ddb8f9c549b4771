package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"relight/internal/agent/volume"
)

var errNoServer = errors.New("it is not said whose volume it is; type: relight agent mark-volume DIR --server NAME")

// markVolumeCommand is how a person says that a server may go on with a directory on which
// none of its epochs ever was.
func markVolumeCommand() *cobra.Command {
	var server string
	cmd := &cobra.Command{
		Use:   "mark-volume DIR",
		Short: "Let a server go on with a directory that has no record of it",
		Long: `Mark-volume puts the record into DIR by which host agents know that it is a volume of
the server. Only the first epoch that is started with a volume makes that record by
itself: a later one that finds none does not start there, for its data may only be out
of sight (a disk that is not mounted), and it would begin empty.

Type this on the host, as the agent's user, with the true disk mounted: after a restore
from a backup of your own, or if the server is to begin empty and its data is given up.
Nothing else in DIR is touched.`,
		Example: "  relight agent mark-volume /srv/db --server db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if server == "" {
				return errNoServer
			}
			made, err := volume.Mark(args[0], server)
			switch {
			case err != nil:
				return fmt.Errorf("mark volume: %w", err)
			case !made:
				fmt.Fprintf(cmd.OutOrStdout(), "%s is marked as a volume of %s already\n", args[0], server)
			default:
				fmt.Fprintf(cmd.OutOrStdout(), "%s is a volume of %s from now on; if its recovery was given up: relight heal %s\n", args[0], server, server)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&server, "server", "", "the server whose volume it is")
	return cmd
}
