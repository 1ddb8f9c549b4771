package sdk_test

import (
	"context"
	"errors"
	"testing"

	"relight/internal/core/fleet"
	"relight/internal/core/pace"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
)

// Reads of target groups wait for their token like all others, and a refusal in the load
// balancer's own words is told as one.
func TestTargetHealthIsPaced(t *testing.T) {
	a := newAccount(t, nil)
	gate := awsprovider.NewGate([]pace.API{{Name: "DescribeTargetHealth", Requests: pace.Bucket{Burst: 1, PerSecond: 1e-9}}}, provider.WallClock{})
	cloud := a.cloud.Paced(gate)
	if _, err := cloud.Targets(t.Context(), a.group); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cloud.Targets(ctx, a.group); err == nil {
		t.Error("a second read went out without a token")
	}
	if n := a.healthReads(); n != 1 {
		t.Errorf("%d reads, want 1", n)
	}
	a.locked(func() { a.w.SetQuota("RegisterTargets", 0, 0) })
	err := a.cloud.Register(t.Context(), a.group, []awsprovider.Target{{ID: "i-none"}})
	var e *awsprovider.APIError
	if !errors.As(err, &e) || e.Code != "ThrottlingException" || !awsprovider.Limited(err) {
		t.Errorf("%v", err)
	}
}

func (a *account) healthReads() (n int) {
	for _, e := range a.fake.Ledger() {
		if e.Action == "DescribeTargetHealth" {
			n++
		}
	}
	return n
}

// Each part of an identity that a step moves takes a token of its API: none is called
// faster than its bucket allows.
func TestStepsOfGroupsTakeTokens(t *testing.T) {
	limits, group := awsprovider.Limits(0.5), fleet.Object{Group: "g"}
	have := map[string]pace.Bucket{}
	for _, api := range limits.APIs {
		have[api.Name] = api.Requests
	}
	for kind, want := range map[fleet.StepKind][]string{fleet.StepAttach: {"DeregisterTargets", "RegisterTargets"}, fleet.StepDetach: {"DeregisterTargets"}} {
		got := limits.Uses(provider.Call{Step: fleet.Step{Kind: kind, Object: group}})
		if len(got) != len(want) {
			t.Errorf("%s takes %v, want %v", kind, got, want)
		}
		for _, name := range got {
			if b := have[name]; b.PerSecond != 1 || b.Burst != 5 {
				t.Errorf("%s: %+v", name, b)
			}
		}
	}
	if _, is := have["DescribeTargetHealth"]; is {
		t.Error("a read is paced as a step's call too")
	}
	for _, api := range awsprovider.DefaultQuotas().Reads(0.5) {
		if api.Name == "DescribeTargetHealth" {
			if api.Requests.Burst != 20 || api.Requests.PerSecond != 5 {
				t.Errorf("%+v", api)
			}
			return
		}
	}
	t.Error("reads of target groups have no bucket")
}
