package detect_test

import (
	"testing"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
)

// Where a platform has no word on an instance, as behind the cut link of an Outpost, a
// silence is worth what it is elsewhere if arrays alone can shut the server out, and
// nothing if only the platform could end it. Whoever is heard counts before the silence.
func TestSilenceBehindACutLink(t *testing.T) {
	blind := fleet.Signal{Source: fleet.Source{Channel: fleet.ChannelProvider, Vantage: "eu-west-1"}, Question: fleet.Alive, Answer: fleet.CannotTell, Epoch: 3, At: noon, Since: noon.Add(-time.Hour), Detail: "EC2 says running, and has no data of its status checks"}
	beat := func(age time.Duration) fleet.Signal {
		return fleet.Signal{Source: fleet.Source{Channel: fleet.ChannelBeat, Vantage: "controller"}, Question: fleet.Alive, Answer: fleet.Yes, Epoch: 3, At: noon.Add(-age), Since: noon.Add(-time.Hour)}
	}
	lun := fleet.Volume{Name: "data", Reach: fleet.ReachArray, LUN: &fleet.LUN{Array: "san-1", Name: "x", Unit: 1}}
	ebs := fleet.Volume{Name: "log", ID: "vol-1", Reach: fleet.ReachZone}
	for name, c := range map[string]struct {
		volumes   []fleet.Volume
		oneSource fleet.OneSource
		signals   []fleet.Signal
		want      fleet.Verdict
		person    bool
	}{
		"silent, and one source is enough": {[]fleet.Volume{lun}, fleet.OneSourceFence, []fleet.Signal{blind, beat(time.Minute)}, fleet.Down, false},
		"silent for a moment":              {[]fleet.Volume{lun}, fleet.OneSourceFence, []fleet.Signal{blind, beat(2 * time.Second)}, fleet.Suspect, false},
		"silent, and a person decides":     {[]fleet.Volume{lun}, fleet.OneSourceHold, []fleet.Signal{blind, beat(time.Minute)}, fleet.Suspect, true},
		"with a volume of the platform's":  {[]fleet.Volume{lun, ebs}, fleet.OneSourceFence, []fleet.Signal{blind, beat(time.Minute)}, fleet.Unknown, false},
		"without volumes":                  {nil, fleet.OneSourceFence, []fleet.Signal{blind, beat(time.Minute)}, fleet.Unknown, false},
		"never heard":                      {[]fleet.Volume{lun}, fleet.OneSourceFence, []fleet.Signal{blind}, fleet.Unknown, false},
		"heard by another way":             {[]fleet.Volume{lun}, fleet.OneSourceFence, []fleet.Signal{blind, beat(100 * time.Millisecond)}, fleet.Suspect, false},
	} {
		s := newStory()
		in := s.in
		in.Server.Spec.Template.EC2 = &fleet.EC2Template{}
		in.Server.Spec.Identity.Volumes, in.Server.Spec.OneSource, in.Signals = c.volumes, c.oneSource, c.signals
		if f := detect.Judge(in, noon); f.Verdict != c.want || f.NeedsPerson != c.person {
			t.Errorf("%s: %s, needs a person %v (%s)", name, f.Verdict, f.NeedsPerson, f.Reason)
		}
	}
}
