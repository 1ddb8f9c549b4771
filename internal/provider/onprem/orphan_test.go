package onprem

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/array/arraytest"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

func told(list []provider.Orphan) []string {
	var out []string
	for _, o := range list {
		if o.Err != nil {
			out = append(out, "unknown "+o.On)
			continue
		}
		out = append(out, fmt.Sprintf("%s %s %d %s %s", o.Kind, o.Server, o.Epoch, o.On, o.What))
	}
	return out
}

// What a host tells of a server that is not in the fleet is listed; what is the fleet's,
// and what is over, is not. A host that does not report is not taken for one that has
// nothing.
func TestOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := sanHub(t, arraytest.NewShelf()) // its server is "a"
		h.take("host-1", &link.Report{
			Run: "r", Seq: 1,
			Instances: []link.Instance{
				{Server: "a", Epoch: 2, State: fleet.InstanceRunning},
				{Server: "old", Epoch: 4, State: fleet.InstanceRunning},
				{Server: "old", Epoch: 3, State: fleet.InstanceReaped},
			},
			Addresses: []link.Address{{Server: "old", IP: "192.0.2.7", Holder: 4}, {Server: "a", IP: "192.0.2.8", Holder: 2}},
			Warm:      []fleet.Warm{{Server: "gone", Units: 2}},
		}, "")
		want := []string{"instance old 4 host-1 ", "address old 4 host-1 192.0.2.7", "standby gone 0 host-1 "}
		got := h.Orphans()
		if !slices.Equal(told(got), want) {
			t.Errorf("orphans %q, want %q", told(got), want)
		}
		for _, o := range got {
			if o.Next == "" {
				t.Errorf("nothing to type for %+v", o)
			}
		}
		<-time.After(time.Minute) // it reports no more
		if got, want := told(h.Orphans()), append([]string{"unknown host-1"}, want...); !slices.Equal(got, want) {
			t.Errorf("orphans %q, want %q", got, want)
		}
	})
}
