package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/provider/aws"
	"relight/internal/provider/aws/capture"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/provider/aws/sdk"
	"relight/internal/provider/aws/stage"
)

// sick is a fake account with one server whose instance runs, and the server's file.
func sick(t *testing.T) (*stage.Stage, string, string) {
	t.Helper()
	st, _ := account(t)
	name, text := st.AddServer("a")
	st.Endpoint.SetQuota("L-1216C47A", 64)
	cloud, err := sdk.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	id, err := cloud.Launch(t.Context(), aws.Launch{Token: "s", Template: st.Template, Version: 1, NoAutoRecovery: true, Tags: map[string]string{aws.TagServer: name, aws.TagEpoch: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "s.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	complete(t, st, cloud, id)
	return st, id, file
}

// complete gives an instance the identity of the stage's first server, as its document
// says, and waits until it has it.
func complete(t *testing.T, st *stage.Stage, cloud *sdk.Client, id string) {
	t.Helper()
	succeeds(t, func() error { return cloud.AttachVolume(t.Context(), "vol-data-01", id, "/dev/sdf") })
	succeeds(t, func() error { return cloud.AttachInterface(t.Context(), "eni-01", id, 1) })
	succeeds(t, func() error {
		s, err := cloud.Capture(t.Context(), id)
		if err != nil || len(s.Interfaces) == 0 {
			return fmt.Errorf("it has no interface: %w", err)
		}
		return cloud.Associate(t.Context(), "eipalloc-01", s.Interfaces[0].ID, "", false)
	})
	succeeds(t, func() error { return cloud.Register(t.Context(), st.Group, []aws.Target{{ID: id}}) })
	succeeds(t, func() error {
		return cloud.SetRecord(t.Context(), st.Zone, "lic-01.example.com", "198.51.100.1", 30*time.Second)
	})
	succeeds(t, func() error {
		s, err := cloud.Capture(t.Context(), id)
		if found := capture.Read(s, "lic-01").Identity; err == nil && len(found.Volumes)+len(found.Interfaces)+len(found.Addresses)+len(found.Groups)+len(found.Names) < 5 {
			err = fmt.Errorf("it has no more than %+v", found)
		}
		return err
	})
}

// succeeds does something again until it succeeds: what EC2 was asked for takes its time.
func succeeds(t *testing.T, do func() error) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var err error
	for range 10_000 {
		if err = do(); err == nil {
			return
		}
		<-tick.C
	}
	t.Fatal(err)
}

func examined(t *testing.T, args ...string) (client.Exit, client.DoctorReport, string) {
	t.Helper()
	code, out, errs := relight(t, append([]string{"doctor", "aws", "-o", "json"}, args...)...)
	var r client.DoctorReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("exit %d: %v\n%s%s", code, err, out, errs)
	}
	return code, r, out
}

// A healthy account: nothing fails, every call can be made, and nothing was changed.
func TestDoctorAWS_Well(t *testing.T) {
	st, _, file := sick(t)
	before := len(st.Endpoint.Ledger())
	code, r, out := examined(t, "-f", file)
	if code != client.ExitOK {
		t.Errorf("exit %d\n%s", code, out)
	}
	for _, c := range r.Checks {
		if c.State != client.DoctorOK {
			t.Errorf("%+v", c)
		}
	}
	for _, e := range st.Endpoint.Ledger()[before:] {
		if e.Code != "" && e.Code != "DryRunOperation" {
			t.Errorf("%s: %s", e.Action, e.Code)
		}
		if !strings.HasPrefix(e.Action, "Describe") && !strings.HasPrefix(e.Action, "Simulate") && !strings.HasPrefix(e.Action, "Get") && !strings.HasPrefix(e.Action, "GET") && !strings.HasPrefix(e.Action, "List") && e.Code == "" {
			t.Errorf("the doctor changed something: %s", e.Action)
		}
	}
	if code, text, _ := relight(t, "doctor", "aws", "-f", file); code != client.ExitOK || !strings.Contains(text, "CHECK") {
		t.Errorf("exit %d: %s", code, text)
	}
}

// Each thing that is wrong is found, with what to do about it.
func TestDoctorAWS_Finds(t *testing.T) {
	for name, x := range map[string]struct {
		spoil func(*stage.Stage, string)
		spec  func(string) string
		args  []string
		want  string
	}{
		"a right":            {spoil: func(s *stage.Stage, _ string) { s.Endpoint.Deny("ec2:AttachVolume") }, want: "ec2:AttachVolume is denied: a policy denies it: ec2:AttachVolume on * for"},
		"a read":             {spoil: func(s *stage.Stage, _ string) { s.Endpoint.Deny("elasticloadbalancing:DescribeTargetHealth") }, want: "elasticloadbalancing:DescribeTargetHealth is denied"},
		"the profile's role": {spoil: func(s *stage.Stage, _ string) { s.Endpoint.Deny("iam:PassRole") }, want: "iam:PassRole is denied"},
		"vCPUs":              {spoil: func(s *stage.Stage, _ string) { s.Endpoint.SetQuota("L-1216C47A", 5) }, want: "needs 2"},
		"the RTO":            {args: []string{"--rto", "4m"}, want: "cannot meet its RTO with today's quotas"},
		"a quota that a flag says": {args: []string{"--aws-quota", "RunInstances=1:0.0005", "--rto", "20m"}, spec: func(s string) string {
			return s + "---\n" + strings.NewReplacer("lic-01", "lic-02", "vol-data-01", "vol-data-02", "eni-01", "eni-02", "198.51.100.1", "198.51.100.2", "eipalloc-01", "eipalloc-02").Replace(s)
		}, want: "cannot meet its RTO"},
		"a type":          {spec: func(s string) string { return strings.Replace(s, "m6i.large", "x9.huge", 1) }, want: "x9.huge is not offered"},
		"one type":        {spec: func(s string) string { return strings.Replace(s, ", types: [m6i.large]", "", 1) }, want: "no reserved capacity"},
		"no template":     {spec: func(s string) string { return strings.Replace(s, "version: 1", "version: 9", 1) }, want: "has no version 9"},
		"a scaling group": {spoil: func(s *stage.Stage, id string) { s.Endpoint.PutInScalingGroup(id, "web") }, want: "belongs to the Auto Scaling group web"},
		"an alarm": {spoil: func(s *stage.Stage, id string) {
			s.Endpoint.AddAlarm(fakeaws.Alarm{Name: "sys", Instance: id, Action: "recover"})
		}, want: "the alarm sys does recover"},
		"a volume that is not there": {spec: func(s string) string { return strings.Replace(s, "vol-data-01", "vol-none", 1) }, want: "(vol-none) is not there"},
		"another zone": {spoil: func(s *stage.Stage, _ string) {
			s.Endpoint.AddVolume(fakeaws.VolumeSpec{ID: "vol-b", Server: "lic-01", Zone: stage.Region + "b"})
		}, spec: func(s string) string { return strings.Replace(s, "vol-data-01", "vol-b", 1) }, want: "volume data is in eu-west-1b and subnet subnet-a in eu-west-1a"},
		"Multi-Attach": {spoil: func(s *stage.Stage, _ string) {
			s.Endpoint.AddVolume(fakeaws.VolumeSpec{ID: "vol-m", Server: "lic-01", Zone: stage.Region + "a", Type: "io1", Multi: true})
		}, spec: func(s string) string { return strings.Replace(s, "vol-data-01", "vol-m", 1) }, want: "Multi-Attach without reservations"},
		"a key that is off": {spoil: func(s *stage.Stage, _ string) {
			s.Endpoint.AddKey("arn:k", fakeaws.Key{State: "PendingDeletion"})
			s.Endpoint.AddVolume(fakeaws.VolumeSpec{ID: "vol-k", Server: "lic-01", Zone: stage.Region + "a", KMSKey: "arn:k"})
		}, spec: func(s string) string { return strings.Replace(s, "vol-data-01", "vol-k", 1) }, want: "is PendingDeletion"},
		"a grant": {spoil: func(s *stage.Stage, _ string) {
			s.Endpoint.Deny("kms:CreateGrant")
			s.Endpoint.AddKey("arn:k", fakeaws.Key{State: "Enabled"})
			s.Endpoint.AddVolume(fakeaws.VolumeSpec{ID: "vol-k", Server: "lic-01", Zone: stage.Region + "a", KMSKey: "arn:k"})
		}, spec: func(s string) string { return strings.Replace(s, "vol-data-01", "vol-k", 1) }, want: "kms:CreateGrant on the key of volume data"},
		"a key that cannot be seen": {spoil: func(s *stage.Stage, _ string) {
			s.Endpoint.Deny("kms:DescribeKey")
			s.Endpoint.AddVolume(fakeaws.VolumeSpec{ID: "vol-k", Server: "lic-01", Zone: stage.Region + "a", KMSKey: "arn:k"})
		}, spec: func(s string) string { return strings.Replace(s, "vol-data-01", "vol-k", 1) }, want: "could not be looked at"},
	} {
		t.Run(name, func(t *testing.T) {
			st, id, file := sick(t)
			if x.spec != nil {
				text, _ := os.ReadFile(file)
				if err := os.WriteFile(file, []byte(x.spec(string(text))), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if x.spoil != nil {
				x.spoil(st, id)
			}
			_, r, out := examined(t, append([]string{"-f", file}, x.args...)...)
			for _, c := range r.Checks {
				if strings.Contains(c.Detail, x.want) && c.State != client.DoctorOK && c.Why != "" && c.Next != "" {
					return
				}
			}
			t.Errorf("nothing says %q with a reason and a remedy:\n%s", x.want, out)
		})
	}
}

// Changes of target groups and DNS records cannot be tried: IAM's simulator is asked about
// the server's own groups and zones. What it is not told of, or may not be asked, stays unknown.
func TestDoctorAWS_AsksIAM(t *testing.T) {
	for _, action := range []string{"elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets", "route53:ChangeResourceRecordSets"} {
		for name, x := range map[string]struct {
			spoil func(*fakeaws.Endpoint)
			check string
			state client.DoctorState
			says  string
		}{
			"denied":          {func(e *fakeaws.Endpoint) { e.Deny(action) }, "right " + action, client.DoctorFail, action + " is denied: a policy denies it: " + action + " on arn:aws:"},
			"on a condition":  {func(e *fakeaws.Endpoint) { e.TurnOn(action, "aws:ResourceTag/team") }, "rights untried", client.DoctorWarn, action + " (it turns on aws:ResourceTag/team)"},
			"not to be asked": {func(e *fakeaws.Endpoint) { e.Deny("iam:SimulatePrincipalPolicy") }, "rights untried", client.DoctorWarn, action},
		} {
			t.Run(action+" "+name, func(t *testing.T) {
				st, _, file := sick(t)
				x.spoil(st.Endpoint)
				_, r, out := examined(t, "-f", file)
				for _, c := range r.Checks {
					if c.Name == x.check && c.State == x.state && strings.Contains(c.Detail, x.says) {
						return
					}
				}
				t.Errorf("no %s says %q:\n%s", x.check, x.says, out)
			})
		}
	}
	st, _, file := sick(t)
	st.Endpoint.Deny("iam:SimulatePrincipalPolicy")
	if code, _, out := examined(t, "-f", file); code != client.ExitOK || !strings.Contains(out, "not known: elasticloadbalancing:RegisterTargets, elasticloadbalancing:DeregisterTargets, route53:ChangeResourceRecordSets (iam:SimulatePrincipalPolicy: AccessDenied)") || !strings.Contains(out, "--policy-source-arn arn:aws:iam::123456789012:role/relight --action-names elastic") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
