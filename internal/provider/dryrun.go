package provider

import "context"

// WithDryRun wraps a provider so that it is observed and never touched: each Do
// that the platform would not refuse for want of a proof is handed to record and
// answered as done, without evidence. So nothing can be proved by a dry run, and
// what it shows of a recovery ends where a proof is first needed. It carries
// drills in mode observe. record is called from many goroutines.
func WithDryRun(inner Provider, record func(Call)) Provider {
	return &dryRun{Provider: inner, record: record}
}

type dryRun struct {
	Provider
	record func(Call)
}

// Do implements Provider.
func (d *dryRun) Do(ctx context.Context, call Call) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, Errorf(Retry, call, "%w", err)
	}
	if err := CheckProof(call); err != nil {
		return Outcome{}, err
	}
	d.record(call)
	return Outcome{Detail: "dry run: " + string(call.Step.Kind) + " " + ObjectOf(call) + " was not done"}, nil
}
