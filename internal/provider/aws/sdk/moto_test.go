package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"

	"relight/internal/core/fleet"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/provider/aws/capture"
	"relight/internal/provider/aws/sdk"
	"relight/internal/provider/providertest"
	"relight/internal/spec"
)

// emulator is moto, which others wrote: what it and our own fake agree on, nobody of us
// has made up alone. `make moto` installs it.
type emulator struct {
	url  string
	mu   sync.Mutex
	gaps map[string]string // what an action was answered that moto lacks
	// rebooted hears of reboots: moto runs no application that one could heal.
	rebooted func(instance string)
	made     int
	image    string
}

// motoServer starts moto on a free port, or skips.
func motoServer(t *testing.T) *emulator {
	t.Helper()
	exe := os.Getenv("MOTO_SERVER")
	if exe == "" {
		exe, _ = filepath.Abs("../../../../.cache/moto/bin/moto_server")
	}
	if _, err := os.Stat(exe); err != nil {
		t.Skip("SKIPPED: moto is not here, so that nobody else's emulator checks ours; install it: make moto")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // moto takes the port
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(exe, "-H", "127.0.0.1", "-p", port) //nolint:noctx // ended below
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	up := make(chan bool, 1)
	go func() {
		defer close(up)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if strings.Contains(line, "Running on") {
				up <- true
				break
			}
		}
		// It logs each request, and stands still once nobody reads that.
		_, _ = io.Copy(io.Discard, lines)
	}()
	select {
	case is := <-up:
		if !is {
			t.Skip("SKIPPED: moto does not start")
		}
	case <-time.After(time.Minute):
		t.Skip("SKIPPED: moto does not come up in a minute")
	}
	return &emulator{url: "http://" + address, gaps: map[string]string{}}
}

// RoundTrip notes what moto lacks, and stands in for it where the suite would get no
// further: the stand-ins are the first rows of the table in docs/design/aws.md.
func (m *emulator) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute) // moto answers one call after the other
	defer cancel()
	reply, err := http.DefaultTransport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return nil, err
	}
	_ = reply.Body.Close()
	reply.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(sent))
	action := form.Get("Action")
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case action == "DescribeAddresses" && reply.StatusCode == http.StatusOK:
		reply.Body = io.NopCloser(bytes.NewReader(m.held(r, body)))
		reply.ContentLength = -1
	case action == "ModifyInstanceMaintenanceOptions" && reply.StatusCode == http.StatusInternalServerError:
		m.gaps[action] = "has no such action (500)"
		reply.StatusCode, reply.Status = http.StatusOK, "200 OK"
		reply.Header.Set("Content-Type", "text/xml")
		reply.Body = io.NopCloser(strings.NewReader(`<ModifyInstanceMaintenanceOptionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><autoRecovery>disabled</autoRecovery></ModifyInstanceMaintenanceOptionsResponse>`))
		reply.ContentLength = -1
	case reply.StatusCode >= 500:
		m.gaps[action] = fmt.Sprintf("%d %s", reply.StatusCode, strings.Join(strings.Fields(string(body[:min(len(body), 200)])), " "))
	}
	if action == "RebootInstances" && reply.StatusCode == http.StatusOK && m.rebooted != nil {
		m.rebooted(form.Get("InstanceId.1"))
	}
	return reply, nil
}

var (
	addressItem = regexp.MustCompile(`(?s)<item>.*?</item>`)
	itsInstance = regexp.MustCompile(`<instanceId\s*/>|<instanceId></instanceId>`)
	itsNetwork  = regexp.MustCompile(`<networkInterfaceId>([^<]+)</networkInterfaceId>`)
)

// held fills in the instance that an address leads to through an interface, which EC2
// tells (its own example of DescribeAddresses shows both) and moto leaves empty.
func (m *emulator) held(r *http.Request, body []byte) []byte {
	return addressItem.ReplaceAllFunc(body, func(item []byte) []byte {
		nic := itsNetwork.FindSubmatch(item)
		if nic == nil || !itsInstance.Match(item) {
			return item
		}
		m.gaps["DescribeAddresses"] = "leaves instanceId empty for an address of an attached interface"
		cfg := m.config(http.DefaultTransport)
		out, err := ec2.NewFromConfig(cfg).DescribeNetworkInterfaces(r.Context(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{string(nic[1])}})
		if err != nil || len(out.NetworkInterfaces) == 0 || out.NetworkInterfaces[0].Attachment == nil {
			return item
		}
		return itsInstance.ReplaceAll(item, []byte("<instanceId>"+aws.ToString(out.NetworkInterfaces[0].Attachment.InstanceId)+"</instanceId>"))
	})
}

func (m *emulator) config(over http.RoundTripper) aws.Config {
	return aws.Config{Region: "eu-west-1", BaseEndpoint: aws.String(m.url), HTTPClient: &http.Client{Transport: over}, Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", "")}
}

// motoAccount is an account of moto's with what a server needs.
type motoAccount struct {
	t      *testing.T
	m      *emulator
	ec2    *ec2.Client
	p      *awsprovider.Provider
	lt     string
	subnet string
	zone   string
	group  string
	dns    string
	broken map[string]bool
}

func (m *emulator) account(t *testing.T) *motoAccount {
	t.Helper()
	reset, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.url+"/moto-api/reset", nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := http.DefaultClient.Do(reset)
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	cfg := m.config(m)
	a := &motoAccount{t: t, m: m, ec2: ec2.NewFromConfig(cfg), broken: map[string]bool{}}
	a.p = awsprovider.New(awsprovider.Options{Cloud: sdk.New(cfg), Region: "eu-west-1", Now: time.Now})
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	nets, err := a.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	must(err)
	a.subnet, a.zone = aws.ToString(nets.Subnets[0].SubnetId), aws.ToString(nets.Subnets[0].AvailabilityZone)
	if m.image == "" { // moto lists the same ones after each reset, and takes seconds for it
		images, err := a.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{})
		must(err)
		m.image = aws.ToString(images.Images[0].ImageId)
	}
	lt, err := a.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{LaunchTemplateName: aws.String("lic"), LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: aws.String(m.image), InstanceType: "m5.large"}})
	must(err)
	a.lt = aws.ToString(lt.LaunchTemplate.LaunchTemplateId)
	group, err := elasticloadbalancingv2.NewFromConfig(cfg).CreateTargetGroup(ctx, &elasticloadbalancingv2.CreateTargetGroupInput{Name: aws.String("lic"), Protocol: elbtypes.ProtocolEnumTcp, Port: aws.Int32(27000), VpcId: nets.Subnets[0].VpcId, TargetType: elbtypes.TargetTypeEnumInstance})
	must(err)
	a.group = aws.ToString(group.TargetGroups[0].TargetGroupArn)
	zone, err := route53.NewFromConfig(cfg).CreateHostedZone(ctx, &route53.CreateHostedZoneInput{Name: aws.String("example.com."), CallerReference: aws.String("x")})
	must(err)
	a.dns = strings.TrimPrefix(aws.ToString(zone.HostedZone.Id), "/hostedzone/")
	m.mu.Lock()
	m.rebooted = func(id string) { delete(a.broken, id) }
	m.mu.Unlock()
	return a
}

func (a *motoAccount) server() fleet.Server {
	a.t.Helper()
	a.m.made++
	name := fmt.Sprintf("lic-%02d", a.m.made)
	ctx := context.Background()
	vol, err := a.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(a.zone), Size: aws.Int32(8)})
	if err != nil {
		a.t.Fatal(err)
	}
	nic, err := a.ec2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: aws.String(a.subnet)})
	if err != nil {
		a.t.Fatal(err)
	}
	ip, err := a.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	if err != nil {
		a.t.Fatal(err)
	}
	s := fleet.Server{Name: name}
	s.Spec.Provider, s.Spec.Fence, s.Spec.Placement.Units = awsprovider.Name, fleet.FenceStorage, 1
	s.Spec.Template.EC2 = &fleet.EC2Template{LaunchTemplate: a.lt, Version: 1, Subnet: a.subnet, AutoRecovery: fleet.AutoRecoveryOurs}
	s.Spec.Identity = fleet.Identity{
		Volumes:    []fleet.Volume{{Name: "data", ID: aws.ToString(vol.VolumeId), Reach: fleet.ReachZone}},
		Addresses:  []fleet.Address{{IP: aws.ToString(ip.PublicIp), Allocation: aws.ToString(ip.AllocationId)}},
		Interfaces: []fleet.Interface{{ID: aws.ToString(nic.NetworkInterface.NetworkInterfaceId), Index: 1}},
		Groups:     []fleet.Group{{ID: a.group}},
		Names:      []fleet.DNSName{{Name: name + ".example.com", Zone: a.dns, TTL: fleet.Duration(time.Minute)}},
	}
	return s
}

// instances are the server's that moto has, as it tells of them itself.
func (a *motoAccount) instances(server string, states ...string) []types.Instance {
	a.t.Helper()
	out, err := a.ec2.DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag:" + awsprovider.TagServer), Values: []string{server}}, {Name: aws.String("instance-state-name"), Values: states},
	}})
	if err != nil {
		a.t.Fatal(err)
	}
	var list []types.Instance
	for _, r := range out.Reservations {
		list = append(list, r.Instances...)
	}
	return list
}

func epochOf(i types.Instance) fleet.Epoch {
	for _, t := range i.Tags {
		if aws.ToString(t.Key) == awsprovider.TagEpoch {
			return awsprovider.ParseEpoch(aws.ToString(t.Value))
		}
	}
	return 0
}

func (a *motoAccount) harness() providertest.Harness {
	each := func(server string, epoch fleet.Epoch, do func(id string)) {
		for _, i := range a.instances(server, "pending", "running") {
			if epochOf(i) == epoch {
				do(aws.ToString(i.InstanceId))
			}
		}
	}
	return providertest.Harness{
		Provider: a.p, Server: a.server, Now: time.Now,
		Eventually: func(cond func() bool) bool {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for range 25 {
				if cond() {
					return true
				}
				<-tick.C
			}
			return false
		},
		Running: func(server string) map[fleet.Epoch]int {
			out := map[fleet.Epoch]int{}
			for _, i := range a.instances(server, "pending", "running") {
				out[epochOf(i)]++
			}
			return out
		},
		Holders: func(s fleet.Server, _ string) (out []fleet.Epoch) {
			v, err := a.ec2.DescribeVolumes(context.Background(), &ec2.DescribeVolumesInput{VolumeIds: []string{s.Spec.Identity.Volumes[0].ID}})
			if err != nil {
				a.t.Fatal(err)
			}
			for _, x := range v.Volumes[0].Attachments {
				for _, i := range a.instances(s.Name, "pending", "running", "stopping", "stopped") {
					if aws.ToString(i.InstanceId) == aws.ToString(x.InstanceId) {
						out = append(out, epochOf(i))
					}
				}
			}
			return out
		},
		Kill: func(server string, epoch fleet.Epoch) {
			each(server, epoch, func(id string) {
				if _, err := a.ec2.TerminateInstances(context.Background(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
					a.t.Fatal(err)
				}
			})
		},
		BreakApp: func(server string, epoch fleet.Epoch) {
			each(server, epoch, func(id string) { a.m.mu.Lock(); a.broken[id] = true; a.m.mu.Unlock() })
		},
		AppWorks: func(server string, epoch fleet.Epoch) bool {
			works := false
			each(server, epoch, func(id string) { a.m.mu.Lock(); works = !a.broken[id]; a.m.mu.Unlock() })
			return works
		},
	}
}

// differs are the cases in which moto does otherwise than our fake, each with the reason
// and with who is right by the API model. docs/design/aws.md has the same table.
var differs = map[string]string{
	"attach/refuses what another epoch holds": "moto's AttachVolume takes a volume that is in use; EC2 answers VolumeInUse",
	"launch/says when it has no capacity":     "moto has room for everything; EC2 answers InsufficientInstanceCapacity",
}

// racing are the cases that moto passes or not as its threads happen to run: it does not
// know a ClientToken again, so that of launches at the same moment each makes an instance.
var racing = []string{"replay/at the same moment leaves one object"}

// The suite of every provider against an emulator that others wrote. It must fail in
// exactly the cases that are known: one more may be a mistake of ours, or of our fake.
func TestMoto(t *testing.T) {
	m := motoServer(t)
	var last providertest.Harness
	got := providertest.Failures(t, func(t *testing.T) providertest.Harness { last = m.account(t).harness(); return last })
	for _, name := range slices.Sorted(maps.Keys(got)) {
		switch why := differs[name]; {
		case why != "":
			t.Logf("differs in %q: %s", name, why)
		case slices.Contains(racing, name):
			t.Logf("differs in %q: moto makes one instance for each launch with the same ClientToken", name)
		default:
			t.Errorf("%s: %s", name, got[name])
		}
	}
	for name := range differs { // order: each by itself
		if _, still := got[name]; !still {
			t.Errorf("moto passes %q now: strike it off the table here and in docs/design/aws.md", name)
		}
	}
	page, err := os.ReadFile("../../../../docs/design/aws.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range slices.Sorted(maps.Keys(m.gaps)) {
		if !strings.Contains(string(page), "\n| "+action) {
			t.Errorf("moto lacks %s (%s), and the table in docs/design/aws.md does not say so", action, m.gaps[action])
		}
	}
	reached := 0
	for _, c := range providertest.Cases() {
		if c.Skip == nil || c.Skip(last) == "" {
			reached++
		}
	}
	t.Logf("%d of %d cases pass on moto", reached-len(got), reached)
}

// OP-LT as far as moto reaches: what it tells of an instance is in the document, and an
// instance launched from the document is told of in the same way.
func TestMoto_OP_LT(t *testing.T) {
	m := motoServer(t)
	a := m.account(t)
	cloud := sdk.New(m.config(m))
	found := func(id string) (capture.Found, spec.Doc) {
		t.Helper()
		s, err := cloud.Capture(t.Context(), id)
		if err != nil || len(s.Blind) > 0 {
			t.Fatal(err, s.Blind)
		}
		f := capture.Read(s, "pet")
		raw, err := f.Document(1)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := spec.Parse(spec.File{Name: "moto", Data: raw})
		if err != nil {
			t.Fatal(err)
		}
		return f, docs[0]
	}
	out, err := a.ec2.RunInstances(t.Context(), &ec2.RunInstancesInput{
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ImageId: aws.String(m.image), InstanceType: "t3.large", SubnetId: aws.String(a.subnet), KeyName: aws.String("ops"),
		UserData: aws.String("I2Nsb3VkLWNvbmZpZwo="), EbsOptimized: aws.Bool(true), Monitoring: &types.RunInstancesMonitoringEnabled{Enabled: aws.Bool(true)},
		HibernationOptions:                &types.HibernationOptionsRequest{Configured: aws.Bool(true)},
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorTerminate,
		MetadataOptions:                   &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(3)},
		TagSpecifications:                 []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("billing")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := aws.ToString(out.Instances[0].InstanceId)
	before, doc := found(id)
	text, err := spec.Print(spec.YAML, doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"type: t3.large", "key: ops", "userData: I2Nsb", "tokens: required", "hopLimit: 3", "monitoring: true", "hibernation: true", "ebsOptimized: true", "onShutdown: terminate", "team: billing"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	nic := before.Identity.Interfaces[0]
	attachment := aws.ToString(out.Instances[0].NetworkInterfaces[0].Attachment.AttachmentId)
	if err := cloud.KeepInterface(t.Context(), nic.ID, attachment); err != nil {
		t.Fatal(err)
	}
	if err := cloud.Terminate(t.Context(), id, awsprovider.Ending{}); err != nil {
		t.Fatal(err)
	}
	again, err := cloud.Launch(t.Context(), awsprovider.Launch{Token: "again", Own: before.Template.Launch, Primary: nic.ID, Tags: before.Template.Launch.Tags})
	if err != nil {
		t.Fatal(err)
	}
	_, relaunched := found(again)
	changes, err := spec.Diff(doc, relaunched)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		t.Errorf("the relaunched one differs: %s", c)
	}
}
