package controller_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"relight/internal/agent"
	"relight/internal/agent/driver/virsh"
	"relight/internal/agent/driver/virsh/virshtest"
	"relight/internal/api/client"
	"relight/internal/array"
	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// joinLibvirt starts an agent whose machines are a libvirt's.
func (c control) joinLibvirt(t *testing.T, name, uri string, log *slog.Logger) {
	t.Helper()
	token, err := c.CreateJoinToken(t.Context(), client.JoinTokenRequest{Host: name})
	must(t, err)
	dir := t.TempDir()
	domains, err := agent.NewDomains(agent.DomainOptions{Conn: &virsh.Conn{URI: uri}, Dir: filepath.Join(dir, "domains"), Clock: time.Now, Log: log.With("host", name)})
	must(t, err)
	a, err := agent.New(agent.Options{
		Dir: dir, Name: name, Controller: c.addresses.URL, Token: token.Token, Units: 4, PeerAddr: "127.0.0.1:0",
		Driver: newInitiators(newLedger()), Machines: domains, Log: log.With("host", name), ReportEvery: 300 * time.Millisecond,
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { domains.Run(ctx) })
	wg.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Errorf("agent %s: %v", name, err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// bootSector says hello on the first serial port, and halts.
func bootSector() []byte {
	b := make([]byte, 512)
	copy(b, []byte{0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x16, 0x7c, 0xba, 0xf8, 0x03, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, 0xf4, 0xf4})
	copy(b[0x16:], "<hello>\n\x00")
	b[510], b[511] = 0x55, 0xaa
	return b
}

// byHand is a domain as its owner made it: it logs in under a name that he chose.
const byHand = `<domain type='qemu'><name>db-1</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><title>my own</title>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='network' device='disk'><driver name='qemu' type='raw'/>
<source protocol='iscsi' name='iqn.2026-01.hand:t/1'><host name='%s' port='%s'/><initiator><iqn name='iqn.2026-01.hand:db-1'/></initiator></source>
<target dev='vda' bus='virtio'/></disk>
<serial type='file'><source path='%s'/></serial></devices></domain>`

// libvirtSites are the sites of two hosts with libvirt, on one array.
const libvirtSites = `
apiVersion: relight/v1alpha1
kind: Policy
metadata: {name: default}
spec:
  mode: auto
  health: {suspectAfter: 1s, downAfter: 1s, startupGrace: 30s}
  ladder: {verifyWithin: 60s, backOff: 1s, maxBackOff: 2s}
` + sanSites

// adopted is a domain that its owner has defined and started, and a controller that
// watches it since it was imported.
type adopted struct {
	t       *testing.T
	target  *target
	control control
	conn    *virsh.Conn
	domain  virsh.Domain
	console string
	// document is what import has printed.
	document string
}

func (a *adopted) tgtadm(args ...string) {
	a.t.Helper()
	out, err := exec.Command("tgtadm", append([]string{"-C", a.target.control, "--lld", "iscsi"}, args...)...).CombinedOutput()
	if err != nil {
		a.t.Fatalf("tgtadm %v: %v: %s", args, err, out)
	}
}

func (a *adopted) virsh(args ...string) {
	a.t.Helper()
	out, err := exec.Command("virsh", append([]string{"--connect", a.conn.URI}, args...)...).CombinedOutput()
	if err != nil {
		a.t.Fatalf("virsh %v: %v: %s", args, err, out)
	}
}

// boots waits until the guest has booted from its LUN, and forgets that it has.
func (a *adopted) boots() {
	a.t.Helper()
	eventually(a.t, "the guest boots", func() error {
		text, err := os.ReadFile(a.console)
		if !strings.Contains(string(text), "<hello>") {
			return errors.Join(err, fmt.Errorf("it says %q", text))
		}
		return os.Remove(a.console)
	})
}

func (a *adopted) view() client.ServerView {
	a.t.Helper()
	v, err := a.control.Server(a.t.Context(), "db-1")
	must(a.t, err)
	return v
}

func adopt(t *testing.T) *adopted {
	t.Helper()
	a := &adopted{t: t, conn: &virsh.Conn{URI: virshtest.Start(t, virshtest.Shared)}, target: newTarget(t)}
	dir := t.TempDir()
	a.console = filepath.Join(dir, "console")
	lun := array.LUN{Name: "db-1-vda", Bytes: 64 << 20}
	must(t, array.CreateFile(a.target.dir, lun))
	file := filepath.Join(a.target.dir, lun.Name+".img")
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.Write(bootSector())
	must(t, errors.Join(err, f.Close()))

	a.tgtadm("--op", "new", "--mode", "target", "--tid", "4711", "-T", "iqn.2026-01.hand:t")
	a.tgtadm("--op", "new", "--mode", "logicalunit", "--tid", "4711", "--lun", "1", "-b", file)
	a.tgtadm("--op", "bind", "--mode", "target", "--tid", "4711", "--initiator-name", "iqn.2026-01.hand:db-1")
	host, port, _ := strings.Cut(a.target.portal, ":")
	path := filepath.Join(dir, "domain.xml")
	must(t, os.WriteFile(path, fmt.Appendf(nil, byHand, host, port, a.console), 0o600))
	a.virsh("define", path)
	a.virsh("start", "db-1")
	a.boots()

	// What relight import libvirt --adopt does.
	all, err := a.conn.Domains(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	a.domain = all[0]
	raw, _, lacks, err := a.domain.Document("san-1")
	if err != nil || len(lacks) > 0 {
		t.Fatal(lacks, err)
	}
	a.document = strings.Replace(string(raw), `"vm":{`, `"vm":{"stopGrace":"1s",`, 1) // it would not hear the button
	must(t, a.conn.Mark(t.Context(), a.domain, "db-1", 1))

	log := logOf(t)
	a.control = startController(t, log)
	a.control.apply(t, fmt.Sprintf(libvirtSites, a.target.portal, a.target.dir, a.target.control)+"---\n"+a.document+"\n")
	a.control.joinLibvirt(t, "host-1", a.conn.URI, log)
	return a
}

// TestLibvirtFromImportToAuto is the whole way of a domain that somebody made by hand:
// imported and adopted it is watched, and nothing is done to it in mode observe; in mode
// auto it is brought back, as an epoch with a name and a secret of its own at the array,
// but not before its owner has taken his own map away; and then it moves to a host whose
// libvirt has never seen it.
func TestLibvirtFromImportToAuto(t *testing.T) {
	a := adopt(t)
	c := a.control
	if host := c.healthy(t, 1); host != "host-1" {
		t.Fatalf("epoch 1 is on %q", host)
	}

	a.virsh("destroy", "db-1")
	eventually(t, "it is said what would be done", func() error {
		v := a.view()
		if h := v.Decision.Hold; h == nil || h.Gate != decide.GateMode {
			return fmt.Errorf("%s: %+v", v.Decision.Reason, h)
		}
		return nil
	})
	if d, err := a.conn.Domain(t.Context(), a.domain.UUID); err != nil || d.State != virsh.ShutOff || d.Epoch != 1 {
		t.Fatalf("in mode observe: %+v, %v", d, err)
	}

	c.apply(t, strings.Replace(a.document, `"mode":"observe"`, `"mode":"auto"`, 1))
	eventually(t, "the owner's own map keeps the next epoch away", func() error {
		list, err := c.Events(t.Context(), client.EventQuery{Server: "db-1", Limit: 1000})
		for _, r := range list.Items {
			if r.Event.Kind == event.StepEnded && strings.Contains(r.Event.Message, array.ErrShared.Error()) {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("it does not, among %d events: %s", len(list.Items), a.view().Decision.Reason))
	})
	a.tgtadm("--op", "delete", "--mode", "target", "--force", "--tid", "4711")
	eventually(t, "it is brought back", func() error {
		if st := a.view().Status; st.Epoch < 2 || st.VerifiedAt.IsZero() {
			return fmt.Errorf("epoch %d: %s", st.Epoch, a.view().Decision.Reason)
		}
		return nil
	})
	a.boots()
	back := a.running(a.conn, "host-1")
	if text, err := a.conn.Definition(t.Context(), a.domain.UUID); err != nil || !strings.Contains(string(text), "<title>my own</title>") || strings.Contains(string(text), "iqn.2026-01.hand") {
		t.Errorf("what its owner wrote is gone, or his map is still there: %s, %v", text, err)
	}

	a.virsh("destroy", "db-1")
	c.healthy(t, back+1)
	a.boots()
	a.running(a.conn, "host-1")

	second := &virsh.Conn{URI: virshtest.Start(t, virshtest.Shared)}
	c.joinLibvirt(t, "host-2", second.URI, logOf(t))
	eventually(t, "the move is taken", func() error {
		_, err := c.Move(t.Context(), "db-1", client.MoveRequest{To: "host-2"})
		return err
	})
	if host := c.healthy(t, back+2); host != "host-2" {
		t.Errorf("it moved to %s", host)
	}
	a.running(second, "host-2")
	if d, err := a.conn.Domain(t.Context(), a.domain.UUID); err != nil || d.State != virsh.ShutOff || d.Autostart {
		t.Errorf("where it was: %+v, %v", d, err)
	}
}

// running holds the domain of the present epoch against the array: it runs with that
// epoch's name, logged in with a secret, and nobody else is logged in.
func (a *adopted) running(conn *virsh.Conn, host string) fleet.Epoch {
	a.t.Helper()
	st := a.view().Status
	all, err := conn.Domains(a.t.Context())
	if err != nil || len(all) != 1 || all[0].State != "running" || all[0].Epoch != st.Epoch || len(all[0].Disks) != 1 || all[0].Disks[0].LUN == nil || st.Host != host {
		a.t.Fatalf("epoch %d on %s: %+v, %v", st.Epoch, st.Host, all, err)
	}
	name := all[0].Disks[0].LUN.Initiator
	if !strings.HasSuffix(name, fmt.Sprintf(":db-1.e%d", st.Epoch)) {
		a.t.Errorf("epoch %d logs in as %s", st.Epoch, name)
	}
	out, err := exec.Command("tgtadm", "-C", a.target.control, "--lld", "iscsi", "--op", "show", "--mode", "target").Output()
	var initiators []string
	for line := range strings.Lines(string(out)) {
		if rest, is := strings.CutPrefix(strings.TrimSpace(line), "Initiator: "); is {
			initiators = append(initiators, strings.Fields(rest)[0])
		}
	}
	if err != nil || len(initiators) != 1 || initiators[0] != name {
		a.t.Errorf("%v are logged in, want %s alone; %v", initiators, name, err)
	}
	text, err := conn.Definition(a.t.Context(), all[0].UUID)
	if err != nil || !strings.Contains(string(text), "<auth username=") {
		a.t.Errorf("no secret is asked for: %s, %v", text, err)
	}
	return st.Epoch
}
