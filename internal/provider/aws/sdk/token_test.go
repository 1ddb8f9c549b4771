package sdk_test

import (
	"context"
	"testing"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
)

// forgetful is EC2 whose looks by token lag: so many of them see nothing yet.
type forgetful struct {
	awsprovider.Cloud
	blind int
}

func (f *forgetful) sees() bool {
	f.blind--
	return f.blind < 0
}

func (f *forgetful) ByToken(ctx context.Context, token string) (*awsprovider.Machine, error) {
	if !f.sees() {
		return nil, nil
	}
	return f.Cloud.ByToken(ctx, token)
}

func (f *forgetful) VolumeByToken(ctx context.Context, token string) (string, error) {
	if !f.sees() {
		return "", nil
	}
	return f.Cloud.VolumeByToken(ctx, token)
}

func (f *forgetful) InterfaceByToken(ctx context.Context, token string) (*awsprovider.Interface, error) {
	if !f.sees() {
		return nil, nil
	}
	return f.Cloud.InterfaceByToken(ctx, token)
}

func (f *forgetful) Instances(ctx context.Context, zone string, servers []string) ([]awsprovider.Machine, error) {
	if f.blind > 0 {
		return nil, nil
	}
	return f.Cloud.Instances(ctx, zone, servers)
}

// done counts the calls of an action that had an effect.
func (a *account) done(action string) (n int) {
	for _, e := range a.fake.Ledger() {
		if e.Action == action && e.Code == "" {
			n++
		}
	}
	return n
}

// A later try finds the interface and the copy that an earlier one made under the same
// token and with other parameters, also where the look before it lags; and as long as
// nobody sees them it waits instead of giving up or making others.
func TestOP_NETID_TokenWithOtherParameters(t *testing.T) {
	for blind, retries := range map[int]bool{0: false, 1: false, 2: true} {
		a := newAccount(t, nil)
		s := a.server()
		s.Spec.Identity.Addresses = nil
		s.Spec.Identity.Interfaces = []fleet.Interface{{ID: "eni-01", Index: 1, NewAddress: true}}
		s.Spec.Identity.Volumes[0].FromSnapshot = &fleet.FromSnapshot{MaxLoss: fleet.Duration(time.Hour)}
		x := a.steps(s)
		if err := x.at(1)(fleet.StepLaunch, fleet.Object{}); err != nil {
			t.Fatal(err)
		}
		var snap string
		a.locked(func() {
			a.w.Advance(time.Minute)
			taken, err := a.w.TakeSnapshot("vol-01", "")
			if err != nil {
				t.Fatal(err)
			}
			snap = taken.ID
			a.w.Advance(time.Minute)
		})
		for _, part := range []string{"CreateVolume", "CreateNetworkInterface"} {
			x.proof = x.end(1)
			x.s.Away = &fleet.Away{Zone: zoneB, Subnet: "subnet-b", Declared: "subnet-a", Epoch: 2}
			switch part {
			case "CreateVolume":
				x.s.Away.Copies = []fleet.Copy{{Volume: "data", Declared: "vol-01", Of: "vol-01", Snapshot: snap, Token: "t-copy"}}
			default:
				x.s.Spec.Identity.Volumes = nil // they would be in another zone than the launch
				x.s.Away.Interfaces = []fleet.Swap{{Declared: "eni-01", Of: "eni-01", Token: "t-swap"}}
			}
			cloud := &forgetful{Cloud: a.cloud}
			a.p = awsprovider.New(awsprovider.Options{Cloud: cloud, Region: "eu-west-1", Now: a.now})
			a.locked(func() { a.w.SetCapacity(zoneB, "m7i.large", 0, false); a.w.SetCapacity(zoneB, "m6i.large", 0, false) })
			if err := x.at(2)(fleet.StepLaunch, fleet.Object{}); err == nil {
				t.Fatal("there is no room, and it was launched")
			}
			if n := a.done(part); n != 1 {
				t.Fatalf("%d calls of %s had an effect", n, part)
			}
			// The next try is of another epoch, which the tags tell.
			again := x.call(fleet.StepLaunch, 3, fleet.Object{})
			never := fleet.Evidence{Method: fleet.NeverStarted, Server: s.Name, Epoch: 2, At: a.now()}
			again.Proof, _ = fence.Prove(x.s, 2, "", append(x.told, never), a.now())
			cloud.blind = blind
			_, err := a.p.Do(t.Context(), again)
			class, _ := provider.ClassOf(err)
			if want := provider.Capacity; !retries && class != want {
				t.Errorf("blind %d: class %s, want %s", blind, class, want)
			}
			if retries && class != provider.Retry {
				t.Errorf("blind %d: class %s: it gave up on what was made", blind, class)
			}
			if n := a.done(part); n != 1 {
				t.Errorf("blind %d: %d calls of %s had an effect", blind, n, part)
			}
		}
	}
}

// A launch whose answer is lost was of the second machine type, and the next call begins
// with the first: EC2 refuses the token. As long as it does not tell of the instance
// nobody knows that there is none (S2).
func TestOP_RUN_TokenOfAnotherType(t *testing.T) {
	for blind, found := range map[int]bool{0: true, 1: false} {
		a := newAccount(t, nil)
		s := a.server()
		s.Spec.Identity = fleet.Identity{}
		s.Spec.Template.EC2.Types = []string{"m6i.large"}
		x := a.steps(s)
		a.locked(func() { a.w.SetCapacity(zoneA, "m7i.large", 0, false) })
		if err := x.at(1)(fleet.StepLaunch, fleet.Object{}); err != nil {
			t.Fatal(err)
		}
		a.locked(func() { a.w.SetCapacity(zoneA, "m7i.large", 9, false) })
		a.p = awsprovider.New(awsprovider.Options{Cloud: &forgetful{Cloud: a.cloud, blind: 2 * blind}, Region: "eu-west-1", Now: a.now})
		if blind == 0 { // the look before the launch lags, the one by token does not
			a.p = awsprovider.New(awsprovider.Options{Cloud: unseeing{a.cloud}, Region: "eu-west-1", Now: a.now})
		}
		_, err := a.p.Do(t.Context(), x.call(fleet.StepLaunch, 1, fleet.Object{}))
		class, maybe := provider.ClassOf(err)
		switch {
		case found && err != nil:
			t.Errorf("what was launched was not found: %v", err)
		case !found && (err == nil || class != provider.Retry || !maybe):
			t.Errorf("class %s, may have happened %v: %v", class, maybe, err)
		}
		if n := a.done("RunInstances"); n != 1 {
			t.Errorf("%d launches", n)
		}
	}
}

// unseeing is EC2 whose lists of instances lag.
type unseeing struct{ awsprovider.Cloud }

func (unseeing) Instances(context.Context, string, []string) ([]awsprovider.Machine, error) {
	return nil, nil
}
