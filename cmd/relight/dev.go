package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/demo"
	"relight/internal/demo/app"
	"relight/internal/dev"
)

// devCommand starts a fleet of its own to try things out on.
func devCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Try it here: an engine with hosts and servers of its own",
		Long: `Start a controller, three host agents and six servers on this machine, all as
real processes, and keep them until Ctrl-C. Then break what you like.

Everything lies in one directory: a temporary one, or --dir, which is kept and can
be used again. Nothing outside of it is touched; no root, no network.`,
		Example: "  relight dev\n  relight dev --dir ./try",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return dev.Run(cmd.Context(), dev.Options{Dir: dir}, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory to keep the fleet in (default: a temporary one)")
	return cmd
}

// helperCommands are what the fleets of dev and demo consist of besides the
// product itself.
func helperCommands() []*cobra.Command {
	return []*cobra.Command{appCommand(), powerCommand(), wardenCommand(), drillCommand()}
}

// drillCommand is what relight drill calls to break a fleet of relight dev.
func drillCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "demo-drill",
		Short:   "What relight drill calls to break a fleet of relight dev",
		Long:    "Break, mend, write and check, as relight drill run asks for. Exit code 3 means that it cannot.",
		Example: "  relight drill run --all --with \"relight demo-drill --dir ./try\" --yes",
		Hidden:  true,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := demo.Drill(cmd.Context(), dir, args, cmd.InOrStdin(), cmd.OutOrStdout())
			if errors.Is(err, demo.ErrNoDrill) {
				return cannotDrill{err}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the fleet's directory")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

// cannotDrill ends the program with the exit code by which it says that it cannot.
type cannotDrill struct{ error }

func (cannotDrill) Exit() client.Exit { return 3 }

func appCommand() *cobra.Command {
	var opt app.Options
	cmd := &cobra.Command{
		Use:     "demo-app",
		Short:   "The application of relight dev and demo",
		Long:    "Serve POST /write?id=N, GET /health, GET /whoami and POST /fail, with a log in --dir. It knows no epochs and takes no locks.",
		Example: "  relight demo-app --listen 127.0.0.1:8080 --dir .",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return app.Run(cmd.Context(), opt) },
	}
	cmd.Flags().StringVar(&opt.Listen, "listen", "", "IP:PORT to serve on")
	cmd.Flags().StringVar(&opt.Dir, "dir", "", "the volume")
	_ = cmd.MarkFlagRequired("listen")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

// powerStatus ends the power device with the exit code that its protocol asks for.
type powerStatus int

func (p powerStatus) Error() string {
	if p == 2 {
		return "the host is off, which fence agents say with exit code 2"
	}
	return fmt.Sprintf("exit code %d", int(p))
}

func (p powerStatus) Exit() client.Exit { return client.Exit(p) }

func powerCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "demo-power",
		Short:   "The power device of the hosts of relight dev and demo",
		Long:    "Speak the fence agents' protocol: name=value lines on standard input, the answer in the exit code.",
		Example: "  printf 'action=status\\nplug=host-1\\ndir=/tmp/relight-dev-1\\n' | relight demo-power",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Half a switch is worse than none: it is bounded by its own time.
			if code := dev.Power(context.WithoutCancel(cmd.Context()), cmd.InOrStdin(), cmd.OutOrStdout()); code != 0 {
				return powerStatus(code)
			}
			return nil
		},
	}
}

func wardenCommand() *cobra.Command {
	var id, remove string
	cmd := &cobra.Command{
		Use:     "demo-warden",
		Short:   "End the fleet of relight dev or demo when it has died",
		Long:    "Wait until standard input ends, then end every process of the fleet.",
		Example: "  relight demo-warden --id 0123456789abcdef",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return dev.Watch(cmd.InOrStdin(), id, remove) },
	}
	cmd.Flags().StringVar(&id, "id", "", "the fleet")
	cmd.Flags().StringVar(&remove, "remove", "", "directory to remove then")
	_ = cmd.MarkFlagRequired("id")
	return cmd
}
