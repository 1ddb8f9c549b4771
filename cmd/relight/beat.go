package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/beat/app"
)

// beatTimeout bounds a beat: its socket is on this machine.
const beatTimeout = 2 * time.Second

// beatCommand is for applications that cannot write to a socket themselves.
func beatCommand() *cobra.Command {
	var progress uint64
	cmd := &cobra.Command{
		Use:   "beat",
		Short: "Tell the agent that this application lives (run inside a server)",
		Long: `Send one heartbeat of this application to the agent of its host, over the
socket that the agent names in the environment of what it starts
(` + app.SocketEnv + `).

The progress is a number that rises while the application does its work, such as
a count of requests; one that stands still tells that it hangs. Without
--progress it is the time, so that beating alone counts as progress.`,
		Example: `  relight beat
  while sleep 1; do relight beat --progress "$(cat done.count)"; done`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("progress") {
				progress = uint64(time.Now().UnixMilli())
			}
			return sendBeat(cmd.Context(), os.Getenv(app.SocketEnv), progress)
		},
	}
	cmd.Flags().Uint64Var(&progress, "progress", 0, "a number that rises while the application works (default: the time in ms)")
	return cmd
}

func sendBeat(ctx context.Context, socket string, progress uint64) error {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	err := app.Beat(ctx, socket, progress)
	switch {
	case errors.Is(err, app.ErrNoSocket):
		return client.NewProblem(client.CodeBadRequest, "%s is not set: this does not run inside a server", app.SocketEnv).
			WithNext("run it from the server's own command, or set %s to the agent's socket", app.SocketEnv)
	case err != nil:
		return client.NewProblem(client.CodeUnreachable, "%s", fmt.Errorf("no agent takes the beat: %w", err)).
			WithNext("look whether the agent of this host runs: relight agent host")
	}
	return nil
}
