package onprem

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider/onprem/link"
)

// records is an enrol.Registry that never changes.
type records []enrol.Host

func (r records) Hosts(context.Context) ([]enrol.Host, error) { return r, nil }
func (records) SaveHost(context.Context, enrol.Host) error    { return nil }
func (records) RemoveHost(context.Context, string) error      { return nil }
func record(name string, agent beat.AgentID) enrol.Host {
	return enrol.Host{Name: name, Agent: agent, BeatKey: make([]byte, beat.KeySize), Serial: name}
}

func instance(state fleet.InstanceState, epoch fleet.Epoch) link.Instance {
	return link.Instance{Server: "a", Epoch: epoch, State: state, SinceAgo: fleet.Duration(time.Second)}
}

func open(t *testing.T, dir string, hosts ...enrol.Host) *Hub {
	t.Helper()
	vault, err := enrol.NewDirVault(filepath.Join(dir, "vault"))
	if err != nil {
		t.Fatal(err)
	}
	auth, err := enrol.OpenAuthority(t.Context(), vault, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	h, err := New(t.Context(), Options{
		Authority: auth, Vault: vault, Registry: records(hosts), Contact: 3 * time.Second, Now: time.Now,
		Clock: func() int64 { return int64(time.Since(start)) + 1 },
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *Hub) sight(t *testing.T) (fleet.Observed, map[string]fleet.Host) {
	t.Helper()
	sweep, err := h.Observe(t.Context(), []fleet.Server{{Name: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]fleet.Host{}
	for _, x := range sweep.Hosts {
		hosts[x.Host.Name] = x.Host
	}
	return sweep.Servers[0].Observed, hosts
}

// What a silent host last said stays what it last said: neither gone nor fresh.
func TestSilenceIsNotAbsence(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, dir, record("host-1", 1), record("host-2", 2))
		got, hosts := h.sight(t)
		if got.Complete || hosts["host-1"].InContact != fleet.CannotTell {
			t.Errorf("right after the start: complete %v, %+v", got.Complete, hosts)
		}
		said := time.Now()
		h.take("host-1", &link.Report{Run: "r", Seq: 1, Instances: []link.Instance{instance(fleet.InstanceRunning, 3)}}, "")
		h.take("host-2", &link.Report{Run: "r", Seq: 1}, "")
		got, hosts = h.sight(t)
		if !got.Complete || len(got.Instances) != 1 || hosts["host-1"].InContact != fleet.Yes {
			t.Errorf("after the reports: %+v %+v", got, hosts)
		}
		if in := got.Instances[0]; !in.Since.Equal(said.Add(-time.Second)) || !in.At.Equal(said) {
			t.Errorf("times of the instance: %+v, reported at %v", in, said)
		}
		time.Sleep(5 * time.Second)
		h.take("host-2", &link.Report{Run: "r", Seq: 2}, "")
		got, hosts = h.sight(t)
		if got.Complete || hosts["host-1"].InContact != fleet.No || hosts["host-2"].InContact != fleet.Yes {
			t.Errorf("host-1 fell silent: complete %v, %+v", got.Complete, hosts)
		}
		if len(got.Instances) != 1 || got.Instances[0].State != fleet.InstanceRunning || !got.Instances[0].At.Equal(said) {
			t.Errorf("host-1 fell silent: %+v", got.Instances)
		}
		if !hosts["host-1"].Since.Equal(said) {
			t.Errorf("silent since %v, want since its last word at %v", hosts["host-1"].Since, said)
		}
		// The other host's silence says nothing about a server that it never had.
		h.take("host-1", &link.Report{Run: "r", Seq: 2, Instances: []link.Instance{instance(fleet.InstanceRunning, 3)}}, "")
		time.Sleep(2 * time.Second)
		h.take("host-1", &link.Report{Run: "r", Seq: 3, Instances: []link.Instance{instance(fleet.InstanceRunning, 3)}}, "")
		time.Sleep(2 * time.Second)
		h.take("host-1", &link.Report{Run: "r", Seq: 4, Instances: []link.Instance{instance(fleet.InstanceRunning, 3)}}, "")
		if got, hosts = h.sight(t); !got.Complete || hosts["host-2"].InContact != fleet.No {
			t.Errorf("host-2 fell silent: complete %v, %+v", got.Complete, hosts)
		}
	})
}

func TestOldReportsAreNotTaken(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, dir, record("host-1", 1))
		h.take("host-1", &link.Report{Run: "r", Seq: 2, Instances: []link.Instance{instance(fleet.InstanceReaped, 1)}}, "")
		h.take("host-1", &link.Report{Run: "r", Seq: 1, Instances: []link.Instance{instance(fleet.InstanceRunning, 1)}}, "")
		if got, _ := h.sight(t); got.Instances[0].State != fleet.InstanceReaped {
			t.Errorf("an overtaken report was taken: %+v", got.Instances)
		}
		h.take("host-1", &link.Report{Run: "s", Seq: 1}, "")
		if got, _ := h.sight(t); len(got.Instances) != 0 {
			t.Errorf("the report of a new agent was not taken: %+v", got.Instances)
		}
	})
}

// A host that shows life and sends no report holds up one sweep, and not every one.
func TestMuteHostHoldsUpOneSweep(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, dir, record("host-1", 1))
		h.take("host-1", &link.Report{Run: "r", Seq: 1}, "")
		time.Sleep(2 * time.Second) // older than FreshFor, within Contact
		for i, want := range []time.Duration{lookWait, 0, 0} {
			h.beginPoll("host-1")
			began := time.Now()
			h.sight(t)
			if took := time.Since(began); took != want {
				t.Errorf("sweep %d took %v, want %v", i, took, want)
			}
		}
	})
}
