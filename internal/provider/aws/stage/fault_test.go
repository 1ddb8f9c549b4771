package stage

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/world"
)

const (
	zone = Region + "a"
	host = zone + "-hw-00"
)

// still is a stage with one server on one piece of hardware, on which time stands still.
func still(t *testing.T) (*Stage, *world.Instance) {
	t.Helper()
	w := world.New(world.Config{Clock: world.NewVirtual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))})
	s := &Stage{World: w, types: []string{"m7i.large"}, Endpoint: fakeaws.New(fakeaws.Options{World: w, Account: Account, Region: Region})}
	w.AddSite(world.Site{Name: Region, Kind: fleet.SiteRegion})
	w.AddSite(world.Site{Name: zone, Kind: fleet.SiteZone, Parent: Region})
	w.AddHost(world.Host{Name: host, Parent: zone, Units: 1})
	s.Endpoint.AddSubnet(fakeaws.Subnet{ID: "subnet-a", VPC: "vpc-1", Zone: zone, CIDR: "10.0.0.0/24"})
	s.Endpoint.AddImage(fakeaws.Image{ID: "ami-1", RootDevice: "/dev/xvda", RootGiB: 8})
	s.Endpoint.AddType(fakeaws.InstanceType{Name: "m7i.large", CPUs: 2, MiB: 8192})
	if err := s.Endpoint.AddRunning(fakeaws.Running{Server: "lic-01", Subnet: "subnet-a", Image: "ami-1", Type: "m7i.large", Volume: "vol-1"}); err != nil {
		t.Fatal(err)
	}
	w.SetQuotas(world.EC2Quotas()...)
	return s, w.Of("lic-01")[0]
}

// code is what a call of EC2 is answered: the error's code, or nothing.
func (s *Stage) code(action string) string {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("Action="+action))
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=k/20260101/"+Region+"/ec2/aws4_request")
	s.Endpoint.ServeHTTP(httptest.NewRecorder(), r)
	all := s.Endpoint.Ledger()
	return all[len(all)-1].Code
}

// look reports whether something holds in the world.
func (s *Stage) look(is func(w *world.World) bool) (found bool) {
	s.Do(func(w *world.World) { found = is(w) })
	return found
}

// Each fault of the language breaks what it says; one that lasts ends by itself, and all
// is as it was.
func TestFaults(t *testing.T) {
	dead := func(s *Stage, _ *world.Instance) bool {
		return s.look(func(w *world.World) bool { return !w.Host(host).Runs() })
	}
	app := func(is world.AppState) func(*Stage, *world.Instance) bool {
		return func(_ *Stage, i *world.Instance) bool { return i.App == is }
	}
	// hangs reports whether what was asked to end ten minutes ago has not ended.
	hangs := func(ask func(*world.World, *world.Instance) error, ended func(*world.World, *world.Instance) bool) func(*Stage, *world.Instance) bool {
		return func(s *Stage, i *world.Instance) bool {
			return s.look(func(w *world.World) bool {
				if err := ask(w, i); err != nil {
					return false
				}
				w.Advance(10 * time.Minute)
				return !ended(w, i)
			})
		}
	}
	cases := map[string]func(*Stage, *world.Instance) bool{
		"host " + host + " dies":  dead,
		"host of/lic-01 dies":     dead,
		"site " + zone + " dies":  dead,
		"server lic-01 app-mute":  app(world.AppMute),
		"server lic-01 app-fails": app(world.AppFails),
		"server lic-01 app-dies":  app(world.AppDead),
		"host of/lic-01 cut storage": func(s *Stage, i *world.Instance) bool {
			return s.look(func(w *world.World) bool { return w.StatusOf(i).Disks == world.CheckImpaired })
		},
		"site " + zone + " cut control": func(s *Stage, _ *world.Instance) bool {
			return s.look(func(w *world.World) bool { return w.Host(host).Cut.Control })
		},
		"server lic-01 crashes": func(s *Stage, i *world.Instance) bool {
			return s.look(func(w *world.World) bool { return w.StatusOf(i).Guest == world.CheckImpaired })
		},
		"server lic-01 killed": func(_ *Stage, i *world.Instance) bool { return i.State.Gone() },
		"site " + zone + " sold-out m7i.large": func(s *Stage, _ *world.Instance) bool {
			return s.look(func(w *world.World) bool { n, known := w.Capacity(zone, "m7i.large"); return known && n == 0 })
		},
		"site " + zone + " api-fails":  func(s *Stage, _ *world.Instance) bool { return s.code("DescribeInstances") == "Unavailable" },
		"api ec2:RunInstances refused": func(s *Stage, _ *world.Instance) bool { return s.code("RunInstances") == "UnauthorizedOperation" },
		"api any throttle": func(s *Stage, _ *world.Instance) bool {
			s.code("DescribeInstances") // takes the one token that is left
			return s.code("DescribeInstances") == "RequestLimitExceeded"
		},
		"server lic-01 ignores-shutdown": hangs(func(w *world.World, i *world.Instance) error { return w.StopMachine(i, world.Ending{}) },
			func(_ *world.World, i *world.Instance) bool { return i.State == fleet.InstanceStopped }),
		"volume vol-1 stuck": hangs(func(w *world.World, i *world.Instance) error { return w.TerminateMachine(i, world.Ending{}) },
			func(w *world.World, _ *world.Instance) bool { return w.Volume("vol-1").Holder == "" }),
	}
	told := []string{"host returns", "site returns", "server app-returns"} // the ends of others; tested below
	for text, broken := range cases {
		f, err := ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, f.Class+" "+f.Verb)
		t.Run(text, func(t *testing.T) {
			s, i := still(t)
			k, _ := faultKindOf(f)
			if k.lasts {
				if broken(s, i) {
					t.Fatal("it is broken before anything happened")
				}
				f.For = time.Minute
			}
			f.At = time.Second
			if err := s.Strike(nil, f); err != nil {
				t.Fatal(err)
			}
			s.Do(func(w *world.World) { w.Advance(2 * time.Second) })
			if !broken(s, i) {
				t.Fatal("nothing is broken")
			}
			s.Do(func(w *world.World) { w.Advance(time.Minute) })
			if k.lasts && broken(s, i) {
				t.Error("it is broken for ever")
			}
		})
	}
	guide, err := os.ReadFile("../../../../docs/guide/aws.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range faultKinds() {
		if !strings.Contains(string(guide), "\n"+k.usage()+"\n") {
			t.Errorf("docs/guide/aws.md does not tell: %s", k.usage())
		}
		if !slices.Contains(told, k.class+" "+k.verb) {
			t.Errorf("nothing tests %s %s", k.class, k.verb)
		}
	}
}

// What was broken to last comes back by a word, too; of several faults none happens if one
// cannot; and a fault whose server is gone by then is told.
func TestFaultsTogether(t *testing.T) {
	s, i := still(t)
	strike := func(lines ...string) (missed []string, err error) {
		var all []Fault
		for _, line := range lines {
			f, bad := ParseFault(line)
			if bad != nil {
				t.Fatal(bad)
			}
			all = append(all, f)
		}
		err = s.Strike(func(f Fault, err error) { missed = append(missed, f.Verb+": "+err.Error()) }, all...)
		s.Do(func(w *world.World) { w.Advance(time.Minute) })
		return missed, err
	}
	if _, err := strike("server lic-01 app-mute", "server lic-01 app-returns"); err != nil || i.App != world.AppOK {
		t.Errorf("%v, the application is %s", err, i.App)
	}
	if _, err := strike("host of/lic-01 dies", "site "+zone+" returns"); err != nil || s.World.Host(host).Dead {
		t.Errorf("%v, the host is dead", err)
	}
	if _, err := strike("host "+host+" dies", "host h-2 dies"); err == nil || s.World.Host(host).Dead {
		t.Errorf("%v, and the host is dead", err)
	}
	s, i = still(t)
	missed, err := strike("at 1s server lic-01 killed", "at 2s server lic-01 crashes")
	if err != nil || !i.State.Gone() || len(missed) != 1 || !strings.HasPrefix(missed[0], "crashes: no instance of server") {
		t.Errorf("%v, missed %q", err, missed)
	}
}
