// Command relight is the whole product in one program: the engine's parts and
// the command line that speaks to them.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/beat/beatbench"
	"relight/internal/cli"
)

// Set by the linker for releases.
var version, commit = "dev", ""

func main() { os.Exit(run()) }

func run() int {
	if beatbench.Child() {
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks to end well; a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	return int(cli.Run(ctx, cli.Deps{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InTerminal: cli.IsTerminal(os.Stdin), OutTerminal: cli.IsTerminal(os.Stdout),
		Env: os.Getenv, Now: time.Now,
		Version: build(),
		Extra:   parts(),
		Doctors: []*cobra.Command{doctorAWSCommand()},
	}, os.Args[1:]))
}

// parts are the commands that run parts of the engine in this process.
func parts() []*cobra.Command {
	return append([]*cobra.Command{controllerCommand(build()), fakeAWSCommand(), restoreCommand(), agentCommand(), importCommand(), keeperCommand(), beatCommand(), devCommand(), demoCommand(), labCommand(), simCommand(), benchCommand()}, helperCommands()...)
}

func build() client.Version {
	return client.Version{Version: version, Commit: commit, Go: runtime.Version(), API: client.APIVersion}
}
