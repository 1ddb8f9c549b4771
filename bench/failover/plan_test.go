package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/lab"
)

// The measuring itself needs root, minutes and other people's products; these tests see
// that all of it is still there and would be understood.

func TestPlan(t *testing.T) {
	names := map[string]bool{}
	for _, p := range plan("") {
		if names[p.name] || p.do == nil {
			t.Errorf("part %q is there twice, or does nothing", p.name)
		}
		names[p.name] = true
	}
	// Each limit of Relight's, and keepalived with a silence as long.
	for _, limit := range limits {
		for _, want := range []string{relightOf(limit), "address, " + relightOf(limit), "address, keepalived, limit " + limit.String()} {
			if !names[want] {
				t.Errorf("there is no part %q", want)
			}
		}
	}
	for _, only := range []string{"floor", "address", "relight", "pacemaker"} {
		if got := plan(only); len(got) == 0 || len(got) == len(names) {
			t.Errorf("-only %q chooses %d parts", only, len(got))
		}
	}
	if err := bench(t.Context(), "", 1, "floof", &table{}); err == nil {
		t.Error("a part that does not exist is measured")
	}
}

func TestKeepalivedBearsTheSameSilence(t *testing.T) {
	for _, v := range vrrps() {
		limit, named := strings.CutPrefix(v.name, "keepalived, limit ")
		if !named {
			continue
		}
		want, err := time.ParseDuration(limit)
		if off := v.lost() - want; err != nil || off.Abs() > want/50 || v.advert%(10*time.Millisecond) != 0 {
			t.Errorf("%s: %s is %s off, advert %s (%v)", v.name, v.lost(), off, v.advert, err)
		}
	}
	if got := (vrrp{advert: 280 * time.Millisecond}).seconds(); got != "0.28" {
		t.Errorf("0.28 s reads %s", got)
	}
}

// Where the products are installed they read what would be given to them.
func TestConfigurationsAreUnderstood(t *testing.T) {
	l := &lab.Lab{Name: "bench", Part: 7}
	dir := t.TempDir()
	check := func(text, tool string, command func(path string) *exec.Cmd) {
		t.Helper()
		path := filepath.Join(dir, tool+".conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := exec.LookPath(tool); err != nil || os.Geteuid() != 0 {
			t.Logf("%s is not here, or this is not root: nobody else reads its configuration", tool)
			return
		}
		if out, err := command(path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s\n%s", tool, err, out, text)
		}
	}
	for _, tm := range pacemakers() {
		text := corosyncConf(l, tm)
		for _, h := range lab.Hosts() {
			if !strings.Contains(text, "name: "+h+"\n") || !strings.Contains(text, "ring0_addr: "+l.Address(h)+"\n") || !strings.Contains(text, tm.totem) {
				t.Errorf("%s: host %s or its timers are missing in\n%s", tm.name, h, text)
			}
		}
		check(text, "corosync", func(path string) *exec.Cmd { return onHost(l, "corosync -t -c "+path) })
	}
	for _, v := range vrrps() {
		for _, h := range lab.Hosts()[:2] {
			text := vrrpConf(h, "10.78.7.200", v)
			if !strings.Contains(text, "advert_int "+v.seconds()+"\n") || strings.Contains(text, "priority 150") != (h == lab.Hosts()[0]) {
				t.Errorf("%s on %s:\n%s", v.name, h, text)
			}
		}
		check(vrrpConf(lab.Hosts()[0], "10.78.7.200", v), "keepalived", func(path string) *exec.Cmd { return onHost(l, "keepalived -t -f "+path) })
	}
	for name, text := range map[string]string{"node.sh": nodeScript, "agent.sh": agentScript, "fence.sh": fenceScript} {
		check(text, "sh", func(path string) *exec.Cmd { return exec.Command("sh", "-n", path) })
		if !strings.HasPrefix(text, "#!/bin/sh\n") {
			t.Errorf("%s is no script", name)
		}
	}
}

// onHost runs a command as on the lab's first host: both products look for its name, its
// address and its bridge.
func onHost(l *lab.Lab, command string) *exec.Cmd {
	host := lab.Hosts()[0]
	return exec.Command("unshare", "-n", "-u", "sh", "-c", strings.Join([]string{
		"hostname " + host, "ip link add " + lab.Bridge + " type bridge", "ip addr add " + l.Address(host) + "/24 dev " + lab.Bridge,
		"ip link set " + lab.Bridge + " up", "exec " + command,
	}, " && "))
}

// Overheads are what is beyond the product's own limit.
func TestTable(t *testing.T) {
	tab := &table{}
	tab.add(byHand, hostKilled+": start", 40*time.Millisecond)
	tab.limit(relightLike, time.Second)
	for _, took := range []int{1070, 1900, 1060} {
		tab.add(relightLike, hostKilled+": start", time.Duration(took)*time.Millisecond)
	}
	tab.limit("keepalived, limit 1s", 1010*time.Millisecond)
	tab.add("keepalived, limit 1s", addressMoved, 1030*time.Millisecond)
	tab.add(relightLike, addressMoved, 1060*time.Millisecond)
	if got, ok := tab.overhead(relightLike); !ok || got != 30*time.Millisecond {
		t.Errorf("the overhead is %s, %v", got, ok)
	}
	if _, ok := tab.overhead("keepalived, limit 1s"); ok {
		t.Error("what was not measured has an overhead")
	}
	var out bytes.Buffer
	tab.print(&out)
	for _, want := range []string{
		"keepalived, limit 1s: lost by its settings after 1.01 s, the rest until another host has the address 0.02 s",
		"relight, limit 1s: lost by its settings after 1.00 s, the rest until another host has the address 0.06 s",
		"by hand 0.04 s, the rest of its start 0.03 s",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	path := filepath.Join(t.TempDir(), "out.json")
	if err := tab.write(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, []byte(`"who": "relight, limit 1s"`)) {
		t.Errorf("%v: %s", err, b)
	}
}
