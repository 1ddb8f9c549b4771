package sdk_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	awsprovider "relight/internal/provider/aws"
)

// What an outage takes along, as the SDK meets it. Where the API of one zone fails, EC2
// answers nothing about what is there, nor what asks for everything; each call about the
// other zone, about what lies in none, or of a regional service is answered. Where that of
// the region fails nothing of it is answered, and Route 53 is: its control plane, which is
// all that changes names, stands in us-east-1, and fails with that.
func TestFake_Outages(t *testing.T) {
	a := newAccount(t, nil)
	a.server() // vol-01 and eni-01 in zone a
	ctx, c := t.Context(), a.cloud
	launch := func(subnet string) (string, error) { // once for its token
		return c.Launch(ctx, awsprovider.Launch{Token: "in " + subnet, Template: a.lt, Version: 1, Subnet: subnet})
	}
	inA, _ := launch("subnet-a")
	inB, err := launch("subnet-b")
	if err != nil {
		t.Fatal(err)
	}
	const region, names = "eu-west-1", "us-east-1"
	for _, call := range []struct {
		what  string
		takes []string // whose outage takes it along
		do    func() error
	}{
		{"the instances of zone a", []string{zoneA, region}, func() error { _, err := c.Instances(ctx, zoneA, nil); return err }},
		{"those of zone b", []string{zoneB, region}, func() error { _, err := c.Instances(ctx, zoneB, nil); return err }},
		{"all instances", []string{zoneA, zoneB, region}, func() error { _, err := c.Instances(ctx, "", nil); return err }},
		{"the checks of one of each", []string{zoneA, zoneB, region}, func() error { _, err := c.Checks(ctx, "", []string{inA, inB}); return err }},
		{"a launch in zone a", []string{zoneA, region}, func() error { _, err := launch("subnet-a"); return err }},
		{"a launch in zone b", []string{zoneB, region}, func() error { _, err := launch("subnet-b"); return err }},
		{"a launch where its template says", []string{zoneA, region}, func() error { _, err := launch(""); return err }},
		{"a reboot in zone b", []string{zoneB, region}, func() error { return c.Reboot(ctx, inB) }},
		{"an attach in zone a", []string{zoneA, region}, func() error { return c.AttachVolume(ctx, "vol-01", inA, "/dev/sdk") }},
		{"a tag on a volume there", []string{zoneA, region}, func() error { return c.Tag(ctx, "vol-01", map[string]string{"a": "b"}) }},
		{"an attachment of an interface there", []string{zoneA, region}, func() error { return c.DetachInterface(ctx, "eni-attach-eni-01") }},
		{"subnets", []string{region}, func() error { _, err := c.Subnet(ctx, "subnet-a"); return err }},
		{"zones", []string{region}, func() error { _, err := c.Zones(ctx); return err }},
		{"templates", []string{region}, func() error { _, err := c.TemplateUserData(ctx, a.lt, 1); return err }},
		{"snapshots", []string{region}, func() error { _, err := c.Snapshots(ctx, []string{"vol-01"}); return err }},
		{"elastic addresses", []string{region}, func() error { _, err := c.Addresses(ctx, []string{"eipalloc-01"}); return err }},
		{"a target group", []string{region}, func() error { _, err := c.Targets(ctx, a.group); return err }},
		{"whose account it is", []string{region}, func() error { _, err := c.Account(ctx); return err }},
		{"quotas", []string{region}, func() error { _, err := c.Rates(ctx); return err }},
		{"a name is read", []string{names}, func() error { _, err := c.Records(ctx, "Z1", []string{"a.example.com"}); return err }},
		{"a name is changed", []string{names}, func() error { return c.SetRecord(ctx, "Z1", "a.example.com", "192.0.2.1", time.Minute) }},
	} {
		for _, broken := range []string{zoneA, zoneB, region, names} {
			a.locked(func() { a.w.BreakAPI(broken) })
			err := call.do()
			a.locked(func() { a.w.MendAPI(broken) })
			e := new(awsprovider.APIError)
			silent := errors.As(err, &e) && (e.Code == "Unavailable" || e.Code == "ServiceUnavailable")
			if want := slices.Contains(call.takes, broken); silent != want {
				t.Errorf("the API of %q fails: %s: %v", broken, call.what, err)
			}
		}
	}
}
