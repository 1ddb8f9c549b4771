package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/controller"
	"relight/internal/provider/guest"
	"relight/internal/provider/san"
)

// controllerCommand runs the engine.
func controllerCommand(build client.Version) *cobra.Command {
	opt := controller.Options{Pace: controller.DefaultPace(), Build: build}
	var readyFile, secretFile, logLevel string
	var ec2 awsFlags
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run a controller: it watches, decides and heals",
		Long: `Run a controller. It keeps its state in an embedded store below --dir, or in
an etcd cluster of yours (--etcd-endpoints), serves people and agents over HTTPS
on --listen, and takes beats over UDP on --beat-listen.

A fresh controller makes its own certificate authority (DIR/ca.pem is public) and
an administrator's token (DIR/people/admin.token is secret).`,
		Example: `  relight controller --dir /var/lib/relight --listen :7443 --beat-listen :7443
  relight controller --dir ./data --listen 127.0.0.1:0 --beat-listen 127.0.0.1:0
  relight controller --dir /var/lib/relight --aws-region eu-west-1
  relight controller --aws-region eu-west-1 --aws-queue https://sqs.eu-west-1.amazonaws.com/123456789012/relight`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logger(cmd.ErrOrStderr(), logLevel)
			if err != nil {
				return err
			}
			opt.Log = log
			// Files tell others these paths, whose working directory may differ.
			if opt.Dir, err = filepath.Abs(opt.Dir); err != nil {
				return err
			}
			if opt.Name == "" {
				opt.Name, _ = os.Hostname()
			}
			if opt.WebhookSecret, err = secretOf(secretFile); err != nil {
				return err
			}
			guests := guest.New()
			opt.Arrays = san.New()
			if opt.Platforms, err = ec2.platform(cmd.Context(), guests, opt.Arrays, log); err != nil {
				return err
			}
			if len(opt.Platforms) > 0 {
				opt.Guests = guests
			}
			opt.Ready = func(a controller.Addresses) { announce(cmd.OutOrStdout(), log, readyFile, a) }
			return controller.Run(cmd.Context(), opt)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opt.Dir, "dir", "/var/lib/relight", "directory of the store, the audit segments and the tokens")
	f.StringVar(&opt.Name, "name", "", "this controller's name in the journal (default: the host's)")
	f.StringSliceVar(&opt.Endpoints, "etcd-endpoints", nil, "client URLs of an etcd cluster of yours; none runs an embedded member")
	f.StringVar(&opt.Listen, "listen", ":7443", "HTTPS address for people and agents")
	f.StringVar(&opt.BeatListen, "beat-listen", ":7443", "UDP address for beats")
	f.StringVar(&opt.Advertise, "advertise", "", "host name or address by which others reach this controller")
	f.DurationVar(&opt.BeatLease, "beat-lease", 15*time.Second, "length of the lease that agents get with each beat's ack")
	f.DurationVar(&opt.Contact, "contact", 3*time.Second, "silence after which a host counts as out of contact")
	f.DurationVar(&opt.Lease, "lease", 6*time.Second, "length of this controller's own lease")
	f.DurationVar(&opt.Pace.Sweep, "sweep", 0, "how often all servers are observed in one batch (default: a quarter of --contact)")
	f.StringVar(&opt.Webhook, "webhook", "", "URL that gets signed events")
	f.StringVar(&secretFile, "webhook-secret-file", "", "file with the secret that signs them")
	f.StringVar(&readyFile, "ready-file", "", "file to write with the addresses, as client configuration, once the controller serves")
	f.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	ec2.add(cmd)
	cmd.AddCommand(personCommand())
	return cmd
}

// personCommand lets another person use the API.
func personCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "person NAME",
		Short:   "Make a token for another person",
		Long:    "Make a token with which another person may use the controller's API. Removing the file shuts them out.",
		Example: "  relight controller person kim --dir /var/lib/relight",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := controller.AddPerson(filepath.Join(dir, "people"), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", path)
			fmt.Fprintf(cmd.ErrOrStderr(), "next: relight get servers --token-file %s\n", path)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "/var/lib/relight", "the controller's directory")
	return cmd
}

func secretOf(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the webhook's secret: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func announce(out io.Writer, log *slog.Logger, readyFile string, a controller.Addresses) {
	fmt.Fprintf(out, "relight controller serves %s, beats %s\n", a.URL, a.Beat)
	fmt.Fprintf(out, "next: relight get servers --server %s --ca %s --token-file %s\n", a.URL, a.CA, a.Token)
	if readyFile == "" {
		return
	}
	if err := writeReady(readyFile, a); err != nil {
		log.Error("cannot write the ready file", "err", err)
	}
}

func logger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q is none of debug, info, warn, error", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
