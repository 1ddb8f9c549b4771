package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider/aws"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/provider/aws/sdk"
	"relight/internal/provider/aws/stage"
	"relight/internal/world"
)

func arnOf(outpost string) string {
	return "arn:aws:outposts:" + stage.Region + ":" + stage.Account + ":outpost/" + outpost
}

// tills is an account with two Outposts of three machines each, and the file of a server
// that runs on the first and may go to the second.
func tills(t *testing.T) (*stage.Stage, string) {
	t.Helper()
	st, _ := account(t)
	st.Endpoint.SetQuota("L-1216C47A", 64)
	for n, outpost := range []string{"op-1", "op-2"} {
		st.Do(func(w *world.World) {
			w.AddSite(world.Site{Name: outpost, Kind: fleet.SiteOutpost, Parent: stage.Region})
			for k := range 3 {
				w.AddHost(world.Host{Name: fmt.Sprintf("%s-host-%d", outpost, k), Parent: outpost, Units: 1})
			}
		})
		st.Endpoint.AddSubnet(fakeaws.Subnet{ID: "subnet-" + outpost, VPC: "vpc-1", Zone: stage.Region + "a", Site: outpost, CIDR: fmt.Sprintf("10.0.%d.0/24", 20+n), OutpostARN: arnOf(outpost)})
	}
	fill(t, st, "till", "subnet-op-1")
	file := filepath.Join(t.TempDir(), "till.yaml")
	text := fmt.Sprintf(`apiVersion: relight/v1alpha1
kind: Server
metadata: {name: till}
spec:
  identity: {groups: [{id: "%s"}]}
  template:
    ec2: {launchTemplate: %s, version: 1, subnet: subnet-op-1, elsewhere: {after: 1m, zones: [{zone: %sa, subnet: subnet-op-2, outpost: "%s"}]}}
`, st.Group, st.Template, stage.Region, arnOf("op-2"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return st, file
}

// fill launches one more instance in a subnet.
func fill(t *testing.T, st *stage.Stage, server, subnet string) {
	t.Helper()
	cloud, err := sdk.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	id, err := cloud.Launch(t.Context(), aws.Launch{Token: server, Template: st.Template, Version: 1, Subnet: subnet, NoAutoRecovery: true, Tags: map[string]string{aws.TagServer: server, aws.TagEpoch: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	succeeds(t, func() error { return cloud.Register(t.Context(), st.Group, []aws.Target{{ID: id}}) })
}

// An Outpost tells what is free: as long as one of the server's two takes one more of it all
// is well, and when both are full there is nowhere to start it. Who may not ask is told so.
func TestDoctorAWS_RoomOfOutposts(t *testing.T) {
	st, file := tills(t)
	says := func(exit client.Exit, state client.DoctorState, want ...string) {
		t.Helper()
		code, r, out := examined(t, "-f", file)
		found := 0
		for _, c := range r.Checks {
			if c.Name == "server till" && c.State == state && strings.Contains(c.Detail, want[found]) && strings.Contains(c.Next+"nothing", "list-assets") == (state != client.DoctorOK) {
				if found++; found == len(want) {
					break
				}
			}
		}
		if code != exit || found != len(want) {
			t.Errorf("exit %d, %d of %q:\n%s", code, found, want, out)
		}
	}
	says(client.ExitOK, client.DoctorOK, "nothing stands in the way")
	for n, outpost := range []string{"op-1", "op-1", "op-2", "op-2"} {
		fill(t, st, fmt.Sprintf("other-%d", n), "subnet-"+outpost)
	}
	says(client.ExitOK, client.DoctorOK, "nothing stands in the way") // op-2 has one slot left
	st.Do(func(w *world.World) { _ = w.KillHost("op-2-host-2") })
	says(client.ExitFailed, client.DoctorFail, "the outpost "+arnOf("op-1")+" has no free slot for m7i.large", "the outpost "+arnOf("op-2")+" has no free slot")
	st.Endpoint.Deny("outposts:ListAssetInstances")
	says(client.ExitOK, client.DoctorWarn, "it needs room on the outpost "+arnOf("op-1"), "it needs room on the outpost "+arnOf("op-2"))
	if _, _, out := examined(t, "-f", file); !strings.Contains(out, "AccessDeniedException") {
		t.Errorf("nobody says why:\n%s", out)
	}
}
