package onprem

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

// records is an enrol.Registry that never changes.
type records []enrol.Host

func (r records) Hosts(context.Context) ([]enrol.Host, error) { return r, nil }
func (records) SaveHost(context.Context, enrol.Host) error    { return nil }
func (records) ChangeHost(context.Context, string, func(enrol.Host) (enrol.Host, error)) error {
	return nil
}
func (records) RemoveHost(context.Context, string) error { return nil }
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
		for i, want := range []time.Duration{h.lookWait(), 0, 0} {
			h.beginPoll("host-1")
			began := time.Now()
			h.sight(t)
			if took := time.Since(began); took != want {
				t.Errorf("sweep %d took %v, want %v", i, took, want)
			}
		}
	})
}

// The answer of a host that dies with a command in hand never comes: whoever waits
// for it is told as soon as the host counts as out of contact.
func TestCommandEndsWithItsHostsContact(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, dir, record("host-1", 1))
		h.take("host-1", &link.Report{Run: "r", Seq: 1}, "")
		began := time.Now()
		_, err := h.Do(t.Context(), provider.Call{
			Step: fleet.Step{Kind: fleet.StepStop, Server: "a", Epoch: 1, Host: "host-1", Token: "t", Within: fleet.Duration(time.Minute)},
		})
		class, _ := provider.ClassOf(err)
		if took := time.Since(began); !errors.Is(err, errSilent) || class != provider.Retry || took > h.opt.Contact+h.opt.Contact/2 {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

// An older poll may wait on a connection that died without a word: it gets nothing.
func TestOnlyTheNewestPollIsServed(t *testing.T) {
	h := open(t, t.TempDir(), record("host-1", 1))
	req := &link.Work{Watch: h.plan, Controller: h.run}
	old := h.beginPoll("host-1")
	if _, _, more := h.gather("host-1", old, req); !more {
		t.Fatal("there is nothing to do")
	}
	fresh := h.beginPoll("host-1")
	h.mu.Lock()
	h.hosts["host-1"].enqueue(link.Command{ID: "t1"}, time.Now().Add(time.Minute))
	h.mu.Unlock()
	if out, _, more := h.gather("host-1", old, req); more || len(out.Commands) != 0 {
		t.Errorf("the old poll got %+v, more %v", out, more)
	}
	if out, _, _ := h.gather("host-1", fresh, req); len(out.Commands) != 1 {
		t.Errorf("the new poll got %+v", out)
	}
}

// A call whose context has ended must not reach an agent that waits at that moment.
func TestCallThatWasGivenUpIsNotQueued(t *testing.T) {
	h := open(t, t.TempDir(), record("host-1", 1))
	h.beginPoll("host-1")
	bell := h.hosts["host-1"].bell
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.Do(ctx, provider.Call{Step: fleet.Step{Kind: fleet.StepStop, Server: "a", Epoch: 1, Host: "host-1", Token: "t1"}})
	if class, may := provider.ClassOf(err); class != provider.Retry || may {
		t.Errorf("%v, want a retry that cannot have happened", err)
	}
	select {
	case <-bell:
		t.Error("the agent was woken")
	default:
	}
}

// While a command's outcome is unknown nothing may be concluded from its absence.
func TestDoubtEndsWithItsTime(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, dir, record("host-1", 1))
		h.take("host-1", &link.Report{Run: "r", Seq: 1}, "")
		x := h.hosts["host-1"]
		j := x.enqueue(link.Command{ID: "t1", Step: fleet.Step{Kind: fleet.StepLaunch, Server: "a"}}, time.Now().Add(time.Second))
		x.hand(nil, time.Now())
		x.leave(j)
		x.look, x.looked, x.lookAsked = 1, 0, time.Now().Add(-time.Hour) // no agent is there to be waited for
		h.take("host-1", &link.Report{Run: "r", Seq: 2}, "")
		if got, _ := h.sight(t); got.Complete {
			t.Error("complete while the command may be under way")
		}
		time.Sleep(time.Second + lateBy + time.Millisecond)
		h.take("host-1", &link.Report{Run: "r", Seq: 3}, "")
		if got, _ := h.sight(t); !got.Complete {
			t.Error("incomplete though the command must have ended")
		}
	})
}

// A host whose look at a volume hangs reaches that volume no more, and its own word on
// its storage heartbeat counts for more than what others read there.
func TestHostThatLostItsStorage(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, dir, record("host-1", 1), record("host-2", 2))
		say := func(seq uint64, ago time.Duration, own, seen fleet.Answer) provider.HostSight {
			t.Helper()
			h.take("host-1", &link.Report{Run: "r", Seq: seq, StorageBeat: own, Volumes: []link.Volume{{Server: "a", Volume: "data", Ago: fleet.Duration(ago)}}}, "")
			h.take("host-2", &link.Report{Run: "r", Seq: seq, StorageBeats: []link.HostAnswer{{Host: "host-1", Alive: seen}}}, "")
			sweep, err := h.Observe(t.Context(), []fleet.Server{{Name: "a"}})
			if err != nil {
				t.Fatal(err)
			}
			return sweep.Hosts[0]
		}
		if got := say(1, time.Second, fleet.Yes, fleet.No); len(got.Reaches["a"]) != 1 || got.Host.StorageBeat != fleet.Yes {
			t.Errorf("a host with its storage: %+v", got)
		}
		if got := say(2, 11*time.Second, fleet.No, fleet.CannotTell); len(got.Reaches["a"]) != 0 || got.Host.StorageBeat != fleet.No {
			t.Errorf("a host without: %+v", got)
		}
		if got := say(3, time.Second, fleet.CannotTell, fleet.No); got.Host.StorageBeat != fleet.CannotTell {
			t.Errorf("a host that beats on no storage any more, of which a file is left: %+v", got)
		}
	})
}
