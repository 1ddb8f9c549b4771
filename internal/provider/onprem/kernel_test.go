package onprem

import (
	"testing"
	"testing/synctest"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// What a host's kernel told another host is a source of its own; what a host says of
// itself, and what is no yes, is none.
func TestKernelsSpeakForTheirHosts(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, dir, record("host-1", 1), record("host-2", 2))
		h.take("host-2", &link.Report{Run: "r", Seq: 1, Kernels: []link.HostAnswer{
			{Host: "host-1", Alive: fleet.Yes}, {Host: "host-1", Alive: fleet.No}, {Host: "host-2", Alive: fleet.Yes}, {Host: "host-9", Alive: fleet.Yes},
		}}, "")
		sweep, err := h.Observe(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := fleet.Source{Channel: fleet.ChannelKernel, Vantage: "host-2"}
		for _, host := range sweep.Hosts {
			var got []fleet.Signal
			for _, s := range host.Signals {
				if s.Source.Channel == fleet.ChannelKernel {
					got = append(got, s)
				}
			}
			if host.Host.Name == "host-2" && len(got) != 0 {
				t.Errorf("a host vouches for itself: %+v", got)
			}
			if host.Host.Name == "host-1" && (len(got) != 1 || got[0].Source != want || got[0].Answer != fleet.Yes || got[0].Question != fleet.Alive) {
				t.Errorf("host-1: %+v", got)
			}
		}
	})
}
