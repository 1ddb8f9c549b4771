package controller

import (
	"strings"
	"testing"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

func TestDoctorJudgesPower(t *testing.T) {
	on := client.PowerDevice{Level: 1, Device: "fence_a plug 1", State: "on"}
	off := client.PowerDevice{Level: 1, Device: "fence_a plug 2", State: "off"}
	broken := client.PowerDevice{Level: 1, Device: "fence_b plug 1", State: "unknown", Error: "login refused"}
	at := func(level int, d client.PowerDevice) client.PowerDevice { d.Level = level; return d }
	odd := on
	odd.Doubts = []string{`it does not know the option "ipadr"`}
	for _, c := range []struct {
		name    string
		contact fleet.Answer
		devices []client.PowerDevice
		state   client.DoctorState
		detail  string
	}{
		{"answers", fleet.Yes, []client.PowerDevice{on}, client.DoctorOK, "1 devices answer"},
		{"off and gone", fleet.No, []client.PowerDevice{off}, client.DoctorOK, ""},
		{"off and in contact", fleet.Yes, []client.PowerDevice{off}, client.DoctorFail, "another host's plug"},
		{"one supply off", fleet.Yes, []client.PowerDevice{on, off}, client.DoctorOK, ""},
		{"the second level is another's", fleet.Yes, []client.PowerDevice{on, at(2, off)}, client.DoctorFail, "another host's plug"},
		{"nothing works", fleet.Yes, []client.PowerDevice{broken}, client.DoctorFail, "login refused"},
		{"half a level", fleet.Yes, []client.PowerDevice{on, broken}, client.DoctorFail, "login refused"},
		{"one level works", fleet.Yes, []client.PowerDevice{broken, at(2, on)}, client.DoctorWarn, "login refused"},
		{"a slip in the options", fleet.Yes, []client.PowerDevice{odd}, client.DoctorWarn, "ipadr"},
	} {
		got := judgePower(fleet.Host{Name: "host-1", InContact: c.contact}, c.devices)
		if got.State != c.state || !strings.Contains(got.Detail, c.detail) || !strings.Contains(got.Next, "relight power status host-1") {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
