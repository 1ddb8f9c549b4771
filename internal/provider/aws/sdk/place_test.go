package sdk

import (
	"testing"

	"relight/internal/provider/aws/examine"
)

// IAM is reached at one place for all regions, and its calls are signed for that one.
func TestPlaceOfIAM(t *testing.T) {
	for region, want := range map[string][2]string{
		"eu-west-1":      {"https://iam.amazonaws.com", "us-east-1"},
		"cn-northwest-1": {"https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		"us-gov-east-1":  {"https://iam.us-gov.amazonaws.com", "us-gov-west-1"},
	} {
		if at, scope := place("iam", region); at != want[0] || scope != want[1] {
			t.Errorf("%s: %s, signed for %s", region, at, scope)
		}
		if _, scope := place("kms", region); scope != region {
			t.Errorf("KMS in %s is signed for %s", region, scope)
		}
	}
}

// Policies speak for a role, never for a session of it.
func TestPrincipalOf(t *testing.T) {
	for caller, want := range map[string]string{
		"arn:aws:sts::1:assumed-role/relight/i-0a":    "arn:aws:iam::1:role/relight",
		"arn:aws-cn:sts::1:assumed-role/relight/i-0a": "arn:aws-cn:iam::1:role/relight",
		"arn:aws:iam::1:user/eve":                     "arn:aws:iam::1:user/eve",
		"arn:aws:sts::1:federated-user/eve":           "arn:aws:sts::1:federated-user/eve",
		"odd":                                         "odd",
	} {
		if got := principalOf(caller); got != want {
			t.Errorf("%s: %s", caller, got)
		}
	}
}

// Of several resources the one that is denied counts, however IAM words it.
func TestDecided_TheWorstCounts(t *testing.T) {
	for name, x := range map[string]struct {
		said []string
		want examine.Answer
	}{
		"all":                 {[]string{"allowed", "allowed"}, examine.Allowed},
		"one denied first":    {[]string{"explicitDeny", "allowed"}, examine.Denied},
		"one denied last":     {[]string{"allowed", "implicitDeny"}, examine.Denied},
		"one on conditions":   {[]string{"allowed", "conditions", "allowed"}, examine.Unknown},
		"denied all the same": {[]string{"conditions", "explicitDeny", "conditions"}, examine.Denied},
	} {
		answers := map[string]examine.Right{}
		for _, is := range x.said {
			if is == "conditions" {
				decided(answers, "a:B", "*", "implicitDeny", []string{"aws:SourceIp"})
				continue
			}
			decided(answers, "a:B", "*", is, nil)
		}
		if got := answers["a:B"].Answer; got != x.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
