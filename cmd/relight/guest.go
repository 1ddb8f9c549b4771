package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"relight/internal/agent"
	"relight/internal/agent/mount"
	"relight/internal/provider/guest"
)

func guestAgentCommand() *cobra.Command {
	var (
		o           agent.GuestOptions
		plan, level string
	)
	cmd := &cobra.Command{
		Use:   "guest",
		Short: "Run the agent of this instance on EC2",
		Long: `Run the agent inside an instance on EC2. It mounts the server's volumes, each found by
its NVMe serial, and waits for them as long as it takes; it formats one only at epoch 1,
if the spec says format and nothing at all is on it. It makes the application's check
from inside, and reports all of it to the controller: that is its beat.

User data starts it with a plan of its own for each epoch (servers with
template.ec2.guestBeat, or with a volume that has a mount). It mounts whether or not a
controller answers, and its end stops nothing. It speaks for the instance that it joined
on alone: on one that was made of its image it joins anew, or says why it may not.`,
		Example: `  relight agent guest
  relight agent guest --plan /etc/relight/guest.json --log-level debug
  systemctl status relight-guest`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Log, err = logger(cmd.ErrOrStderr(), level); err != nil {
				return err
			}
			data, err := os.ReadFile(plan)
			if err != nil {
				return fmt.Errorf("read the plan: %w; next: see what user data did: journalctl -u cloud-init", err)
			}
			if o.Plan, err = guest.ParsePlan(data); err != nil {
				return fmt.Errorf("%s: %w; next: see what user data did: journalctl -u cloud-init", plan, err)
			}
			o.Machine = mount.ThisMachine()
			o.Metadata = os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT") // as AWS's own programs are told
			g, err := agent.NewGuest(o)
			if err != nil {
				return err
			}
			return g.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&plan, "plan", guest.PlanFile, "file with the plan of this epoch, which user data writes")
	f.StringVar(&o.Dir, "dir", "/var/lib/relight-guest", "the agent's own directory: its key and its certificate")
	f.DurationVar(&o.ReportEvery, "report-every", agent.DefaultGuestReportEvery, "how often everything is reported though nothing changed")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return cmd
}
