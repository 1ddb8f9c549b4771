package sdk_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/aws/fakeaws"
)

// wide is a server with two more interfaces, each with private addresses of both
// families, and elastic addresses that lead to their secondary ones; and a name with a
// record of each family.
func (a *account) wide() fleet.Server {
	s := a.server()
	id := &s.Spec.Identity
	for n := 1; n <= 2; n++ {
		eni := fmt.Sprintf("eni-wide-%d", n)
		ips := []string{fmt.Sprintf("10.0.1.%d", 100+10*n), fmt.Sprintf("10.0.1.%d", 101+10*n), fmt.Sprintf("2001:db8:1:1::%d", n)}
		a.fake.AddInterface(eni, s.Name, "subnet-a", fmt.Sprintf("0a:bb:00:00:00:%02x", n), ips...)
		alloc, ip := fmt.Sprintf("eipalloc-wide-%d", n), fmt.Sprintf("198.51.100.%d", 100+n)
		a.fake.AddAddress(alloc, ip, s.Name)
		id.Interfaces = append(id.Interfaces, fleet.Interface{ID: eni, Index: n + 1, Addresses: ips})
		id.Addresses = append(id.Addresses, fleet.Address{IP: ip, Allocation: alloc, Interface: eni, Private: ips[1]})
	}
	id.Interfaces = id.Interfaces[1:] // without the one that has no IPv6 address
	id.Names[0].IPv6 = true
	return s
}

// given gives an epoch all that it is known by.
func (a *account) given(s fleet.Server, x *steps, epoch fleet.Epoch) {
	a.t.Helper()
	if err := x.at(epoch)(fleet.StepLaunch, fleet.Object{}); err != nil {
		a.t.Fatal(err)
	}
	a.locked(func() { a.w.Advance(10 * time.Second) })
	objects := []fleet.Object{{Volume: "data"}}
	for _, n := range s.Spec.Identity.Interfaces {
		objects = append(objects, fleet.Object{Interface: n.ID})
	}
	for _, e := range s.Spec.Identity.Addresses {
		objects = append(objects, fleet.Object{Address: e.IP})
	}
	for _, o := range append(objects, fleet.Object{Name: s.Spec.Identity.Names[0].Name}) {
		if err := x.at(epoch)(fleet.StepAttach, o); err != nil {
			a.t.Fatalf("%s: %v", o, err)
		}
	}
	a.locked(func() { a.w.Advance(10 * time.Second) })
}

// has are the elastic addresses and names that a look shows in the hands of an epoch.
func (a *account) has(s fleet.Server, epoch fleet.Epoch) string {
	a.t.Helper()
	sweep, err := a.p.Observe(a.t.Context(), []fleet.Server{s})
	if err != nil {
		a.t.Fatal(err)
	}
	var out []string
	for _, x := range sweep.Servers[0].Observed.Addresses {
		if x.Holder == epoch {
			out = append(out, x.IP)
		}
	}
	for _, x := range sweep.Servers[0].Observed.Others {
		if x.Object.Name != "" && x.Holder == epoch {
			out = append(out, x.Object.Name)
		}
	}
	return strings.Join(out, " ")
}

// Each elastic address leads to the private address that it is declared for, of whichever
// interface, from one epoch to the next; one that was led elsewhere is not what is
// declared, and is put back.
func TestAH_EIP_OnEveryInterface(t *testing.T) {
	a := newAccount(t, nil)
	s := a.wide()
	x := a.steps(s)
	a.given(s, x, 1)
	const all = "198.51.100.1 198.51.100.101 198.51.100.102 lic-01.example.com"
	if got := a.has(s, 1); got != all {
		t.Errorf("epoch 1 has %s", got)
	}
	x.proof = x.end(1)
	a.locked(func() { a.w.Advance(time.Minute) })
	if got := a.has(s, 1); got != "" {
		t.Errorf("epoch 1 has ended, and has %s", got)
	}
	a.given(s, x, 2)
	if got := a.has(s, 2); got != all {
		t.Errorf("epoch 2 has %s", got)
	}
	led := func() (out []string) {
		got, err := a.cloud.Addresses(t.Context(), []string{"eipalloc-wide-1", "eipalloc-wide-2"})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got {
			out = append(out, e.Interface+" "+e.Private)
		}
		return out
	}
	want := []string{"eni-wide-1 10.0.1.111", "eni-wide-2 10.0.1.121"}
	if got := led(); !slices.Equal(got, want) {
		t.Errorf("they lead to %v", got)
	}
	for _, elsewhere := range []struct{ iface, private string }{{"eni-wide-1", "10.0.1.110"}, {"eni-wide-2", ""}} {
		if err := a.cloud.Associate(t.Context(), "eipalloc-wide-1", elsewhere.iface, elsewhere.private, true); err != nil {
			t.Fatal(err)
		}
		if got := a.has(s, 2); got != strings.Replace(all, "198.51.100.101 ", "", 1) {
			t.Errorf("led to %v it counts as in its place: %s", elsewhere, got)
		}
		if err := x.at(2)(fleet.StepAttach, fleet.Object{Address: "198.51.100.101"}); err != nil {
			t.Error(err)
		}
		if got := led(); !slices.Equal(got, want) {
			t.Errorf("put back, they lead to %v", got)
		}
	}
}

// What EC2 refuses of an elastic address: a private address that the interface does not
// have, and one that another elastic address leads to, which is not taken from it.
func TestAH_EIP_PrivateAddressIsRefused(t *testing.T) {
	a := newAccount(t, nil)
	s := a.wide()
	s.Spec.Identity.Addresses[1].Private = "10.0.1.99"
	x := a.steps(s)
	if err := x.at(1)(fleet.StepLaunch, fleet.Object{}); err != nil {
		t.Fatal(err)
	}
	a.locked(func() { a.w.Advance(10 * time.Second) })
	err := x.at(1)(fleet.StepAttach, fleet.Object{Address: "198.51.100.101"})
	if class, _ := provider.ClassOf(err); class != provider.Permanent || !strings.Contains(fmt.Sprint(err), "InvalidParameterValue") {
		t.Errorf("class %s: %v", class, err)
	}
	a.fake.AddAddress("eipalloc-x", "198.51.100.200", "somebody")
	if err := a.cloud.Associate(t.Context(), "eipalloc-x", "eni-wide-2", "10.0.1.121", false); err != nil {
		t.Fatal(err)
	}
	err = x.at(1)(fleet.StepAttach, fleet.Object{Address: "198.51.100.102"})
	if class, _ := provider.ClassOf(err); class == "" || !strings.Contains(fmt.Sprint(err), "Resource.AlreadyAssociated") {
		t.Errorf("class %s: %v", class, err)
	}
	if got, err := a.cloud.Addresses(t.Context(), []string{"eipalloc-x"}); err != nil || got[0].Private != "10.0.1.121" {
		t.Errorf("the other address leads to %+v, %v", got, err)
	}
}

// A name has a record of each family, and each is put right by itself; where others have a
// part in the one of IPv6 neither that is overwritten.
func TestAH_EIP_NameOfBothFamilies(t *testing.T) {
	a := newAccount(t, nil)
	s := a.wide()
	x := a.steps(s)
	a.given(s, x, 1)
	name := s.Spec.Identity.Names[0].Name
	for family, want := range map[string]string{"": "198.51.100.1", " AAAA": "2001:db8:1:1::1"} {
		if got, _, _ := a.w.Resolve(name + family); got != want {
			t.Errorf("%s leads to %q", name+family, got)
		}
	}
	if err := a.cloud.SetRecord(t.Context(), "Z1", name, "2001:db8::bad", time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := a.has(s, 1); strings.Contains(got, name) {
		t.Error("with a wrong AAAA record the name counts as in its place")
	}
	before := a.done("POST /2013-04-01/hostedzone/Z1/rrset")
	if err := x.at(1)(fleet.StepAttach, fleet.Object{Name: name}); err != nil {
		t.Fatal(err)
	}
	if n := a.done("POST /2013-04-01/hostedzone/Z1/rrset") - before; n != 1 || !strings.Contains(a.has(s, 1), name) {
		t.Errorf("%d changes put it right: %s", n, a.has(s, 1))
	}
	change := func(kind types.RRType, values ...string) error {
		set := &types.ResourceRecordSet{Name: aws.String(name), Type: kind, TTL: aws.Int64(60)}
		for _, v := range values {
			set.ResourceRecords = append(set.ResourceRecords, types.ResourceRecord{Value: aws.String(v)})
		}
		_, err := route53.NewFromConfig(a.cfg).ChangeResourceRecordSets(t.Context(), &route53.ChangeResourceRecordSetsInput{
			HostedZoneId: aws.String("Z1"), ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{Action: types.ChangeActionUpsert, ResourceRecordSet: set}}},
		})
		return err
	}
	if err := change(types.RRTypeAaaa, "192.0.2.1"); err == nil || !strings.Contains(err.Error(), "InvalidChangeBatch") {
		t.Errorf("an AAAA record of IPv4: %v", err)
	}
	if err := change(types.RRTypeA, "2001:db8::1"); err == nil || !strings.Contains(err.Error(), "InvalidChangeBatch") {
		t.Errorf("an A record of IPv6: %v", err)
	}
	if err := change(types.RRTypeAaaa, "2001:db8::1", "2001:db8::2"); err != nil {
		t.Fatal(err)
	}
	err := x.at(1)(fleet.StepAttach, fleet.Object{Name: name})
	if class, _ := provider.ClassOf(err); class != provider.Permanent || !strings.Contains(fmt.Sprint(err), "it has 2 values") {
		t.Errorf("class %s: %v", class, err)
	}
	// An interface without an IPv6 address is said, with what helps.
	x.s.Spec.Identity.Interfaces = []fleet.Interface{{ID: "eni-01", Index: 1}}
	if err := x.at(1)(fleet.StepAttach, fleet.Object{Name: name}); err == nil || !strings.Contains(err.Error(), "assign-ipv6-addresses") {
		t.Errorf("%v", err)
	}
}

// In another zone an interface is made with as many addresses of each family, and the
// elastic address leads to the one at the same place; a subnet without IPv6 is refused.
func TestAH_EIP_SecondaryAddressesElsewhere(t *testing.T) {
	a := newAccount(t, nil)
	s := a.wide()
	s.Spec.Identity.Volumes = nil
	s.Spec.Identity.Interfaces = []fleet.Interface{{ID: "eni-wide-1", NewAddress: true, Addresses: s.Spec.Identity.Interfaces[0].Addresses}}
	s.Spec.Identity.Addresses = s.Spec.Identity.Addresses[1:2]
	x := a.steps(s)
	launch := func(epoch fleet.Epoch) error { return x.at(epoch)(fleet.StepLaunch, fleet.Object{}) }
	if err := launch(1); err != nil {
		t.Fatal(err)
	}
	a.locked(func() { a.w.Advance(10 * time.Second) })
	object := fleet.Object{Address: s.Spec.Identity.Addresses[0].IP}
	if err := x.at(1)(fleet.StepAttach, object); err != nil {
		t.Fatal(err)
	}
	x.proof = x.end(1)
	a.locked(func() { a.w.Advance(time.Minute) })
	x.s.Away = &fleet.Away{Zone: zoneB, Subnet: "subnet-b", Declared: "subnet-a", Epoch: 2, Interfaces: []fleet.Swap{{Declared: "eni-wide-1", Of: "eni-wide-1", Was: s.Spec.Identity.Interfaces[0].Addresses, Token: "t-swap"}}}
	if err := launch(2); err == nil || !strings.Contains(err.Error(), "no IPv6 CIDR block") {
		t.Errorf("a subnet without IPv6: %v", err)
	}
	a.fake.AddSubnet(fakeaws.Subnet{ID: "subnet-b", VPC: "vpc-1", Zone: zoneB, CIDR: "10.0.2.0/24", Prefix6: "2001:db8:1:2::"})
	if err := launch(2); err != nil {
		t.Fatal(err)
	}
	a.locked(func() { a.w.Advance(10 * time.Second) })
	made, err := a.cloud.InterfaceByToken(t.Context(), "t-swap")
	if err != nil || made == nil || len(made.Addresses) != 3 || !strings.HasPrefix(made.Addresses[2], "2001:db8:1:2::") {
		t.Fatalf("made %+v, %v", made, err)
	}
	x.s.Away.Interfaces[0].ID, x.s.Away.Interfaces[0].Now = made.ID, made.Addresses
	if err := x.at(2)(fleet.StepAttach, object); err != nil {
		t.Fatal(err)
	}
	got, err := a.cloud.Addresses(t.Context(), []string{s.Spec.Identity.Addresses[0].Allocation})
	if err != nil || got[0].Interface != made.ID || got[0].Private != made.Addresses[1] {
		t.Errorf("it leads to %+v, %v; want %s", got, err, made.Addresses[1])
	}
}
