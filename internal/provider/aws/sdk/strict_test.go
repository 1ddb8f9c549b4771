package sdk_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	awsprovider "relight/internal/provider/aws"
	"relight/internal/world"
)

// What no other emulator refuses: the errors that recoveries run into, by EC2's own codes,
// each as the SDK reads it off the wire.
func TestFake_StrictErrors(t *testing.T) {
	a := newAccount(t, func(c *world.Config) { c.Delays.Copy = world.Span{Min: time.Hour} })
	ctx := t.Context()
	a.server() // vol-01, in zone a
	a.server() // vol-02
	launch := func(token, kind, subnet string) (string, error) {
		return a.cloud.Launch(ctx, awsprovider.Launch{Token: token, Template: a.lt, Version: 1, Type: kind, Subnet: subnet})
	}
	var ids []string
	for _, subnet := range []string{"subnet-a", "subnet-a", "subnet-b"} {
		id, err := launch("token of "+subnet+strconv.Itoa(len(ids)), "m7i.large", subnet)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	one, two, elsewhere := ids[0], ids[1], ids[2]
	var copied string
	a.locked(func() {
		snap, err := a.w.TakeSnapshot("vol-01", "")
		if err != nil {
			t.Fatal(err)
		}
		copied = snap.ID
	})
	young, err := a.cloud.MakeVolume(ctx, awsprovider.NewVolume{Token: "copy", Snapshot: copied, Zone: zoneA})
	if err != nil {
		t.Fatal(err)
	}
	attach := func(volume, instance string) error { return a.cloud.AttachVolume(ctx, volume, instance, "/dev/sdk") }
	for n, row := range []struct {
		want string
		err  func() error
	}{
		{"IncorrectState", func() error { return attach(young, one) }},                              // it is creating
		{"IncorrectState", func() error { return a.cloud.DetachVolume(ctx, "vol-01", one, false) }}, // it is available
		{"InvalidVolume.ZoneMismatch", func() error { return attach("vol-01", elsewhere) }},
		{"", func() error { return attach("vol-01", one) }},
		{"VolumeInUse", func() error { return attach("vol-01", two) }},
		{"VolumeInUse", func() error { return attach("vol-01", one) }}, // also by itself
		{"InvalidAttachment.NotFound", func() error { return a.cloud.DetachVolume(ctx, "vol-01", two, false) }},
		{"InvalidAttachment.NotFound", func() error { return a.cloud.DetachVolume(ctx, "vol-01", two, true) }}, // by force neither
		{"IdempotentParameterMismatch", func() error { _, err := launch("token of subnet-a1", "m6i.large", "subnet-a"); return err }},
		{"", func() error { return a.cloud.Terminate(ctx, two, awsprovider.Ending{}) }},
		{"IdempotentInstanceTerminated", func() error { _, err := launch("token of subnet-a1", "m7i.large", "subnet-a"); return err }},
		{"IncorrectInstanceState", func() error { return attach("vol-02", two) }},
		{"IncorrectInstanceState", func() error { return a.cloud.Start(ctx, two) }},
		{"", func() error { a.locked(func() { a.w.SetCapacity(zoneA, "m7i.large", 0, false) }); return nil }},
		{"InsufficientInstanceCapacity", func() error { _, err := launch("no room", "m7i.large", "subnet-a"); return err }},
		{"", func() error { a.locked(func() { a.w.SetQuota("RunInstances", 0, 0) }); return nil }},
		{"RequestLimitExceeded", func() error { _, err := launch("no token", "m6i.large", "subnet-a"); return err }},
	} {
		err, code := row.err(), ""
		if e := new(awsprovider.APIError); errors.As(err, &e) {
			code = e.Code
		}
		if code != row.want || (err == nil) != (row.want == "") {
			t.Errorf("row %d: %v, want %s", n, err, row.want)
		}
	}
	if at := a.w.Volume("vol-01").Holder; at != one {
		t.Errorf("what was refused had an effect: the volume is at %q", at)
	}
}
