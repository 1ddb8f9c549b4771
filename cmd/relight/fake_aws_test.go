package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/cli"
	"relight/internal/core/fleet"
	"relight/internal/provider/aws"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/provider/aws/sdk"
	"relight/internal/provider/aws/stage"
)

// fakeAWS runs relight fake-aws as a person does, points the environment at it and returns
// its address.
func fakeAWS(t *testing.T, args ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan client.Exit, 1)
	var errs bytes.Buffer
	go func() {
		ended <- cli.Run(ctx, cli.Deps{In: strings.NewReader(""), Out: in, Err: &errs, Env: os.Getenv, Extra: parts()}, append([]string{"fake-aws", "--listen", "127.0.0.1:0", "--factor", "1000"}, args...))
		_ = in.Close()
	}()
	t.Cleanup(func() { stop(); <-ended })
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	// Botocore and the old aws command line know no other name of the region.
	if !strings.Contains(first, " AWS_REGION=") || !strings.Contains(first, " AWS_DEFAULT_REGION=") {
		t.Errorf("it prints %s", first)
	}
	for _, pair := range strings.Fields(strings.TrimPrefix(first, "export ")) {
		k, v, _ := strings.Cut(pair, "=")
		t.Setenv(k, v)
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	return os.Getenv("AWS_ENDPOINT_URL")
}

// asked is one request to the account's face.
func asked(t *testing.T, method, url, body string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	if err := json.NewDecoder(reply.Body).Decode(into); err != nil {
		t.Fatalf("%s %s: %d: %v", method, url, reply.StatusCode, err)
	}
	return reply.StatusCode
}

// A person with a tool of their own takes the hardware below a server and a right, sees
// both fail through the wire, and reads in the ledger which call was refused.
func TestFakeAWS_IsBrokenOverTheWire(t *testing.T) {
	at := fakeAWS(t, "--fault", "at 1s api ec2:StopInstances refused")
	cloud, err := sdk.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	id, err := cloud.Launch(t.Context(), aws.Launch{Token: "t", Own: &fleet.EC2Launch{Image: "ami-0relight", Type: "m7i.large"}, Subnet: "subnet-a", NoAutoRecovery: true, Tags: map[string]string{aws.TagServer: "lic-01", aws.TagEpoch: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	checks := func(want string) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range 2000 {
			list, err := cloud.Checks(t.Context(), stage.Region+"a", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range list {
				if s.ID == id && s.System == want {
					return
				}
			}
			<-tick.C
		}
		t.Fatalf("the system check is never %q", want)
	}
	checks("ok")
	var told struct {
		Faults int
		Error  string
	}
	if code := asked(t, http.MethodPost, at+"/_relight/fault", "# the hardware\nhost of/lic-01 dies\n", &told); code != http.StatusOK || told.Faults != 1 {
		t.Errorf("%d %+v", code, told)
	}
	checks("impaired")
	if err := cloud.Stop(t.Context(), id, aws.Ending{}); err == nil {
		t.Error("the stop was not refused")
	}
	var ledger struct {
		Calls []struct {
			Service, Action, Code string
			Request               map[string][]string
		}
		Next int
	}
	if code := asked(t, http.MethodGet, at+"/_relight/ledger?from=1", "", &ledger); code != http.StatusOK || ledger.Next != len(ledger.Calls)+1 {
		t.Fatalf("%d, next %d of %d", code, ledger.Next, len(ledger.Calls))
	}
	last := ledger.Calls[len(ledger.Calls)-1]
	if last.Service != "ec2" || last.Action != "StopInstances" || last.Code != "UnauthorizedOperation" || last.Request["InstanceId.1"][0] != id {
		t.Errorf("%+v", last)
	}
}

// What is written wrong is refused in one clear sentence, and nothing has happened.
func TestFakeAWS_BadFaults(t *testing.T) {
	at := fakeAWS(t)
	for text, want := range map[string]string{
		"":                                    "no fault was sent",
		"server lic-01":                       "a fault is: [at TIME]",
		"at soon server lic-01 killed":        "at soon is no time",
		"rack r1 dies":                        `class "rack" is unknown: there are host, site, server, volume, api`,
		"server lic-01 sings":                 `no "sings": there are app-mute`,
		"for 1m server lic-01 killed":         `takes no "for"`,
		"site eu-west-1b sold-out":            "it is written: [at TIME] [for TIME] site NAME sold-out TYPE",
		"site eu-west-1b sold-out x9":         "there are m7i.large, m6i.large",
		"site mars dies":                      `there is no site "mars"`,
		"host h-1 dies":                       "they are called eu-west-1a-hw-00",
		"host of/lic-01 dies":                 "no instance of server",
		"volume vol-x stuck":                  "describe-volumes",
		"site eu-west-1a cut peers":           "there are control and storage",
		"api Sing throttle":                   "such as RunInstances",
		"api RunInstances refused":            "no right such as ec2:RunInstances",
		"api any throttle\nserver x killed":   `no instance of server "x"`,
		"api any throttle\n\nserver x kills ": "line 3: ",
	} {
		var told struct{ Error string }
		if code := asked(t, http.MethodPost, at+"/_relight/fault", text, &told); code != http.StatusBadRequest || !strings.Contains(told.Error, want) {
			t.Errorf("%q: %d %q", text, code, told.Error)
		}
	}
	var told struct{ Error string }
	if code := asked(t, http.MethodGet, at+"/_relight/ledgers", "", &told); code != http.StatusNotFound || told.Error == "" {
		t.Errorf("%d %+v", code, told)
	}
	if code, _, errs := relight(t, "fake-aws", "--fault", "rack r1 dies"); code == client.ExitOK || !strings.Contains(errs, `--fault "rack r1 dies": class "rack" is unknown`) || !strings.Contains(errs, "try: --fault") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := relight(t, "fake-aws", "--fault", "site mars dies"); code == client.ExitOK || !strings.Contains(errs, `no site "mars"`) {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// The help names every service and every fault.
func TestFakeAWS_Help(t *testing.T) {
	_, help, _ := relight(t, "fake-aws", "--help")
	names := map[string]string{
		"elasticloadbalancing": "ELB", "route53": "Route 53", "sts": "STS", "autoscaling": "Auto Scaling", "servicequotas": "Service Quotas",
		"sqs": "SQS", "kms": "KMS", "cloudwatch": "CloudWatch", "ec2": "EC2", "iam": "IAM", "outposts": "Outposts",
	}
	for _, service := range fakeaws.New(fakeaws.Options{World: stage.New(1, 1).World}).Services() {
		if name := names[service]; name == "" || !strings.Contains(help, name) {
			t.Errorf("the help does not name %s", service)
		}
	}
	for _, line := range stage.FaultLanguage() {
		if !strings.Contains(help, line) {
			t.Errorf("the help does not tell: %s", line)
		}
	}
}
