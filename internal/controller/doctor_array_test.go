package controller

import (
	"errors"
	"strings"
	"testing"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider/san"
)

// The doctor says of an array whose word alone proves servers on EC2 dead whether that
// would outlast a cut service link, as far as this machine can tell.
func TestOP_SVCLINK_DoctorAsksTheArray(t *testing.T) {
	lun, ebs := fleet.Volume{Name: "a", LUN: &fleet.LUN{Array: "san-1"}}, fleet.Volume{Name: "b", ID: "vol-1"}
	server := func(name string, ec2 bool, fence fleet.FenceDemand, volumes ...fleet.Volume) fleet.Server {
		s := fleet.Server{Name: name}
		s.Spec.Identity.Volumes, s.Spec.Fence = volumes, fence
		if ec2 {
			s.Spec.Template.EC2 = &fleet.EC2Template{}
		}
		return s
	}
	servers := []fleet.Server{
		server("till-2", true, fleet.FenceStorage, lun), server("till-1", true, fleet.FenceStorage, lun), server("mixed", true, fleet.FenceStorage, lun, ebs),
		server("both", true, fleet.FenceBoth, lun), server("vm", false, fleet.FenceStorage, lun), server("none", true, fleet.FenceStorage),
	}
	behind := provedBy(servers, "san-1")
	if got := strings.Join(behind, " "); got != "till-1 till-2" || len(provedBy(servers, "san-2")) > 0 {
		t.Fatalf("it proves %q", got)
	}
	for name, c := range map[string]struct {
		err    error
		behind []string
		near   fleet.Answer
		state  client.DoctorState
		words  string
	}{
		"no server on EC2":      {nil, nil, fleet.No, client.DoctorOK, "its servers can be fenced there"},
		"on the same network":   {nil, behind, fleet.Yes, client.DoctorOK, "no router lies between; behind a cut service link it proves 2 servers on EC2 (till-1, till-2) dead"},
		"through a router":      {nil, behind, fleet.No, client.DoctorWarn, "a cut takes with it the proof for 2 servers"},
		"nobody knows how":      {nil, behind, fleet.CannotTell, client.DoctorWarn, "a cut takes with it the proof for 2 servers"},
		"it does not answer":    {errors.New("refused"), nil, fleet.Yes, client.DoctorFail, "fenced by power alone: refused"},
		"nor for those on EC2":  {errors.New("refused"), behind, fleet.Yes, client.DoctorFail, "nothing else proves 2 servers on EC2 (till-1, till-2) dead: refused"},
		"and there are several": {nil, []string{"a", "b", "c", "d"}, fleet.Yes, client.DoctorOK, "4 servers on EC2 (a, b, c …)"},
	} {
		got := arrayCheck(san.State{Name: "san-1", Site: "dc", Err: c.err}, c.behind, "10.9.0.2", c.near)
		if got.Name != "array san-1" || got.State != c.state || !strings.Contains(got.Detail, c.words) || (got.State != client.DoctorOK) != (got.Next != "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	line := san.State{Name: "san-1", Without: []string{"db-1", "db-2"}}
	if got := arrayCheck(line, nil, "", fleet.Yes); got.State != client.DoctorWarn || !strings.Contains(got.Detail, "2 of them have no second line (db-1, db-2)") || got.Next == "" {
		t.Errorf("%+v", got)
	}
	line.NoLine = "UNMAP passes a reservation"
	if got := arrayCheck(line, nil, "", fleet.Yes); got.State != client.DoctorWarn || !strings.Contains(got.Detail, "no second line: UNMAP passes") || got.Next != "relight doctor array san-1" {
		t.Errorf("%+v", got)
	}
	if got := managementOf(san.State{URL: "https://[fd00::9]:8443"}) + " " + managementOf(san.State{}); got != "fd00::9 " {
		t.Errorf("management %q", got)
	}
	if near, far := onOwnNetwork(t.Context(), "127.0.0.9"), onOwnNetwork(t.Context(), "203.0.113.9"); near != fleet.Yes || far != fleet.No {
		t.Errorf("loopback %s, a far one %s", near, far)
	}
}
