package sdk

import (
	"context"
	"errors"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"

	port "relight/internal/provider"
	provider "relight/internal/provider/aws"
)

// readTries is how often a read is sent that is refused for want of tokens, and
// answerTries how often one is that got no answer. A sweep is many pages, and must not
// be lost for one that somebody else's calls crowded out, or whose connection broke.
const (
	readTries   = 5
	answerTries = 2
)

// Paced returns a client whose reads wait for the gate. Calls that change anything
// do not: they were paced before they were journaled.
func (c *Client) Paced(g *provider.Gate) *Client {
	cfg := c.cfg.Copy()
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("relight.Gate", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			return pass(ctx, g, in, next)
		}), middleware.After)
	})
	return New(cfg)
}

// reads reports whether an operation changes nothing.
func reads(op string) bool { return strings.HasPrefix(op, "Describe") || strings.HasPrefix(op, "List") }

// leasedName is of the middleware that [leased] adds, once to each client.
const leasedName = "relight.Leased"

// leased has the lease of the controller asked for right before each request that changes
// anything is sent: a step is many of them, and EC2 knows no terms (S10).
func leased(stack *middleware.Stack) error {
	if _, has := stack.Finalize.Get(leasedName); has {
		return nil
	}
	return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc(leasedName, func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, meta middleware.Metadata, err error) {
		if !reads(awsmiddleware.GetOperationName(ctx)) {
			err = port.Leased(ctx)
		}
		if err != nil {
			return out, meta, err
		}
		return next.HandleFinalize(ctx, in)
	}), middleware.After)
}

func pass(ctx context.Context, g *provider.Gate, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	op := awsmiddleware.GetOperationName(ctx)
	if !reads(op) {
		return next.HandleInitialize(ctx, in)
	}
	for try := 1; ; try++ {
		if err := g.Pass(ctx, op); err != nil {
			return middleware.InitializeOutput{}, middleware.Metadata{}, err
		}
		out, meta, err := next.HandleInitialize(ctx, in)
		var e *provider.APIError
		again := errors.As(failed(op, err), &e) && e.Unanswered && ctx.Err() == nil && try < answerTries
		if provider.Limited(failed(op, err)) {
			g.Refused(op)
			again = try < readTries
		}
		if !again {
			return out, meta, err
		}
	}
}
