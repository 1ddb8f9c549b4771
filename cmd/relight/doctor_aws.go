package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/cli"
	"relight/internal/core/fleet"
	"relight/internal/provider/aws"
	"relight/internal/provider/aws/capture"
	"relight/internal/provider/aws/examine"
	"relight/internal/provider/aws/sdk"
	"relight/internal/spec"
)

func doctorAWSCommand() *cobra.Command {
	var (
		region string
		rto    time.Duration
		share  float64
		files  []string
		quotas []string
	)
	cmd := &cobra.Command{
		Use: "aws", Short: "Would the account let its servers be healed",
		Long: `Aws looks, before anything fails, for what would keep servers on EC2 from being healed:
actions that are denied (each is tried in a dry run, and EC2's sealed answer opened where
that is allowed), quotas that the RTO cannot be met with, machine types and reserved
capacity, keys of encrypted volumes, other healers of the same instances (Auto Scaling
groups, EC2's automatic recovery, alarms with an action), Multi-Attach volumes without
reservations, what ends with its instance, snapshots that a start in another zone would
need, how each running instance has drifted from its server's document. It changes nothing.

It examines the servers that the engine has declared, with this machine's credentials: run
it where the controller runs. With -f it examines the servers of files, without an engine.

Exit code 0: nothing fails, though there may be warnings; 1: a check fails.`,
		Example: "  relight doctor aws --region eu-west-1 --rto 15m\n  relight doctor aws -f lic-07.yaml -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if share <= 0 || share > 1 {
				return fmt.Errorf("--aws-share %g is not above 0 and at most 1; try: --aws-share 0.8", share)
			}
			servers, declared, err := serversOnEC2(cmd, files)
			if err != nil {
				return err
			}
			cloud, err := sdk.Load(cmd.Context(), region)
			if err != nil {
				return err
			}
			facts, err := cloud.Examine(cmd.Context(), servers, share, rto)
			if err != nil {
				return fmt.Errorf("AWS does not take the credentials: %w; try: aws sts get-caller-identity", err)
			}
			facts.At = time.Now()
			readDrift(cmd.Context(), cloud, declared, &facts)
			for _, q := range quotas {
				if err := facts.Quotas.Set(q); err != nil {
					return err
				}
			}
			return cli.ShowChecks(cmd, checks(examine.Examine(facts)))
		},
	}
	cmd.Flags().StringVar(&region, "region", "", "the region; the configured one by default")
	cmd.Flags().DurationVar(&rto, "rto", 15*time.Minute, "how soon every server must be back if all fail at once; 0 asks nothing")
	cmd.Flags().Float64Var(&share, "aws-share", 0.8, "part of the account's API quotas that is ours, as the controller's")
	cmd.Flags().StringArrayVar(&quotas, "aws-quota", nil, "token bucket of one API, as the controller's: API=BURST:PERSECOND; repeatable")
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "examine the servers of this file, without an engine; may be repeated")
	return cmd
}

func checks(list []examine.Finding) client.DoctorReport {
	var out client.DoctorReport
	for _, f := range list {
		out.Checks = append(out.Checks, client.DoctorCheck{Name: f.Check, State: client.DoctorState(f.State), Detail: f.What, Why: f.Why, Next: f.Next})
	}
	return out
}

// mostHeld is how many servers are held against their instances: a look at one takes about
// a dozen calls, of DNS records among others, which may be asked for five times a second.
const mostHeld = 25

// readDrift holds each server's document against the one instance that runs it. One that is
// away from its document's place, or that a recovery is at work on, has its own words in
// relight why.
func readDrift(ctx context.Context, cloud *sdk.Client, declared map[string]spec.Doc, f *examine.Facts) {
	f.Drift = map[string]examine.Drift{}
	running := map[string][]string{}
	for _, m := range f.Machines {
		if name := m.Tags[aws.TagServer]; m.State == "running" {
			running[name] = append(running[name], m.ID)
		}
	}
	for _, s := range f.Servers {
		doc, is := declared[s.Name]
		switch ids := running[s.Name]; {
		case !is || len(ids) != 1:
		case len(f.Drift) == mostHeld:
			f.Undrifted = append(f.Undrifted, s.Name)
		default:
			f.Drift[s.Name] = drifted(ctx, cloud, doc, ids[0])
		}
	}
}

// drifted is how an instance differs from a document.
func drifted(ctx context.Context, cloud *sdk.Client, doc spec.Doc, id string) examine.Drift {
	d := examine.Drift{Instance: id}
	source, err := cloud.Capture(ctx, id)
	if err == nil && len(source.Blind) > 0 {
		err = errors.New(strings.Join(source.Blind, "; "))
	}
	var changes []spec.Change
	if err == nil {
		changes, err = capture.Drift(doc, capture.Read(source, doc.Name))
	}
	if err != nil {
		d.Blind = err.Error()
		return d
	}
	for _, c := range changes {
		d.Fields = append(d.Fields, shortened(c).String())
	}
	return d
}

// serversOnEC2 are those of files, or of the engine, with the documents of those whose
// place is the document's.
func serversOnEC2(cmd *cobra.Command, files []string) ([]fleet.Server, map[string]spec.Doc, error) {
	declared := map[string]spec.Doc{}
	var all, out []fleet.Server
	var err error
	if len(files) > 0 {
		all, err = serversOfFiles(files, declared)
	} else {
		all, err = serversOfEngine(cmd, declared)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, s := range all {
		if s.Spec.Template.EC2 != nil {
			out = append(out, s)
		}
	}
	return out, declared, nil
}

func serversOfFiles(files []string, declared map[string]spec.Doc) ([]fleet.Server, error) {
	var docs []spec.File
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		docs = append(docs, spec.File{Name: name, Data: data})
	}
	parsed, err := spec.Parse(docs...)
	if err != nil {
		return nil, err
	}
	set, err := spec.Resolve(parsed, nil)
	if err != nil {
		return nil, err
	}
	for _, d := range parsed {
		if d.Kind == spec.KindServer {
			declared[d.Name] = d
		}
	}
	return set.Servers, nil
}

func serversOfEngine(cmd *cobra.Command, declared map[string]spec.Doc) ([]fleet.Server, error) {
	c, err := cli.Connect(cmd, os.Getenv)
	if err != nil {
		return nil, err
	}
	var all []fleet.Server
	for q := (client.ListQuery{}); ; {
		page, err := c.Servers(cmd.Context(), q)
		if err != nil {
			return nil, err
		}
		for _, row := range page.Items {
			view, err := c.Server(cmd.Context(), row.Name)
			if err != nil {
				return nil, err
			}
			all = append(all, view.Server)
			if view.Status.Away != nil || view.Status.Recovery != nil {
				continue
			}
			raw, err := view.Raw.Raw()
			if err != nil {
				return nil, err
			}
			if declared[row.Name], err = spec.Load(raw); err != nil {
				return nil, err
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return all, nil
		}
	}
}
