package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/lab"
	"relight/internal/store/etcd"
)

// labCommand builds a small data centre on this machine and breaks it.
func labCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "A SAN, three hypervisor hosts and a client on this machine",
		Long: `Build a small data centre on this machine: an iSCSI SAN, a controller, three
hypervisor hosts and a client, each in a network namespace of its own, with a
storage network and a management network that can be cut one by one.

It needs root, /dev/net/tun and a few packages of Debian's, which it lists before
it installs them. All that it makes carries the lab's name and goes with lab down.`,
		Example: "  relight lab up --yes\n  relight lab break hc management\n  relight lab status\n  relight lab down",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&name, "name", "lab", "the lab's name, up to 8 lower-case letters and digits")
	cmd.AddCommand(labUpCommand(&name), labStatusCommand(&name), labBreakCommand(&name), labMendCommand(&name),
		labRunCommand(&name), labDownCommand(&name), labWardenCommand(&name), labPowerCommand(), labDrillCommand(&name), labMemberCommand())
	return cmd
}

func labUpCommand(name *string) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Build a lab and keep it until lab down",
		Long:    "Build a lab: networks, SAN, controller, hosts, and a virtual machine that writes to its LUN. What is lacking is listed, and installed if you say yes.",
		Example: "  relight lab up --yes\n  relight lab up --name two",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := labNeeds(cmd, yes); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "building the networks, the SAN, a controller, three hosts and a virtual machine ...")
			l, err := lab.Up(cmd.Context(), lab.Options{Name: *name})
			if err != nil {
				return err
			}
			if err := l.Populate(cmd.Context()); err != nil {
				return errors.Join(err, l.Down(context.WithoutCancel(cmd.Context())))
			}
			return l.Describe(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "install what is lacking without asking")
	return cmd
}

// labNeeds installs what is lacking, if somebody says yes.
func labNeeds(cmd *cobra.Command, yes bool) error {
	ask := lab.Ask(cmd.InOrStdin(), cmd.ErrOrStderr())
	if yes {
		ask = func() bool { return true }
	}
	return lab.Install(cmd.Context(), lab.Missing(), ask, cmd.ErrOrStderr())
}

func labStatusCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Tell what runs where, and what is cut",
		Long:    "Look at every node of the lab: its processes, its virtual machines, its networks.",
		Example: "  relight lab status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.Open(*name)
			if err != nil {
				return err
			}
			return l.Describe(cmd.Context(), cmd.OutOrStdout())
		},
	}
}

func labBreakCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "break NODE FAULT",
		Short: "Break one thing",
		Long:  "Break one thing. Faults:\n\n" + lab.FaultList(),
		Example: `  relight lab break hc management
  relight lab break hc power
  relight lab break san restart`,
		Args: cobra.ExactArgs(2),
		RunE: labFault(name, (*lab.Lab).Break),
	}
}

func labMendCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:     "mend NODE FAULT",
		Short:   "Undo what lab break did",
		Long:    "Undo what lab break did to a node.",
		Example: "  relight lab mend hc management",
		Args:    cobra.ExactArgs(2),
		RunE:    labFault(name, (*lab.Lab).MendFault),
	}
}

func labFault(name *string, do func(*lab.Lab, context.Context, string, string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		l, err := lab.Open(*name)
		if err != nil {
			return err
		}
		return do(l, cmd.Context(), args[0], args[1])
	}
}

func labRunCommand(name *string) *cobra.Command {
	var opt lab.RunOptions
	var yes bool
	var cases strings.Builder
	for _, c := range lab.Cases() {
		fmt.Fprintf(&cases, "  %-18s %s\n", c.Name, c.Title)
	}
	cmd := &cobra.Command{
		Use:   "run [CASE...]",
		Short: "Build a lab, break it case by case, check what was written",
		Long: `Build a lab of its own in which a virtual machine writes to a LUN all the time,
break things, and wait until the server is healed. After each case the file behind
the LUN is held against what a client was told: nothing that was acknowledged may be
lost, and nothing of an old epoch may land after its fence.

Cases:

` + cases.String() + `
The last line is the sum: runs=N lost=0 stale=0.`,
		Example: "  relight lab run --yes\n  relight lab run zombie --runs 100\n  relight lab run host-off --keep",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := labNeeds(cmd, yes); err != nil {
				return err
			}
			opt.Name, opt.Cases, opt.Out = *name, args, cmd.OutOrStdout()
			return lab.Run(cmd.Context(), opt)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&yes, "yes", "y", false, "install what is lacking without asking")
	f.IntVar(&opt.Runs, "runs", 1, "how often each case is played")
	f.BoolVar(&opt.Keep, "keep", false, "keep the lab if a case fails")
	f.BoolVar(&opt.JSON, "json", false, "print results as JSON, one object a line")
	return cmd
}

func labDownCommand(name *string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "Take a lab down, also what a crash has left of it",
		Long:    "End all processes of a lab and remove its networks and files. A lab that is not there is no error.",
		Example: "  relight lab down\n  relight lab down --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := []string{*name}
			if all {
				var err error
				if list, err = lab.List(); err != nil {
					return err
				}
			}
			var errs []error
			for _, n := range list {
				err := lab.Down(cmd.Context(), n)
				if left := lab.Left(n); err == nil && len(left) > 0 {
					err = fmt.Errorf("lab %s: still there: %s", n, strings.Join(left, ", "))
				}
				if err == nil {
					fmt.Fprintf(cmd.OutOrStdout(), "lab %s is gone\n", n)
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all labs of this machine")
	return cmd
}

func labWardenCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:     "warden",
		Short:   "Take a lab down when its owner has died",
		Long:    "Wait until standard input ends, then take the lab down.",
		Example: "  relight lab warden --name t1",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return lab.Watch(cmd.InOrStdin(), *name) },
	}
}

func labPowerCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "power",
		Short:   "The power device of the hosts of labs",
		Long:    "Speak the fence agents' protocol: name=value lines on standard input, the answer in the exit code.",
		Example: "  printf 'action=status\\nplug=ha\\nlab=lab\\n' | relight lab power",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Half a switch is worse than none: it is bounded by its own time.
			if code := lab.Power(context.WithoutCancel(cmd.Context()), cmd.InOrStdin(), cmd.OutOrStdout()); code != 0 {
				return powerStatus(code)
			}
			return nil
		},
	}
}

func labDrillCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:     "drill",
		Short:   "What relight drill calls to break a lab's server",
		Long:    "Break, mend, write and check, as relight drill run asks for. Exit code 3 means that it cannot.",
		Example: "  relight drill run --all --with \"relight lab drill --name lab\" --report drills.html --yes",
		Hidden:  true,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(*name)
			if err != nil {
				return err
			}
			err = l.Drill(cmd.Context(), args, cmd.InOrStdin(), cmd.OutOrStdout())
			if errors.Is(err, lab.ErrNoDrill) {
				return cannotDrill{err}
			}
			return err
		},
	}
}

// labMemberCommand is a member of the etcd cluster of a lab with several controllers.
func labMemberCommand() *cobra.Command {
	var m etcd.Member
	cmd := &cobra.Command{
		Use:     "member",
		Short:   "A member of the store of a lab with several controllers",
		Long:    "Run one member of an etcd cluster, with the limits that controllers ask for.",
		Example: "  relight lab member --member e1 --dir ./e1 --client http://127.0.0.1:2379 --peer http://127.0.0.1:2380 --cluster e1=http://127.0.0.1:2380",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logger(cmd.ErrOrStderr(), "warn")
			if err != nil {
				return err
			}
			m.Log = log
			return m.Serve(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&m.Name, "member", "", "its name")
	f.StringVar(&m.Dir, "dir", "", "directory of its data")
	f.StringVar(&m.Client, "client", "", "URL for clients")
	f.StringVar(&m.Peer, "peer", "", "URL for other members")
	f.StringVar(&m.Cluster, "cluster", "", "all members, as NAME=PEER-URL with commas")
	return cmd
}
