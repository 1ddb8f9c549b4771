package stage

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/world"
)

// python is that of moto's virtual environment, which brings boto3 with it.
func python(t *testing.T) string {
	t.Helper()
	exe, _ := filepath.Abs("../../../../.cache/moto/bin/python")
	if server := os.Getenv("MOTO_SERVER"); server != "" {
		exe = filepath.Join(filepath.Dir(server), "python")
	}
	if err := exec.CommandContext(t.Context(), exe, "-c", "import boto3").Run(); err != nil {
		t.Skip("SKIPPED: boto3 is not here, so that nothing shows that the aws command line can read the fake account; install it: make moto")
	}
	return exe
}

// The account is read and changed by botocore, on which the aws command line stands: for
// each service what it tells, what it changes, and the code of an error. Another client
// than ours reads each protocol by AWS's own model.
func TestBotocore(t *testing.T) {
	exe := python(t)
	s := New(1000, 1)
	s.AddServer("a")
	s.Endpoint.AddKey("arn:aws:kms:eu-west-1:123456789012:key/k", fakeaws.Key{State: "Enabled"})
	s.Endpoint.AddAlarm(fakeaws.Alarm{Name: "sys", Instance: "i-1", Action: "recover"})
	s.Do(func(w *world.World) {
		w.AddSite(world.Site{Name: "op-1", Kind: fleet.SiteOutpost, Parent: Region})
		w.AddHost(world.Host{Name: "op-1-host", Parent: "op-1", Units: 1})
	})
	s.Endpoint.AddSubnet(fakeaws.Subnet{ID: "subnet-op-1", VPC: "vpc-1", Zone: Region + "a", Site: "op-1", CIDR: "10.0.9.0/24", OutpostARN: "arn:aws:outposts:eu-west-1:123456789012:outpost/op-1"})
	queue := s.Endpoint.AddQueue("wakes")
	s.Endpoint.Send(queue, "look")
	srv := httptest.NewServer(s.Handler(nil))
	defer srv.Close()
	cmd := exec.CommandContext(t.Context(), exe, "testdata/boto.py", s.Template, s.Group, s.Zone, srv.URL+queue, "arn:aws:kms:eu-west-1:123456789012:key/k")
	cmd.Env = []string{
		"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "AWS_ENDPOINT_URL=" + srv.URL, "AWS_DEFAULT_REGION=" + Region, "AWS_ACCESS_KEY_ID=fake", "AWS_SECRET_ACCESS_KEY=fake",
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs.String())
	}
	type answer struct {
		Call, Code string
		Answer     json.RawMessage
	}
	said := map[string]answer{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		var a answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		said[a.Call] = a
	}
	for call, want := range map[string]string{
		"ec2 read": "vol-data-01", "ec2 change": "i-000001",
		"elbv2 read": "Elb.RegistrationInProgress", "elbv2 change": "{}",
		"route53 read": "a.example.com.", "route53 change": "PENDING",
		"sqs read": `"Body": "look"`, "sqs change": "{}",
		"kms read":            `"KeyState": "Enabled"`,
		"cloudwatch read":     `"AlarmName": "sys"`,
		"autoscaling read":    `"AutoScalingInstances": []`,
		"service-quotas read": `"Value": 512`,
		"iam read":            `"EvalDecision": "allowed"`,
		"outposts read":       `"State": "ACTIVE", "InstanceTypeCapacities"`,
		"sts read":            `"Account": "123456789012"`,
	} {
		if a := said[call]; a.Code != "" || !strings.Contains(string(a.Answer), want) {
			t.Errorf("%s: %s%s, not %s", call, a.Answer, a.Code, want)
		}
	}
	for call, want := range map[string]string{
		"ec2 error": "InvalidInstanceID.NotFound", "elbv2 error": "TargetGroupNotFound", "route53 error": "InvalidChangeBatch",
		"sqs error": "AWS.SimpleQueueService.NonExistentQueue", "kms error": "DryRunOperationException",
		"cloudwatch error": "InvalidAction", "autoscaling error": "InvalidAction", "service-quotas error": "NoSuchResourceException", "sts error": "InvalidAction", "iam error": "NoSuchEntity", "outposts error": "NotFoundException",
	} {
		if a := said[call]; a.Code != want {
			t.Errorf("%s: code %q, not %q: %s", call, a.Code, want, a.Answer)
		}
	}
	if len(said) != 26 {
		t.Errorf("%d calls were answered\n%s", len(said), out)
	}
}
