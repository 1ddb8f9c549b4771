package fakeaws_test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/world"
)

// ask sends a request as the SDK would sign it, and returns status and body.
func ask(e http.Handler, service string, form url.Values) (int, string) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form.Encode()))
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20300102/eu-west-1/"+service+"/aws4_request")
	out := httptest.NewRecorder()
	e.ServeHTTP(out, r)
	return out.Code, out.Body.String()
}

// A parameter that this endpoint does not know is refused before anything is done.
func TestUnknownParameterHasNoEffect(t *testing.T) {
	w := world.New(world.Config{Clock: world.NewVirtual(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)), Rand: rand.New(rand.NewPCG(1, 2))})
	w.AddSite(world.Site{Name: "eu-west-1a", Kind: fleet.SiteZone})
	w.AddHost(world.Host{Name: "host", Parent: "eu-west-1a", Units: 9})
	e := fakeaws.New(fakeaws.Options{World: w, Account: "123456789012", Region: "eu-west-1"})
	e.AddSubnet(fakeaws.Subnet{ID: "subnet-a", VPC: "vpc-1", Zone: "eu-west-1a", CIDR: "10.0.1.0/24"})
	e.AddImage(fakeaws.Image{ID: "ami-1", RootDevice: "/dev/xvda", RootGiB: 8})
	e.AddType(fakeaws.InstanceType{Name: "m7i.large"})
	run := url.Values{
		"Action": {"RunInstances"}, "Version": {"2016-11-15"}, "MinCount": {"1"}, "MaxCount": {"1"}, "ImageId": {"ami-1"}, "InstanceType": {"m7i.large"}, "SubnetId": {"subnet-a"},
		"TagSpecification.1.ResourceType": {"instance"}, "TagSpecification.1.Tag.1.Key": {"relight:server"}, "TagSpecification.1.Tag.1.Value": {"lic"},
		"TagSpecification.1.Tag.2.Key": {"relight:epoch"}, "TagSpecification.1.Tag.2.Value": {"1"},
		"ElasticGpuSpecification.1.Type": {"1"},
	}
	made := func() int {
		w.Lock()
		defer w.Unlock()
		return len(w.Of("lic"))
	}
	if code, body := ask(e, "ec2", run); code != http.StatusBadRequest || !strings.Contains(body, "UnknownParameter") || made() != 0 {
		t.Errorf("%d, %d instances: %s", code, made(), body)
	}
	delete(run, "ElasticGpuSpecification.1.Type")
	if code, body := ask(e, "ec2", run); code != http.StatusOK || made() != 1 {
		t.Errorf("%d, %d instances: %s", code, made(), body)
	}
}
