package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/controller"
	"relight/internal/provider"
	"relight/internal/provider/aws"
	"relight/internal/provider/aws/sdk"
	"relight/internal/provider/aws/stage"
	"relight/internal/provider/guest"
	"relight/internal/provider/san"
)

// awsFlags are what a controller needs to know of an account.
type awsFlags struct {
	region string
	sweep  time.Duration
	share  float64
	quotas []string
	queue  string
	listen string
	topics []string
}

func (f *awsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.region, "aws-region", "", "keep servers on EC2 alive in this region, with the credentials that the aws command line would use")
	cmd.Flags().DurationVar(&f.sweep, "aws-sweep", 5*time.Second, "how often the instances of the account are read")
	cmd.Flags().StringVar(&f.queue, "aws-queue", "", "URL of an SQS queue with events of EventBridge or alarms: they have servers looked at before the next sweep, and decide nothing")
	cmd.Flags().StringVar(&f.listen, "aws-sns-listen", "", "HTTP address that takes such events from SNS topics, signed by SNS; behind a load balancer of yours that speaks TLS")
	cmd.Flags().StringArrayVar(&f.topics, "aws-sns-topic", nil, "ARN of a topic that --aws-sns-listen takes messages of; repeatable")
	cmd.Flags().StringArrayVar(&f.quotas, "aws-quota", nil, "token bucket of one API where yours differs from the documented one and Service Quotas does not tell it, as API=BURST:PERSECOND; repeatable")
	cmd.Flags().Float64Var(&f.share, "aws-share", 0.8, "part of the account's API quotas that is ours, 0 to 1")
}

// platform is EC2, or nothing without a region.
func (f *awsFlags) platform(ctx context.Context, guests *guest.Door, arrays *san.Arrays, log *slog.Logger) ([]controller.Platform, error) {
	switch {
	case f.region == "":
		return nil, nil
	case f.share <= 0 || f.share > 1:
		return nil, fmt.Errorf("--aws-share %g is not above 0 and at most 1; try: --aws-share 0.8", f.share)
	case f.sweep < time.Second || f.sweep > 8*time.Second:
		// What was seen 10 s ago is too old to act upon; see staleAfter in core/decide.
		return nil, fmt.Errorf("--aws-sweep %s is not between 1s and 8s; try: --aws-sweep 5s", f.sweep)
	case (f.listen == "") != (len(f.topics) == 0):
		return nil, errors.New("--aws-sns-listen and --aws-sns-topic belong together; try: --aws-sns-listen :8080 --aws-sns-topic arn:aws:sns:eu-west-1:123456789012:relight")
	}
	cloud, err := sdk.Load(ctx, f.region)
	if err != nil {
		return nil, err
	}
	if _, err := cloud.Account(ctx); err != nil {
		return nil, fmt.Errorf("AWS does not take the credentials: %w; try: aws sts get-caller-identity", err)
	}
	quotas, err := f.buckets(ctx, cloud, log)
	if err != nil {
		return nil, err
	}
	gate := aws.NewGate(quotas.Reads(f.share), provider.WallClock{})
	// The provider hands out the waker's channel, the waker asks it whose an instance is.
	var p *aws.Provider
	waker := aws.NewWaker(func(id string) (string, bool) { return p.ServerOf(id) }, provider.WallClock{}, log)
	p = aws.New(aws.Options{Cloud: cloud.Paced(gate), Region: f.region, Now: time.Now, Guests: guests, Heard: guests.Heard, Arrays: arrays, Wakes: waker.C()})
	arrays.Listen(waker.Wake)
	go waker.Forward(ctx, guests.Wakes())
	if f.queue != "" {
		go waker.Poll(ctx, cloud.Queue(f.queue))
	}
	if f.listen != "" {
		at, err := serveSNS(ctx, f.listen, &aws.SNS{Topics: f.topics, Waker: waker, Now: time.Now, Fetch: aws.FetchSNS})
		if err != nil {
			return nil, err
		}
		log.Info("takes messages of SNS", "addr", at.String(), "topics", f.topics)
	}
	return []controller.Platform{{Name: aws.Name, Provider: p, Limits: quotas.Limits(f.share), Sweep: f.sweep}}, nil
}

// serveSNS takes notifications until ctx ends, and returns where.
func serveSNS(ctx context.Context, addr string, handler http.Handler) (net.Addr, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for SNS on %s: %w; try: --aws-sns-listen :8080", addr, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second}
	go func() { _ = server.Serve(l) }() // it ends with ctx
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return l.Addr(), nil
}

// buckets are the documented quotas, as far as Service Quotas tells of the account's
// own with these, and what the flags say before all.
func (f *awsFlags) buckets(ctx context.Context, cloud *sdk.Client, log *slog.Logger) (aws.Quotas, error) {
	quotas := aws.DefaultQuotas()
	rates, err := cloud.Rates(ctx)
	if err != nil {
		log.Warn("cannot read Service Quotas; the documented limits are used", "err", err, "try", "allow servicequotas:ListServiceQuotas")
	} else {
		quotas = quotas.With(rates)
		log.Info("read Service Quotas", "rates", len(rates))
	}
	for _, text := range f.quotas {
		if err := quotas.Set(text); err != nil {
			return nil, err
		}
	}
	return quotas, nil
}

// fakeAWSCommand serves the fake endpoint.
func fakeAWSCommand() *cobra.Command {
	var (
		listen  string
		factor  float64
		servers int
		running int
		seed    uint64
		texts   []string
	)
	cmd := &cobra.Command{
		Use:   "fake-aws",
		Short: "Serve a fake AWS account on this machine, for trying things out",
		Long: `Serve a fake AWS account that speaks EC2, ELB, Route 53, SQS, Auto Scaling, STS, KMS,
CloudWatch (alarms), IAM (its policy simulator), Outposts and Service Quotas on the wire,
with EC2's states, delays, refusals and quotas. It prints the environment that points the
aws command line or a controller at it. It is a model: what works here must be tried on a
real account before it is trusted.

Things are broken with --fault, or later with POST /_relight/fault (one fault a line), and
GET /_relight/ledger tells every call with its error, as JSON; ?from=N leaves out the first
N. Times are the account's, from the start or from the POST. The faults:

  ` + strings.Join(stage.FaultLanguage(), "\n  ") + `

A server is one that has an instance, by the tag relight:server or by the instance's id; a
host may be of/SERVER. A host that dies shows as an impaired system check, a server that
crashes as an impaired instance check. The object of "api throttle" is a call of EC2 or
"any", that of "api refused" a right such as ec2:RunInstances.`,
		Example: `  relight fake-aws --listen 127.0.0.1:4566 --servers 3
  AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_DEFAULT_REGION=eu-west-1 AWS_ACCESS_KEY_ID=fake AWS_SECRET_ACCESS_KEY=fake aws ec2 describe-volumes
  relight fake-aws --fault "at 5m for 2m site eu-west-1c dies" --fault "at 5m for 2m api any throttle"
  curl -d "host of/lic-01 dies" http://127.0.0.1:4566/_relight/fault
  curl http://127.0.0.1:4566/_relight/ledger`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if factor <= 0 {
				return fmt.Errorf("--factor %g is not above 0; try: --factor 1", factor)
			}
			var faults []stage.Fault
			for _, text := range texts {
				f, err := stage.ParseFault(text)
				if err != nil {
					return fmt.Errorf("--fault %q: %w; try: --fault \"at 5m host of/lic-01 dies\"", text, err)
				}
				faults = append(faults, f)
			}
			st := stage.New(factor, seed)
			out := cmd.OutOrStdout()
			var specs string
			if running > 0 {
				var err error
				if st, err = stage.NewFleet(running, seed); err != nil {
					return fmt.Errorf("--fleet %d: %w", running, err)
				}
				servers = 0
			}
			for range servers {
				_, spec := st.AddServer("a")
				specs += "---\n" + spec
			}
			missed := func(f stage.Fault, err error) {
				fmt.Fprintf(cmd.ErrOrStderr(), "fault %s %s %s came to nothing: %v\n", f.Class, f.Object, f.Verb, err)
			}
			if err := st.Strike(missed, faults...); err != nil {
				return fmt.Errorf("--fault: %w; try: --fault \"at 5m host of/lic-01 dies\"", err)
			}
			var lc net.ListenConfig
			l, err := lc.Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return fmt.Errorf("listen on %s: %w; try: --listen 127.0.0.1:0", listen, err)
			}
			// Python's SDK, and the command line before version 2, read the second name alone.
			fmt.Fprintf(out, "export AWS_ENDPOINT_URL=http://%s AWS_REGION=%s AWS_DEFAULT_REGION=%s AWS_ACCESS_KEY_ID=fake AWS_SECRET_ACCESS_KEY=fake\n", l.Addr(), stage.Region, stage.Region)
			fmt.Fprint(out, specs)
			server := &http.Server{Handler: st.Handler(missed), ReadHeaderTimeout: 5 * time.Second}
			go func() {
				<-cmd.Context().Done()
				_ = server.Close() // nothing of a fake is worth a wait
			}()
			if err := server.Serve(l); cmd.Context().Err() == nil {
				return err
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:4566", "address to serve on")
	cmd.Flags().Float64Var(&factor, "factor", 1, "how much faster than the wall clock its time passes")
	cmd.Flags().IntVar(&servers, "servers", 3, "how many servers to make resources for; their specs are printed")
	cmd.Flags().IntVar(&running, "fleet", 0, "instead of them, how many instances run already, each with a volume: an account to measure sweeps on")
	cmd.Flags().StringArrayVar(&texts, "fault", nil, "what goes wrong, and when; repeatable")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "seed of its delays")
	return cmd
}
