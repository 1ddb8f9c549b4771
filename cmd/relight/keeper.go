package main

import (
	"context"

	"github.com/spf13/cobra"

	"relight/internal/agent/keeper"
)

// keeperCommand is started by host agents, one process for each instance.
func keeperCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "keeper",
		Short:   "Hold one instance (started by a host agent)",
		Long:    "Hold one instance: its volume locks and its application. A host agent starts it; it outlives the agent.",
		Example: "  relight keeper --dir DIR",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The command line's own signals must not end a keeper: it decides by
			// itself which of them count.
			return keeper.Main(context.WithoutCancel(cmd.Context()), dir)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the instance's directory")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}
