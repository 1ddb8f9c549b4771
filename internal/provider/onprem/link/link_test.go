package link

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"relight/internal/core/fleet"
)

func TestDecodeRefuses(t *testing.T) {
	instance := func(i Instance) Report { return Report{V: Version, Instances: []Instance{i}} }
	long := strings.Repeat("x", 70)
	for name, m := range map[string]Report{
		"version":       {V: 2},
		"server name":   instance(Instance{Server: "../x", Epoch: 1, State: fleet.InstanceRunning}),
		"long name":     instance(Instance{Server: long, Epoch: 1, State: fleet.InstanceRunning}),
		"no epoch":      instance(Instance{Server: "a", State: fleet.InstanceRunning}),
		"unknown state": instance(Instance{Server: "a", Epoch: 1, State: "fine"}),
		"answer":        {V: Version, Checks: []Answer{{Server: "a", Works: 7}}},
		"units":         {V: Version, Units: -1},
	} {
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		err = Decode(bytes.NewReader(data), MaxBody, new(Report))
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if err := Decode(strings.NewReader(`{"v":1,"run":"a"}`), 8, new(Report)); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	if err := Decode(strings.NewReader("\n\n{\"v\":1,\"new\":true}"), MaxBody, new(WorkReply)); err != nil {
		t.Errorf("keep-alive newlines and unknown fields: %v", err)
	}
}

func TestCut(t *testing.T) {
	got := Cut(strings.Repeat("ä", MaxText))
	if len(got) > MaxText || !utf8.ValidString(got) {
		t.Errorf("cut to %d bytes, valid %v", len(got), utf8.ValidString(got))
	}
}

// fuzz decodes arbitrary bytes as each message; what is taken must survive being
// sent on.
func fuzz[M Message](t *testing.T, data []byte, fresh func() M) {
	m := fresh()
	if err := Decode(bytes.NewReader(data), MaxBody, m); err != nil {
		return
	}
	again, err := json.Marshal(m)
	if err != nil {
		t.Fatalf("%T was taken and cannot be sent on: %v", m, err)
	}
	if err := Decode(bytes.NewReader(again), 4*MaxBody, fresh()); err != nil {
		t.Fatalf("%T was taken and is refused when sent on: %v", m, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"run":"r","seq":1,"units":4,"instances":[{"server":"a","epoch":1,"state":"running","sinceAgo":"1s"}]}`))
	f.Add([]byte(`{"v":1,"commands":[{"id":"t","term":1,"step":{"kind":"launch","server":"a","epoch":1,"object":{}},"within":"5s"}],"watch":{"version":1}}`))
	f.Add([]byte(`{"v":1,"id":"t","class":"retry","evidence":[{"method":"sealed"}]}`))
	f.Add([]byte(`{"v":1,"token":"relight1.00","host":"host-1","csr":"AA=="}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzz(t, data, func() *JoinRequest { return new(JoinRequest) })
		fuzz(t, data, func() *JoinReply { return new(JoinReply) })
		fuzz(t, data, func() *Work { return new(Work) })
		fuzz(t, data, func() *WorkReply { return new(WorkReply) })
		fuzz(t, data, func() *Result { return new(Result) })
		fuzz(t, data, func() *Report { return new(Report) })
	})
}
