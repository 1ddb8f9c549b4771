// Package sdk implements the aws provider's port with the AWS SDK. It translates and
// decides nothing; it is the only package that compiles EC2's client.
package sdk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	port "relight/internal/provider"
	provider "relight/internal/provider/aws"
)

// Client implements provider.Cloud.
type Client struct {
	ec2     *ec2.Client
	elb     *elasticloadbalancingv2.Client
	route53 *route53.Client
	sts     *sts.Client
	scaling *autoscaling.Client
	cfg     aws.Config
}

var _ provider.Cloud = (*Client)(nil)

// Load reads region, credentials and AWS_ENDPOINT_URL from where the aws command line
// reads them. region replaces the configured one if it is not empty.
func Load(ctx context.Context, region string) (*Client, error) {
	var opts []func(*config.LoadOptions) error
	if region != "" {
		opts = append(opts, config.WithRegion(region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("configuration of AWS: %w; try: aws configure", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("no region of AWS is configured; try: export AWS_REGION=eu-west-1")
	}
	return New(cfg), nil
}

// At returns a client of an endpoint that checks no signatures, such as the fake one.
func At(url, region string, client *http.Client) *Client {
	return New(aws.Config{
		Region: region, BaseEndpoint: aws.String(url), HTTPClient: client,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
	})
}

// New returns a client. It retries nothing by itself: retries are journaled and
// paced above, and one that the SDK made would take tokens that nobody counted.
func New(cfg aws.Config) *Client {
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), leased)
	if _, own := cfg.HTTPClient.(ownBody); !own {
		if cfg.HTTPClient == nil {
			cfg.HTTPClient = http.DefaultClient
		}
		cfg.HTTPClient = ownBody{cfg.HTTPClient}
	}
	return &Client{ec2: ec2.NewFromConfig(cfg), elb: elasticloadbalancingv2.NewFromConfig(cfg), route53: route53.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg), scaling: autoscaling.NewFromConfig(cfg), cfg: cfg}
}

// Region is where the client's calls go.
func (c *Client) Region() string { return c.cfg.Region }

// Account returns the number of the account whose credentials are used.
func (c *Client) Account(ctx context.Context) (string, error) {
	out, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", failed("GetCallerIdentity", err)
	}
	return aws.ToString(out.Account), nil
}

// failed words an error of the SDK for the port.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, port.ErrLeaseOver) {
		return fmt.Errorf("%s: %w", op, err)
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return &provider.APIError{Op: op, Code: api.ErrorCode(), Message: api.ErrorMessage()}
	}
	return &provider.APIError{Op: op, Unanswered: true, Message: err.Error()}
}
