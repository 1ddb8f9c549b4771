package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/provider/aws/stage"
	"relight/internal/world"
)

// movable is the sick account's server, allowed to be started in zone b.
func movable(t *testing.T) (*stage.Stage, string) {
	t.Helper()
	st, _, file := sick(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	there := strings.NewReplacer(
		"id: vol-data-01}", "id: vol-data-01, fromSnapshot: {maxLoss: 24h}}", "    interfaces: [{id: eni-01, index: 1}]\n", "",
		"types: [m6i.large]}", "types: [m6i.large], elsewhere: {zones: [{zone: "+stage.Region+"b, subnet: subnet-b}]}}",
	).Replace(string(text))
	if err := os.WriteFile(file, []byte(there), 0o600); err != nil {
		t.Fatal(err)
	}
	return st, file
}

// snapped takes a snapshot of the server's volume and waits until it is complete.
func snapped(t *testing.T, st *stage.Stage) {
	t.Helper()
	st.Do(func(w *world.World) {
		if _, err := w.TakeSnapshot("vol-data-01", "snap-1"); err != nil {
			t.Fatal(err)
		}
	})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		complete := false
		st.Do(func(w *world.World) {
			for _, s := range w.Snapshots() {
				complete = complete || !s.Completed.IsZero()
			}
		})
		if complete {
			return
		}
		<-tick.C
	}
	t.Fatal("the snapshot is never complete")
}

// A server that may be started in another zone needs more rights than others: each is
// tried, and one that is missing is told with what fails for want of it.
func TestDoctorAWS_AnotherZone(t *testing.T) {
	st, file := movable(t)
	snapped(t, st)
	if code, r, out := examined(t, "-f", file); code != client.ExitOK || len(r.Checks) == 0 {
		t.Errorf("all is well, and it exits with %d: %s", code, out)
	}
	tried := map[string]bool{}
	for _, e := range st.Endpoint.Ledger() {
		if e.Code == "DryRunOperation" {
			tried[e.Action+" "+e.Form.Get("AvailabilityZone")+e.Form.Get("SnapshotId")+e.Form.Get("SubnetId")] = true
		}
	}
	for _, want := range []string{"DescribeSnapshots ", "CreateVolume " + stage.Region + "b", "RunInstances subnet-b"} {
		found := false
		for got := range tried { // order: any of them
			found = found || strings.HasPrefix(got, want)
		}
		if !found {
			t.Errorf("%s was not tried: %v", want, tried)
		}
	}
	for _, action := range []string{"ec2:CreateVolume", "ec2:DescribeSnapshots"} {
		st.Endpoint.Deny(action)
		code, r, out := examined(t, "-f", file)
		found := false
		for _, c := range r.Checks {
			found = found || c.State == client.DoctorFail && c.Name == "right "+action && strings.Contains(c.Detail, action+" is denied") &&
				strings.Contains(c.Why, "lic-01 could not be started in "+stage.Region+"b") && strings.Contains(c.Next, "add "+action+" to the policy of arn:")
		}
		if !found || code == client.ExitOK {
			t.Errorf("%s: exit %d: %s", action, code, out)
		}
		st.Endpoint.Allow(action)
	}
}

// Without a snapshot a start in another zone is only words.
func TestDoctorAWS_NoSnapshot(t *testing.T) {
	_, file := movable(t)
	code, r, out := examined(t, "-f", file)
	for _, c := range r.Checks {
		if c.State == client.DoctorFail && strings.Contains(c.Detail, "volume data (vol-data-01) has no complete snapshot") && strings.Contains(c.Next, "create-snapshot --volume-id vol-data-01") {
			return
		}
	}
	t.Errorf("exit %d: %s", code, out)
}

// A server that stays in its zone is asked for no rights that only a move needs.
func TestDoctorAWS_OwnZoneNeedsNoCopies(t *testing.T) {
	st, _, file := sick(t)
	st.Endpoint.Deny("ec2:CreateVolume")
	st.Endpoint.Deny("ec2:DescribeSnapshots")
	if code, _, out := examined(t, "-f", file); code != client.ExitOK {
		t.Errorf("exit %d: %s", code, out)
	}
}

// Everything that a start in another zone calls, and a detach by force, is tried on what
// it would be done to; where it is denied, that is told with the server that waits for it.
func TestDoctorAWS_RightsOfAMove(t *testing.T) {
	for action, x := range map[string]struct {
		spec       []string // pairs for a replacer
		tried, why string
	}{
		"ec2:DescribeAvailabilityZones": {nil, "DescribeAvailabilityZones", "that the zone of lic-01 is lost would not be heard"},
		"ec2:CreateNetworkInterface": {
			[]string{"addresses:", "interfaces: [{id: eni-01, index: 1, newAddress: true}]\n    addresses:"},
			"CreateNetworkInterface subnet-b sg-default", "lic-01 could not be started in " + stage.Region + "b",
		},
		"ec2:DescribeSubnets": {
			[]string{
				"    volumes: [{name: data, id: vol-data-01, fromSnapshot: {maxLoss: 24h}}]\n", "",
				"subnet: subnet-b}", `subnet: subnet-b, outpost: "arn:aws:outposts:eu-west-1:123456789012:outpost/op-0f"}`,
			}, "DescribeSubnets", "lic-01 could not be started in op-0f",
		},
		"ec2:DetachVolume": {
			[]string{"fromSnapshot: {maxLoss: 24h}", "fromSnapshot: {maxLoss: 24h}, mount: {path: /data, type: xfs}, forceDetach: {after: 10m}"},
			"DetachVolume vol-data-01 true", "volume data of lic-01 could not be taken by force (forceDetach)",
		},
	} {
		st, file := movable(t)
		snapped(t, st)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.NewReplacer(x.spec...).Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, out := examined(t, "-f", file); code != client.ExitOK {
			t.Errorf("%s: all is well, and it exits with %d: %s", action, code, out)
		}
		tried := []string{}
		for _, e := range st.Endpoint.Ledger() {
			if e.Code == "DryRunOperation" {
				tried = append(tried, strings.Join(strings.Fields(strings.Join([]string{e.Action, e.Form.Get("SubnetId"), e.Form.Get("SecurityGroupId.1"), e.Form.Get("VolumeId"), e.Form.Get("Force")}, " ")), " "))
			}
		}
		if !slices.Contains(tried, x.tried) {
			t.Errorf("%s was not tried as %q: %q", action, x.tried, tried)
		}
		st.Endpoint.Deny(action)
		code, r, out := examined(t, "-f", file)
		found := slices.ContainsFunc(r.Checks, func(c client.DoctorCheck) bool {
			return c.State == client.DoctorFail && c.Name == "right "+action && strings.Contains(c.Why, x.why) && strings.Contains(c.Next, "add "+action+" to the policy of arn:")
		})
		if !found || code == client.ExitOK {
			t.Errorf("%s: exit %d: %s", action, code, out)
		}
	}
}

// An interface that waits in the other zone is made by nobody, and a volume that is never
// taken by force is tried the ordinary way alone.
func TestDoctorAWS_NoMoreThanNeeded(t *testing.T) {
	st, file := movable(t)
	snapped(t, st)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	st.Endpoint.AddInterface("eni-b1", "lic-01", "subnet-b", "0a:ff:00:00:01:01", "10.0.2.77")
	there := strings.NewReplacer("addresses:", "interfaces: [{id: eni-01, index: 0, newAddress: true}]\n    addresses:",
		"subnet: subnet-b}", "subnet: subnet-b, interfaces: [{instead: eni-01, id: eni-b1}]}").Replace(string(text))
	if err := os.WriteFile(file, []byte(there), 0o600); err != nil {
		t.Fatal(err)
	}
	st.Endpoint.Deny("ec2:CreateNetworkInterface")
	if code, _, out := examined(t, "-f", file); code != client.ExitOK {
		t.Errorf("exit %d: %s", code, out)
	}
	waits := false
	for _, e := range st.Endpoint.Ledger() {
		if e.Form.Get("Force") != "" {
			t.Errorf("%s was tried by force", e.Action)
		}
		waits = waits || e.Action == "RunInstances" && e.Code == "DryRunOperation" && e.Form.Get("NetworkInterface.1.NetworkInterfaceId") == "eni-b1"
	}
	if !waits {
		t.Error("the launch was not tried with the interface that waits there")
	}
}
