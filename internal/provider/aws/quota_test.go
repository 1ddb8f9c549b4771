package aws_test

import (
	"testing"

	"relight/internal/core/pace"
	"relight/internal/provider/aws"
)

func TestQuotasFromAWS(t *testing.T) {
	q := aws.DefaultQuotas().With(map[string]float64{"RunInstances": 10, "StopInstances": 1, "CopyImage": 7, "CreateTags": 0})
	for api, want := range map[string]pace.Bucket{
		"RunInstances":  {Burst: 5, PerSecond: 10},
		"StopInstances": {Burst: 10, PerSecond: 1},
		"CreateTags":    {Burst: 100, PerSecond: 10},
	} {
		if got := q[api].Requests; got != want {
			t.Errorf("%s: %+v, want %+v", api, got, want)
		}
	}
	if _, is := q["CopyImage"]; is {
		t.Error("a call that we never make has a bucket")
	}
	if q["RunInstances"].Resources.Burst != 1000 {
		t.Error("the resource bucket is lost")
	}
}

func TestQuotaByHand(t *testing.T) {
	q := aws.DefaultQuotas()
	if err := q.Set("RunInstances=20:6.5"); err != nil || q["RunInstances"].Requests != (pace.Bucket{Burst: 20, PerSecond: 6.5}) {
		t.Errorf("%+v: %v", q["RunInstances"], err)
	}
	for _, bad := range []string{"", "RunInstances", "RunInstances=5", "RunInstances=0:1", "RunInstances=5:0", "RunInstances=NaN:2", "RunInstances=5:Inf", "Other=5:2"} {
		if err := q.Set(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// What is ours of each bucket, and Route 53's one bucket is not spent twice.
func TestShareOfQuotas(t *testing.T) {
	q := aws.DefaultQuotas()
	var r53 float64
	for _, a := range append(q.Limits(0.8).APIs, q.Reads(0.8)...) {
		switch a.Name {
		case "RunInstances":
			if a.Requests != (pace.Bucket{Burst: 4, PerSecond: 1.6}) || a.Resources != (pace.Bucket{Burst: 800, PerSecond: 1.6}) {
				t.Errorf("%+v", a)
			}
		case "Route53", "ListResourceRecordSets":
			r53 += a.Requests.PerSecond
		}
	}
	if r53 != 4 {
		t.Errorf("%g calls a second to Route 53, want 4", r53)
	}
}
