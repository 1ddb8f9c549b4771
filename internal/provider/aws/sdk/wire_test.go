package sdk_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/provider/aws/sdk"
	"relight/internal/provider/providertest"
	"relight/internal/world"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// account is an endpoint with its world, reached over the wire by the real SDK.
type account struct {
	t     *testing.T
	w     *world.World
	fake  *fakeaws.Endpoint
	cloud *sdk.Client
	p     *awsprovider.Provider
	lt    string
	group string
	made  int
	cfg   aws.Config
	// events is the path of the queue that wakes the provider, if one does.
	events string
	// forgives tells of violations that are a person's doing; nil if none is.
	forgives func(world.Violation) bool
}

const zoneA, zoneB = "eu-west-1a", "eu-west-1b"

// newAccount makes two zones with two subnets, a machine type and an image, and a
// launch template. change may alter the world's configuration first.
func newAccount(t *testing.T, change func(*world.Config)) *account {
	t.Helper()
	a := offlineAccount(t, world.NewVirtual(start), change)
	srv := httptest.NewServer(a.fake)
	t.Cleanup(srv.Close)
	a.connect(srv.URL, srv.Client())
	return a
}

// connect points the SDK at the endpoint.
func (a *account) connect(url string, client *http.Client) {
	a.cfg = aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(url), HTTPClient: client,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
	}
	a.cloud = sdk.New(a.cfg)
	a.p = awsprovider.New(awsprovider.Options{Cloud: a.cloud, Region: "eu-west-1", Now: a.now})
}

// offlineAccount is one that nothing is connected to yet.
func offlineAccount(t *testing.T, clock world.Clock, change func(*world.Config)) *account {
	t.Helper()
	cfg := world.Config{Clock: clock, Rand: rand.New(rand.NewPCG(1, 2))}
	if change != nil {
		change(&cfg)
	}
	a := &account{t: t, w: world.New(cfg)}
	a.w.AddSite(world.Site{Name: "eu-west-1", Kind: fleet.SiteRegion})
	for _, z := range []string{zoneA, zoneB} {
		a.w.AddSite(world.Site{Name: z, Kind: fleet.SiteZone, Parent: "eu-west-1"})
		for n := range 3 {
			a.w.AddHost(world.Host{Name: fmt.Sprintf("%s-host-%d", z, n), Parent: z, Units: 100})
		}
	}
	a.fake = fakeaws.New(fakeaws.Options{World: a.w, Account: "123456789012", Region: "eu-west-1"})
	a.fake.AddSubnet(fakeaws.Subnet{ID: "subnet-a", VPC: "vpc-1", Zone: zoneA, CIDR: "10.0.1.0/24"})
	a.fake.AddSubnet(fakeaws.Subnet{ID: "subnet-b", VPC: "vpc-1", Zone: zoneB, CIDR: "10.0.2.0/24"})
	a.fake.AddImage(fakeaws.Image{ID: "ami-1", RootDevice: "/dev/xvda", RootGiB: 8})
	a.fake.AddType(fakeaws.InstanceType{Name: "m7i.large", CPUs: 2, MiB: 8192, AutoRecovery: true})
	a.fake.AddType(fakeaws.InstanceType{Name: "m6i.large", CPUs: 2, MiB: 8192, AutoRecovery: true})
	a.lt = a.fake.AddTemplate("lic", fakeaws.Template{Image: "ami-1", Type: "m7i.large", Subnet: "subnet-a", Profile: "arn:aws:iam::123456789012:instance-profile/lic"})
	a.group = a.fake.AddGroup(world.Group{Name: "lic", Every: time.Second}, 27000)
	a.fake.AddZone("Z1", "example.com.")
	t.Cleanup(func() {
		forgiven := func(v world.Violation) bool { return a.forgives != nil && a.forgives(v) }
		if v := slices.DeleteFunc(slices.Clone(a.w.Check()), forgiven); len(v) > 0 {
			t.Errorf("violations: %v", v)
		}
	})
	return a
}

// server declares a server with one volume, one elastic address, a second interface,
// a place in a target group and a name.
func (a *account) server() fleet.Server {
	a.made++
	name := fmt.Sprintf("lic-%02d", a.made)
	vol, eip, ip, eni := fmt.Sprintf("vol-%02d", a.made), fmt.Sprintf("eipalloc-%02d", a.made), fmt.Sprintf("198.51.100.%d", a.made), fmt.Sprintf("eni-%02d", a.made)
	a.fake.AddVolume(fakeaws.VolumeSpec{ID: vol, Server: name, Zone: zoneA})
	a.fake.AddAddress(eip, ip, name)
	a.fake.AddInterface(eni, name, "subnet-a", fmt.Sprintf("0a:ff:00:00:00:%02x", a.made), fmt.Sprintf("10.0.1.%d", 200+a.made))
	s := fleet.Server{Name: name}
	s.Spec.Provider = awsprovider.Name
	s.Spec.Fence = fleet.FenceStorage
	s.Spec.Placement.Units = 1
	s.Spec.Template.EC2 = &fleet.EC2Template{LaunchTemplate: a.lt, Version: 1, Subnet: "subnet-a", Types: []string{"m6i.large"}, AutoRecovery: fleet.AutoRecoveryOurs}
	s.Spec.Identity = fleet.Identity{
		Volumes:    []fleet.Volume{{Name: "data", ID: vol, Reach: fleet.ReachZone}},
		Addresses:  []fleet.Address{{IP: ip, Allocation: eip}},
		Interfaces: []fleet.Interface{{ID: eni, Index: 1}},
		Groups:     []fleet.Group{{ID: a.group}},
		Names:      []fleet.DNSName{{Name: name + ".example.com", Zone: "Z1", TTL: fleet.Duration(time.Minute)}},
	}
	return s
}

func (a *account) harness() providertest.Harness {
	return providertest.Harness{
		Provider: a.p,
		Server:   a.server,
		Now:      a.now,
		Eventually: func(cond func() bool) bool {
			for range 200 {
				if a.heard(); cond() {
					return true
				}
				a.locked(func() { a.w.Advance(time.Second) })
			}
			return false
		},
		Running: func(server string) (out map[fleet.Epoch]int) {
			a.locked(func() { out = a.w.Running(server) })
			return out
		},
		Holders: func(s fleet.Server, volume string) (out []fleet.Epoch) {
			a.locked(func() {
				for _, v := range s.Spec.Identity.Volumes {
					if i := a.w.Instance(a.w.Volume(v.ID).Holder); v.Name == volume && i != nil {
						out = append(out, i.Epoch)
					}
				}
			})
			return out
		},
		Kill: func(server string, epoch fleet.Epoch) {
			a.locked(func() { _ = a.w.Kill(a.w.Find(server, epoch)) })
		},
		Cut:  func(zone string) { a.cutZone(zone, world.Cut{Control: true}) },
		Mend: func(zone string) { a.cutZone(zone, world.Cut{}) },
		Fill: func(s fleet.Server) {
			a.locked(func() {
				for _, kind := range []string{"m7i.large", "m6i.large"} {
					a.w.SetCapacity(zoneA, kind, 0, false)
				}
			})
		},
		Unmount: func(s fleet.Server, _ string, epoch fleet.Epoch) {
			a.locked(func() { a.w.Unmount(s.Spec.Identity.Volumes[0].ID, a.w.Find(s.Name, epoch)) })
		},
		BreakApp: func(server string, epoch fleet.Epoch) {
			a.locked(func() { a.w.SetApp(a.w.Find(server, epoch), world.AppFails) })
		},
		AppWorks: func(server string, epoch fleet.Epoch) (works bool) {
			a.locked(func() { i := a.w.Find(server, epoch); works = i != nil && i.App == world.AppOK })
			return works
		},
	}
}

// woken has the provider woken by a queue that EventBridge sends instances' states to.
func (a *account) woken() *account {
	a.events = a.fake.AddQueue("events")
	a.fake.SendStates(a.events)
	w := awsprovider.NewWaker(func(id string) (string, bool) { return a.p.ServerOf(id) }, provider.WallClock{}, slog.New(slog.DiscardHandler))
	a.p = awsprovider.New(awsprovider.Options{Cloud: a.cloud, Region: "eu-west-1", Now: a.now, Wakes: w.C()})
	ctx, cancel := context.WithCancel(context.Background())
	var polls sync.WaitGroup
	polls.Go(func() { w.Poll(ctx, a.cloud.Queue("https://sqs.eu-west-1.amazonaws.com"+a.events)) })
	a.t.Cleanup(func() { cancel(); polls.Wait() })
	return a
}

// heard waits until all that was sent to the queue has been taken from it: the world's
// time and the wire's are not the same.
func (a *account) heard() {
	if a.events == "" {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); a.fake.Queued(a.events) > 0 && time.Now().Before(deadline); {
		<-tick.C
	}
}

// cutZone cuts the links of a zone's hardware, or mends them.
func (a *account) cutZone(zone string, c world.Cut) {
	a.locked(func() {
		for n := range 3 {
			if err := a.w.CutHost(fmt.Sprintf("%s-host-%d", zone, n), c); err != nil {
				a.t.Error(err)
			}
		}
	})
}

func (a *account) now() (at time.Time) {
	a.locked(func() { at = a.w.Now() })
	return at
}

func (a *account) locked(do func()) {
	a.w.Lock()
	defer a.w.Unlock()
	do()
}

func TestSuite(t *testing.T) {
	for name, change := range map[string]func(*world.Config){
		"at once": nil,
		"slow": func(c *world.Config) {
			s := world.Span{Min: 500 * time.Millisecond, Max: 3 * time.Second}
			c.Delays = world.Delays{Start: s, App: s, Stop: s, Terminate: s, Attach: s, Detach: s}
		},
	} {
		t.Run(name, func(t *testing.T) {
			providertest.Run(t, func(t *testing.T) providertest.Harness { return newAccount(t, change).woken().harness() })
		})
	}
}

// up brings up the first epoch with its whole identity.
func (a *account) up(s fleet.Server, epoch fleet.Epoch, do func(fleet.StepKind, fleet.Object) error) {
	a.t.Helper()
	objects := []fleet.Object{{Volume: "data"}, {Interface: s.Spec.Identity.Interfaces[0].ID}, {Address: s.Spec.Identity.Addresses[0].IP}, {Group: a.group}, {Name: s.Spec.Identity.Names[0].Name}}
	if err := do(fleet.StepLaunch, fleet.Object{}); err != nil {
		a.t.Fatal(err)
	}
	a.locked(func() { a.w.Advance(10 * time.Second) })
	for _, o := range objects {
		if err := do(fleet.StepAttach, o); err != nil {
			a.t.Fatalf("%s: %v", o, err)
		}
	}
	a.locked(func() { a.w.Advance(10 * time.Second) })
}

// TestIdentityMoves brings a server with everything that it is known by from one
// epoch to the next.
func TestIdentityMoves(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	steps := a.steps(s)
	a.up(s, 1, steps.at(1))
	a.holdsAll(s, 1)
	proof := steps.end(1)
	steps.proof = proof
	a.up(s, 2, steps.at(2))
	a.holdsAll(s, 2)
	members, _ := a.w.Members("lic")
	var serving []string
	for _, m := range members {
		if m.State != world.MemberDraining {
			serving = append(serving, m.Instance)
		}
	}
	if want := []string{a.w.Find(s.Name, 2).ID}; !slices.Equal(serving, want) {
		t.Errorf("the target group serves %v, want %v", serving, want)
	}
}

// A server that serves in its target group on ports of its own has its place once it is
// there on all of them; the older one is out of each before, also of one that a person
// registered: a load balancer takes a target out only of the port that is named.
func TestAH_ELB_Ports(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	s.Spec.Identity.Groups[0].Ports = []int{8080, 8443}
	steps := a.steps(s)
	a.up(s, 1, steps.at(1))
	a.holdsAll(s, 1)
	old := a.w.Find(s.Name, 1)
	a.locked(func() {
		if err := a.w.RegisterOn("lic", old, 9000); err != nil { // by hand
			t.Error(err)
		}
	})
	steps.proof = steps.end(1)
	a.up(s, 2, steps.at(2))
	a.holdsAll(s, 2)
	serving := func() (ports []int) {
		members, _ := a.w.Members("lic")
		for _, m := range members {
			if m.State == world.MemberDraining {
				continue
			}
			if m.Instance != a.w.Find(s.Name, 2).ID {
				t.Errorf("the old epoch serves on port %d", m.Port)
			}
			ports = append(ports, m.Port)
		}
		return ports
	}
	if got := serving(); !slices.Equal(got, []int{8080, 8443}) {
		t.Errorf("it serves on %v", got)
	}

	// With one of them gone, its place is no longer whole: what is missing is put back.
	a.locked(func() {
		if err := a.w.DeregisterFrom("lic", a.w.Find(s.Name, 2), 8443); err != nil {
			t.Error(err)
		}
	})
	sweep, err := a.p.Observe(t.Context(), []fleet.Server{s})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range sweep.Servers[0].Observed.Others {
		if o.Object.Group != "" && o.Holder == 2 {
			t.Error("on one of its two ports it counts as placed")
		}
	}
	if err := steps.at(2)(fleet.StepAttach, fleet.Object{Group: a.group}); err != nil {
		t.Fatal(err)
	}
	if got := serving(); !slices.Equal(got, []int{8080, 8443}) {
		t.Errorf("it serves on %v", got)
	}
}

func (a *account) holdsAll(s fleet.Server, epoch fleet.Epoch) {
	a.t.Helper()
	sweep, err := a.p.Observe(context.Background(), []fleet.Server{s})
	if err != nil {
		a.t.Fatal(err)
	}
	o := sweep.Servers[0].Observed
	if !o.Complete {
		a.t.Errorf("the sight is incomplete: %+v", o)
	}
	if len(o.Volumes) != 1 || o.Volumes[0].Holder != epoch {
		a.t.Errorf("volumes %+v, want epoch %d", o.Volumes, epoch)
	}
	if len(o.Addresses) != 1 || o.Addresses[0].Holder != epoch {
		a.t.Errorf("addresses %+v, want epoch %d", o.Addresses, epoch)
	}
	var got []string
	for _, x := range o.Others {
		if x.Holder == epoch {
			got = append(got, x.Object.String())
		}
	}
	if len(got) != 3 {
		a.t.Errorf("epoch %d has %v, want interface, target group and name", epoch, got)
	}
}

// TestThrottled shows that a throttled call is told from all other failures.
func TestThrottled(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	a.locked(func() { a.w.SetQuota("RunInstances", 0, 0) })
	err := a.steps(s).at(1)(fleet.StepLaunch, fleet.Object{})
	class, may := provider.ClassOf(err)
	if class != provider.Retry || may {
		t.Errorf("class %s, may have happened %v: %v", class, may, err)
	}
}

// A look at one server must not forget since when others are as they are: their
// failures would never be old enough to act upon.
func TestSinceSurvivesLooksAtOthers(t *testing.T) {
	a := newAccount(t, nil)
	one, two := a.server(), a.server()
	a.up(one, 1, a.steps(one).at(1))
	a.up(two, 1, a.steps(two).at(1))
	since := func(s fleet.Server) time.Time {
		sweep, err := a.p.Observe(context.Background(), []fleet.Server{s})
		if err != nil {
			t.Fatal(err)
		}
		return sweep.Servers[0].Observed.Instances[0].Since
	}
	before := since(one)
	a.locked(func() { a.w.Advance(time.Minute) })
	since(two)
	if now := since(one); !now.Equal(before) {
		t.Errorf("it runs since %s, and since %s after a look at another server", before, now)
	}
}

// The names of a zone cost one call, and one name no more.
func TestRecordsOfAZone(t *testing.T) {
	a := newAccount(t, nil)
	var names []string
	for n := range 250 {
		name := fmt.Sprintf("n%03d.deep.example.com", n)
		names = append(names, name+".")
		if err := a.cloud.SetRecord(context.Background(), "Z1", name, fmt.Sprintf("192.0.2.%d", n), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 600 { // what lies after the last name is not listed
		if err := a.cloud.SetRecord(context.Background(), "Z1", fmt.Sprintf("x%03d.example.com", n), "192.0.2.1", time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	lists := func() (n int) {
		for _, e := range a.fake.Ledger() {
			if e.Service == "route53" && strings.HasPrefix(e.Action, "GET") {
				n++
			}
		}
		return n
	}
	got, err := a.cloud.Records(context.Background(), "Z1", names)
	if err != nil || len(got) != 250 || got["n249.deep.example.com"].Value != "192.0.2.249" || lists() != 1 {
		t.Errorf("%d records in %d calls, %v: %s", len(got), lists(), err, got["n249.deep.example.com"])
	}
	got, err = a.cloud.Records(context.Background(), "Z1", []string{"x599.example.com", "n000.deep.example.com", "none.example.com"})
	if err != nil || len(got) != 2 || lists() > 5 {
		t.Errorf("%v in %d calls: %v", got, lists(), err)
	}
}

// Service Quotas' rates fill the buckets, whatever else it tells and on how many pages.
func TestRatesFromServiceQuotas(t *testing.T) {
	a := newAccount(t, nil)
	for n := range 130 {
		a.fake.SetQuota(fmt.Sprintf("L-%08d", n), float64(n))
	}
	a.fake.SetRateQuota("L-00000005", "RunInstances", 8)
	a.fake.SetRateQuota("L-99999999", "StartInstances", 4)
	rates, err := a.cloud.Rates(context.Background())
	if err != nil || len(rates) != 2 || rates["RunInstances"] != 8 || rates["StartInstances"] != 4 {
		t.Fatalf("%v: %v", rates, err)
	}
	for _, api := range awsprovider.DefaultQuotas().With(rates).Limits(0.5).APIs {
		if api.Name == "StartInstances" && api.Requests.PerSecond != 2 {
			t.Errorf("%+v", api)
		}
	}
	a.fake.Deny("servicequotas:ListServiceQuotas")
	if _, err := a.cloud.Rates(context.Background()); err == nil {
		t.Error("a refusal is told as no quotas")
	}
}

// A sweep survives a page that is refused or whose answer is lost, and an API that is
// down for good is told as such.
func TestReadsAreSentAgain(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	a.up(s, 1, a.steps(s).at(1))
	var fail []string
	front := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if len(fail) == 0 {
			a.fake.ServeHTTP(rw, r)
			return
		}
		next := fail[0]
		fail = fail[1:]
		if next == "lost" {
			panic(http.ErrAbortHandler)
		}
		rw.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(rw, "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>no</Message></Error></Errors></Response>")
	})
	srv := httptest.NewServer(front)
	t.Cleanup(srv.Close)
	cloud := sdk.At(srv.URL, "eu-west-1", srv.Client()).Paced(awsprovider.NewGate(nil, provider.WallClock{}))
	for _, row := range []struct {
		fail []string
		ok   bool
	}{
		{[]string{"refused", "refused", "refused"}, true},
		{[]string{"lost"}, true},
		{[]string{"refused", "refused", "refused", "refused", "refused"}, false},
		{[]string{"lost", "lost", "lost"}, false},
	} {
		fail = row.fail
		list, err := cloud.Instances(context.Background(), "", nil)
		if (err == nil && len(list) == 1) != row.ok {
			t.Errorf("%v: %d instances, %v", row.fail, len(list), err)
		}
	}
	fail = []string{"lost"}
	if err := cloud.Stop(context.Background(), "i-none", awsprovider.Ending{}); err == nil || len(fail) != 0 {
		t.Errorf("a call that changes something was sent again: %v", err)
	}
}
