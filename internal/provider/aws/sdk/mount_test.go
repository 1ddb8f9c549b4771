package sdk_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/provider/guest"
)

// guests opens the rig's door.
func (r *rig) guests() *enrol.Guests {
	r.t.Helper()
	return r.guestsOf(func(server string) fleet.Epoch { return r.status(server).Epoch })
}

func (r *rig) guestsOf(epoch func(string) fleet.Epoch) *enrol.Guests {
	r.t.Helper()
	vault, err := enrol.NewDirVault(r.t.TempDir())
	if err != nil {
		r.t.Fatal(err)
	}
	authority, err := enrol.OpenAuthority(r.t.Context(), vault, r.now)
	if err != nil {
		r.t.Fatal(err)
	}
	guests, err := authority.Guests(r.t.Context(), vault)
	if err != nil {
		r.t.Fatal(err)
	}
	r.doors.Open(guest.Options{Guests: guests, URL: "https://relight.example:7443", Now: r.now, Epoch: func(server string) (fleet.Epoch, bool) {
		return epoch(server), true
	}, Disks: r.disks, Formatted: func(ctx context.Context, server string, f fleet.Formatted) error {
		if r.solo == nil {
			return nil
		}
		return r.solo.Journal.Formatted(ctx, server, f)
	}})
	return guests
}

// userData is what EC2 was last told to start an instance with.
func (r *rig) userData(action, field string) string {
	r.t.Helper()
	found := ""
	for _, e := range r.fake.Ledger() {
		if v := e.Form.Get(field); e.Action == action && e.Code == "" && v != "" {
			data, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				r.t.Fatal(err)
			}
			found = string(data)
		}
	}
	return found
}

// plan is what the agent of an instance with this user data is to do.
func (r *rig) plan(userData string) guest.Plan {
	r.t.Helper()
	for line := range strings.Lines(userData) {
		if strings.HasPrefix(line, "{") {
			p, err := guest.ParsePlan([]byte(line))
			if err != nil {
				r.t.Fatal(err)
			}
			return p
		}
	}
	r.t.Fatalf("no plan in %q", userData)
	return guest.Plan{}
}

// inside is the guest agent of one plan. TLS is left out: certificates are judged by
// the wall clock, and time here is the world's.
type inside struct {
	r    *rig
	cert *x509.Certificate
	// logins is what it was told of its LUNs.
	logins []guest.Disk
}

func (r *rig) boot(g *enrol.Guests, p guest.Plan) inside {
	r.t.Helper()
	return r.bootOn(g, p, "")
}

// bootOn is an agent that says on which instance it runs.
func (r *rig) bootOn(g *enrol.Guests, p guest.Plan, instance string) inside {
	r.t.Helper()
	key, err := enrol.MakeKey()
	if err != nil {
		r.t.Fatal(err)
	}
	csr, err := enrol.Request(key)
	if err != nil {
		r.t.Fatal(err)
	}
	der, err := g.Enrol(r.t.Context(), p.Token, enrol.GuestName{Server: p.Server, Epoch: p.Epoch, Instance: instance}, csr)
	if err != nil {
		r.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		r.t.Fatal(err)
	}
	return inside{r: r, cert: cert}
}

func (i inside) tells(works fleet.Answer, detail string) int {
	i.r.t.Helper()
	return i.tellsOf("boot-1", works, detail)
}

func (i inside) tellsOf(boot string, works fleet.Answer, detail string, mounts ...guest.Mount) int {
	i.r.t.Helper()
	body, err := json.Marshal(guest.Report{V: guest.Version, Works: works, Detail: detail, Boot: boot, Mounts: mounts})
	if err != nil {
		i.r.t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(i.r.t.Context(), http.MethodPost, guest.PathReport, bytes.NewReader(body))
	req.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{i.cert}}}
	rec := httptest.NewRecorder()
	i.r.doors.Handler().ServeHTTP(rec, req)
	return rec.Code
}

// mounting is the spec of a server whose volume the guest agent mounts.
func (r *rig) mounting() (name, spec string) {
	name, spec = r.licence()
	at := strings.Index(spec, "{name: data, id: ") + len("{name: data, ")
	return name, spec[:at] + "mount: {path: /data, format: true}, " + spec[at:]
}

// An instance whose guest has not mounted its volume is not healed, whatever EC2 says
// of it (S14); a recover tells the same instance its next epoch; the old one is over.
func TestAH_MOUNT(t *testing.T) {
	r := newRig(t, slowly)
	r.lt = r.fake.AddTemplate("own", fakeaws.Template{
		Image: "ami-1", Type: "m7i.large", Subnet: "subnet-a", UserData: base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\necho theirs\n")),
	})
	guests := r.guests()
	name, spec := r.mounting()
	r.declare(spec)
	r.until(2*time.Minute, "it is launched", func() bool { return r.count("RunInstances") == 1 })
	data := r.userData("RunInstances", "UserData")
	if !strings.Contains(data, "echo theirs") {
		t.Errorf("the template's own user data is lost: %s", data)
	}
	p := r.plan(data)
	if p.Server != name || p.Epoch != 1 || len(p.Volumes) != 1 || !p.Volumes[0].Mount.Format || p.Controller != "https://relight.example:7443" {
		t.Errorf("%+v", p)
	}
	r.during(90*time.Second, "it is not healthy before its guest has spoken", func() bool { return r.status(name).VerifiedAt.IsZero() })
	first := r.boot(guests, p)
	first.tells(fleet.No, "volume data is awaited: no disk has its serial yet")
	r.during(50*time.Second, "nor while its volume is awaited, though its agent has fallen silent", func() bool { return r.status(name).VerifiedAt.IsZero() })
	if look := r.solo.Look(name); !strings.Contains(look.Finding+look.Reason, "starts") && !strings.Contains(look.Finding, "awaited") {
		t.Errorf("nobody is told what is awaited: %s", look.Finding)
	}
	r.until(time.Minute, "it is mounted, and healthy", func() bool {
		return first.tells(fleet.Yes, "all volumes are mounted") == http.StatusNoContent && r.healthy(name, 1)()
	})

	id := r.machine(name).ID
	source, err := r.cloud.Capture(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if captured, err := base64.StdEncoding.DecodeString(source.Launch.UserData); err != nil || string(captured) != "#!/bin/sh\necho theirs\n" {
		t.Errorf("a capture has the agent's part, with its token: %s, %v", captured, err)
	}
	r.locked(func() { _ = r.w.KillHost(r.machine(name).Host) })
	r.until(10*time.Minute, "the same instance is started as the next epoch", func() bool { return r.count("StartInstances") == 1 })
	p = r.plan(r.userData("ModifyInstanceAttribute", "UserData.Value"))
	if p.Epoch != 2 || r.machine(name).ID != id {
		t.Errorf("epoch %d on %s", p.Epoch, r.machine(name).ID)
	}
	if code := first.tells(fleet.Yes, "all volumes are mounted"); code != http.StatusGone {
		t.Errorf("%d for a report of an epoch that is over", code)
	}
	second := r.boot(guests, p)
	r.until(5*time.Minute, "it is healthy again", func() bool {
		return second.tells(fleet.Yes, "all volumes are mounted") == http.StatusNoContent && r.healthy(name, 2)()
	})
}

// mounted launches a server whose guest agent has mounted its volumes.
func (r *rig) mounted() (name string, agent inside) {
	guests := r.guests()
	name, spec := r.mounting()
	r.declare(spec)
	r.until(2*time.Minute, "it is launched", func() bool { return r.count("RunInstances") == 1 })
	agent = r.boot(guests, r.plan(r.userData("RunInstances", "UserData")))
	r.until(5*time.Minute, "it is healthy", func() bool { agent.tells(fleet.Yes, ""); return r.healthy(name, 1)() })
	return name, agent
}

// A guest agent that dies harms no server that works (S16).
func TestAH_MOUNT_SilentAgent(t *testing.T) {
	r := newRig(t, slowly)
	name, _ := r.mounted()
	r.during(15*time.Minute, "nothing is ended because an agent is silent", func() bool {
		return r.count("StopInstances", "TerminateInstances", "RebootInstances") == 0
	})
	if !r.healthy(name, 1)() {
		t.Errorf("%s", r.solo.Look(name).Finding)
	}
}

// A volume that fell to read-only is rebooted for. What the guest said before the reboot
// verifies nothing, and no status check does in its place (S14).
func TestAH_MOUNT_Reboot(t *testing.T) {
	r := newRig(t, slowly)
	name, agent := r.mounted()
	r.until(10*time.Minute, "it is rebooted", func() bool {
		agent.tells(fleet.No, "volume data is broken: read-only")
		return r.count("RebootInstances") == 1
	})
	agent.tells(fleet.Yes, "all is well, says the boot that ends")
	r.during(2*time.Minute, "it is not healed by silence", func() bool { return r.status(name).Recovery != nil })
	r.until(2*time.Minute, "it is healed", func() bool { agent.tellsOf("boot-2", fleet.Yes, ""); return r.healthy(name, 1)() })
	if r.count("TerminateInstances", "StopInstances") > 0 {
		t.Errorf("calls:\n%s", r.calls())
	}
}

// What EC2 would not take is refused before anything is asked of it, with what to do.
func TestAH_MOUNT_UserDataRefused(t *testing.T) {
	a := newAccount(t, nil)
	r := &rig{account: a, doors: guest.New()}
	a.p = awsprovider.New(awsprovider.Options{Cloud: a.cloud, Region: "eu-west-1", Now: a.now, Guests: r.doors})
	s := a.server()
	s.Spec.Identity.Volumes[0].Mount = &fleet.Mount{Path: "/data", Type: "ext4"}
	launch := func() error { return a.steps(s).at(1)(fleet.StepLaunch, fleet.Object{}) }
	permanent := func(what string, want error) {
		t.Helper()
		err := launch()
		class, _ := provider.ClassOf(err)
		for n := 0; class == provider.Retry && n < 5; n++ { // a reply got lost on a busy machine
			err = launch()
			class, _ = provider.ClassOf(err)
		}
		if !errors.Is(err, want) || class != provider.Permanent {
			t.Errorf("%s: %v", what, err)
		}
	}
	permanent("without a door", guest.ErrClosed)
	r.guestsOf(func(string) fleet.Epoch { return 1 })
	for data, want := range map[string]error{
		"#!/bin/sh\n" + strings.Repeat("# long\n", 2300): guest.ErrTooLong,
		"<powershell>exit</powershell>":                  guest.ErrForeign,
	} {
		s.Spec.Template.EC2.LaunchTemplate = a.fake.AddTemplate("t"+data[:3], fakeaws.Template{
			Image: "ami-1", Type: "m7i.large", Subnet: "subnet-a", UserData: base64.StdEncoding.EncodeToString([]byte(data)),
		})
		permanent(data[:3], want)
	}
	s.Spec.Template.EC2.Launch = &fleet.EC2Launch{UserData: base64.StdEncoding.EncodeToString([]byte("\x7fELF"))}
	permanent("user data of the spec's own", guest.ErrForeign)
	for _, e := range a.fake.Ledger() {
		if e.Action == "RunInstances" {
			t.Error("EC2 was asked all the same")
		}
	}
	// The fake is as strict as EC2.
	_, err := a.cloud.Launch(t.Context(), awsprovider.Launch{Token: "x", Template: a.lt, Version: 1, Subnet: "subnet-a", UserData: make([]byte, 16385)})
	if e := new(awsprovider.APIError); !errors.As(err, &e) || e.Code != "InvalidParameterValue" {
		t.Errorf("16385 bytes: %v", err)
	}
	id, err := a.cloud.Launch(t.Context(), awsprovider.Launch{Token: "y", Template: a.lt, Version: 1, Subnet: "subnet-a", UserData: make([]byte, 16384)})
	if err != nil {
		t.Fatal(err)
	}
	err = a.cloud.SetUserData(t.Context(), id, []byte("#!/bin/sh\n"))
	if e := new(awsprovider.APIError); !errors.As(err, &e) || e.Code != "IncorrectInstanceState" {
		t.Errorf("user data of an instance that runs: %v", err)
	}
}

// A machine that was made of an image, or launched with another's user data, has spent the
// token of the epoch: what it says heals no other one (S13).
func TestAH_MOUNT_WordOfAnotherInstance(t *testing.T) {
	r := newRig(t, slowly)
	guests := r.guests()
	name, spec := r.mounting()
	r.declare(spec)
	r.until(2*time.Minute, "it is launched", func() bool { return r.count("RunInstances") == 1 })
	plan := r.plan(r.userData("RunInstances", "UserData"))
	other := r.bootOn(guests, plan, "i-00000000000000bad")
	r.during(90*time.Second, "another one's word heals nothing", func() bool {
		return other.tells(fleet.Yes, "all volumes are mounted") == http.StatusNoContent && r.status(name).VerifiedAt.IsZero()
	})
	if why := r.solo.Look(name); why.Verdict == fleet.Healthy {
		t.Errorf("%s: %s", why.Verdict, why.Finding)
	}
}

// The word of the instance itself counts.
func TestAH_MOUNT_WordOfItsInstance(t *testing.T) {
	r := newRig(t, slowly)
	guests := r.guests()
	name, spec := r.mounting()
	r.declare(spec)
	r.until(2*time.Minute, "it is launched", func() bool { return r.count("RunInstances") == 1 })
	own := r.bootOn(guests, r.plan(r.userData("RunInstances", "UserData")), r.machine(name).ID)
	r.until(2*time.Minute, "it is healthy", func() bool {
		return own.tells(fleet.Yes, "all volumes are mounted") == http.StatusNoContent && r.healthy(name, 1)()
	})
}
