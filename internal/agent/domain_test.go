package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"relight/internal/agent/driver/virsh"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

const domainID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"

// fakeVirsh is libvirt with one domain. It refuses what libvirt refuses.
type fakeVirsh struct {
	mu                    sync.Mutex
	state                 virsh.State
	persistent, autostart bool
	mark                  string
	console               string
	deaf, hangs           bool
	// defined is the last description that it was given, secret the last secret.
	defined, secret string
	calls           []string
}

func (f *fakeVirsh) run(_ context.Context, args ...string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deaf {
		return nil, errors.New("failed to connect to the hypervisor")
	}
	args = args[3:]
	switch args[0] {
	case "list", "dominfo", "dumpxml":
	default:
		f.calls = append(f.calls, args[0])
	}
	switch args[0] {
	case "define":
		text, err := os.ReadFile(args[1])
		f.defined, f.persistent = string(text), true
		if f.state == "" {
			f.state = virsh.ShutOff
		}
		f.mark = regexp.MustCompile(`<relight:instance [^>]*/>`).FindString(f.defined)
		return nil, err
	case "secret-define":
		return nil, nil
	case "secret-set-value":
		text, err := os.ReadFile(args[len(args)-1])
		f.secret = string(text)
		return nil, err
	}
	gone := !f.persistent && !f.state.Alive()
	if args[0] == "list" {
		if gone {
			return nil, nil
		}
		return []byte(domainID + "\n\n"), nil
	}
	if gone || !strings.Contains(strings.Join(args, " "), domainID) {
		return nil, fmt.Errorf("%w: failed to get domain", virsh.ErrNotFound)
	}
	switch args[0] {
	case "dominfo":
		return fmt.Appendf(nil, "State:          %s\nPersistent:     %s\nAutostart:      %s\n", f.state,
			map[bool]string{true: "yes", false: "no"}[f.persistent], map[bool]string{true: "enable", false: "disable"}[f.autostart]), nil
	case "dumpxml":
		if f.defined != "" {
			text := regexp.MustCompile(`<relight:instance [^>]*/>`).ReplaceAllString(f.defined, f.mark)
			return []byte(regexp.MustCompile(`<uuid>[^<]*`).ReplaceAllString(text, "<uuid>"+domainID)), nil
		}
		return fmt.Appendf(nil, `<domain><name>db-1</name><uuid>%s</uuid><metadata>%s</metadata><memory>65536</memory><vcpu>1</vcpu><devices><serial type="file"><source path="%s"/></serial></devices></domain>`, domainID, f.mark, f.console), nil
	case "metadata":
		text := args[len(args)-1]
		for i, a := range args {
			if a == "--set" {
				text = args[i+1]
			}
		}
		f.mark = regexp.MustCompile(`^<instance`).ReplaceAllString(text, `<relight:instance xmlns:relight="urn:relight:instance"`)
	case "start":
		if f.state.Alive() {
			return nil, errors.New("Domain is already active")
		}
		f.state = "running"
	case "destroy":
		if !f.state.Alive() {
			return nil, errors.New("domain is not running")
		}
		if !f.hangs {
			f.state = virsh.ShutOff
		}
	case "autostart":
		f.autostart = false
	case "reset":
	default:
		return nil, fmt.Errorf("unknown command %s", args[0])
	}
	return nil, nil
}

func domains(t *testing.T, f *fakeVirsh, dir string) *Domains {
	t.Helper()
	d, err := NewDomains(DomainOptions{Conn: &virsh.Conn{Run: f.run}, Dir: dir, Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func domainStep(kind fleet.StepKind, epoch fleet.Epoch) link.Command {
	return link.Command{Step: fleet.Step{Kind: kind, Server: "db-1", Epoch: epoch}, VM: &fleet.VMTemplate{}}
}

func TestDomainsAdoptOnlyWhatIsMarked(t *testing.T) {
	f := &fakeVirsh{state: "running", persistent: true}
	d := domains(t, f, t.TempDir())
	d.look(t.Context())
	if got := d.Instances(); len(got) != 0 {
		t.Errorf("a stranger's domain is told of: %+v", got)
	}
	one, err := d.opt.Conn.Domain(t.Context(), domainID)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.opt.Conn.Mark(t.Context(), one, "db-1", 1); err != nil {
		t.Fatal(err)
	}
	d.look(t.Context())
	if got := d.Instances(); len(got) != 1 || got[0].Server != "db-1" || got[0].Epoch != 1 || got[0].State != fleet.InstanceRunning || got[0].Alive != fleet.Yes {
		t.Errorf("%+v", got)
	}
	f.deaf = true
	d.look(t.Context())
	if got := d.Instances(); len(got) != 1 || got[0].State != fleet.InstanceLost || got[0].Alive != fleet.CannotTell {
		t.Errorf("libvirt is deaf: %+v", got)
	}
	if _, err := d.Do(t.Context(), domainStep(fleet.StepStop, 1)); err == nil {
		t.Error("stopped through a deaf libvirt")
	}
}

func TestDomainsStopAndLaunch(t *testing.T) {
	f := &fakeVirsh{state: "running", persistent: true, autostart: true}
	dir := t.TempDir()
	d := domains(t, f, dir)
	f.mark = `<relight:instance xmlns:relight="urn:relight:instance" server="db-1" epoch="1"/>`
	d.look(t.Context())
	want := func(what string, err error, class provider.Class) {
		t.Helper()
		if got, _ := provider.ClassOf(err); err == nil || got != class {
			t.Errorf("%s: %v (%s), want %s", what, err, got, class)
		}
	}
	_, err := d.Do(t.Context(), domainStep(fleet.StepStop, 3))
	want("stop of an epoch that is not here", err, provider.NotFound)
	_, err = d.Do(t.Context(), domainStep(fleet.StepLaunch, 2))
	want("launch beside another epoch", err, provider.Conflict)
	f.hangs = true
	_, err = d.Do(t.Context(), domainStep(fleet.StepStop, 1))
	want("a machine that does not end", err, provider.Conflict)
	f.hangs = false
	effect, err := d.Do(t.Context(), domainStep(fleet.StepStop, 1))
	if err != nil || len(effect.Evidence) != 1 || effect.Evidence[0].Method != fleet.Reaped || effect.Evidence[0].Epoch != 1 {
		t.Fatalf("%+v, %v", effect, err)
	}
	if f.autostart {
		t.Error("it would start with its host again")
	}
	if got := d.Instances(); len(got) != 1 || got[0].State != fleet.InstanceReaped {
		t.Errorf("%+v", got)
	}
	// The next agent on this host knows it too.
	d = domains(t, f, dir)
	_, err = d.Do(t.Context(), domainStep(fleet.StepLaunch, 1))
	want("an epoch that was ended", err, provider.Refused)
	for range 2 {
		if _, err := d.Do(t.Context(), domainStep(fleet.StepLaunch, 2)); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Instances(); len(got) != 1 || got[0].Epoch != 2 || got[0].State != fleet.InstanceRunning {
		t.Errorf("%+v", got)
	}
	if got := strings.Join(f.calls, " "); got != "autostart destroy destroy metadata start" {
		t.Errorf("calls: %s", got)
	}
}

func TestDomainsResetKeepsTheConsole(t *testing.T) {
	console := filepath.Join(t.TempDir(), "console")
	if err := os.WriteFile(console, []byte("kernel panic"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fakeVirsh{state: "running", console: console, mark: `<relight:instance xmlns:relight="urn:relight:instance" server="db-1" epoch="4"/>`}
	dir := t.TempDir()
	d := domains(t, f, dir)
	if _, err := d.Do(t.Context(), domainStep(fleet.StepReboot, 4)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "db-1.4.console")); err != nil || string(text) != "kernel panic" {
		t.Errorf("%q, %v", text, err)
	}
	// One that is kept no longer than it runs: gone is ended.
	if effect, err := d.Do(t.Context(), domainStep(fleet.StepStop, 4)); err != nil || len(effect.Evidence) != 1 {
		t.Errorf("%+v, %v", effect, err)
	}
	if err := d.End(t.Context(), "db-1", 9); err != nil {
		t.Error(err)
	}
	_, err := d.Do(t.Context(), domainStep(fleet.StepAttach, 9))
	if class, _ := provider.ClassOf(err); class != provider.Refused {
		t.Errorf("an epoch that ended before it began: %v", err)
	}
}

// withLUN is a launch of a server that runs from one LUN.
func withLUN(epoch fleet.Epoch) link.Command {
	cmd := domainStep(fleet.StepLaunch, epoch)
	cmd.VM = &fleet.VMTemplate{Memory: 64, Boot: fleet.BootLUN}
	cmd.Disks = []link.Disk{{
		Volume: "data", Portal: "127.0.0.1:3260", Target: "iqn.t", Unit: 1, Initiator: fmt.Sprintf("iqn.x:db-1.e%d", epoch),
		User: "u", Secret: fmt.Sprintf("secret %d", epoch),
	}}
	return cmd
}

// A domain that is defined here keeps what it is, and gets the epoch's LUNs, mark and
// secrets before it starts.
func TestDomainsLaunchWithLUNs(t *testing.T) {
	f := &fakeVirsh{state: virsh.ShutOff, persistent: true, mark: `<relight:instance xmlns:relight="urn:relight:instance" server="db-1" epoch="1"/>`, console: "/c"}
	d := domains(t, f, t.TempDir())
	if _, err := d.Do(t.Context(), withLUN(2)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.calls, " "); got != "metadata secret-define secret-set-value define start" {
		t.Errorf("calls: %s", got)
	}
	if !strings.Contains(f.defined, "iqn.x:db-1.e2") || !strings.Contains(f.defined, `<source path="/c"/>`) || strings.Contains(f.defined, "secret 2") || f.secret != "secret 2" {
		t.Errorf("%s, with the secret %q", f.defined, f.secret)
	}
	if got := d.Instances(); len(got) != 1 || got[0].Epoch != 2 || got[0].Alive != fleet.Yes {
		t.Errorf("%+v", got)
	}
	left, err := os.ReadDir(d.opt.Dir)
	if err != nil || len(left) != 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

// A host that has no domain of the server makes one, and makes it anew for the next
// epoch; a domain of that name which nobody adopted is not touched.
func TestDomainsMakeOne(t *testing.T) {
	f := &fakeVirsh{state: virsh.ShutOff}
	d := domains(t, f, t.TempDir())
	for epoch := fleet.Epoch(2); epoch < 4; epoch++ {
		if _, err := d.Do(t.Context(), withLUN(epoch)); err != nil {
			t.Fatal(err)
		}
		if got := d.Instances(); len(got) != 1 || got[0].Epoch != epoch || got[0].Alive != fleet.Yes || !strings.Contains(f.defined, fmt.Sprintf("db-1.e%d'", epoch)) {
			t.Errorf("epoch %d: %+v of %s", epoch, got, f.defined)
		}
		if _, err := d.Do(t.Context(), domainStep(fleet.StepStop, epoch)); err != nil {
			t.Fatal(err)
		}
	}
	warm := withLUN(5)
	warm.VM.Boot = fleet.BootWarm
	_, err := d.Do(t.Context(), warm)
	if class, _ := provider.ClassOf(err); class != provider.Capacity {
		t.Errorf("a standby guest: %v", err)
	}

	f = &fakeVirsh{state: virsh.ShutOff, persistent: true}
	d = domains(t, f, t.TempDir())
	_, err = d.Do(t.Context(), withLUN(2))
	if class, _ := provider.ClassOf(err); class != provider.Capacity || !errors.Is(err, errForeign) || len(f.calls) != 0 {
		t.Errorf("a stranger's domain: %v, calls %v", err, f.calls)
	}
	_, err = domains(t, &fakeVirsh{state: virsh.ShutOff}, t.TempDir()).Do(t.Context(), domainStep(fleet.StepLaunch, 2))
	if class, _ := provider.ClassOf(err); class != provider.Capacity || !errors.Is(err, errNoDomain) {
		t.Errorf("no domain, and no LUN to make one of: %v", err)
	}
}
