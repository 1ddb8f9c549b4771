package guest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"relight/internal/core/fleet"
)

// unpacked is where `make cloud-init` puts cloud-init and what it needs.
const unpacked = "../../../.cache/cloud-init/root"

// firstPart makes a root that is thrown away, over the machine's own, with cloud-init in
// it as an image of EC2 has it: the real data source, which asks the metadata service at
// $2, and the modules that user data need. Nothing tells systemd there.
const firstPart = `set -e
W=$1 MD=$2 CI=$3
noroot() { echo "$1 is not possible"; exit 9; }
mount -t tmpfs none $W || noroot tmpfs
mkdir -p $W/up $W/work $W/root
mount -t overlay overlay -o lowerdir=/,upperdir=$W/up,workdir=$W/work $W/root || noroot overlay
R=$W/root
mount -t proc proc $R/proc; mount --bind /dev $R/dev
mkdir -p $R/opt/ci $R/etc/cloud $R/etc/systemd/system
cp -r $CI/usr/lib/python3/dist-packages/. $R/opt/ci/
cp -r $CI/etc/cloud/templates $R/etc/cloud/
cat >$R/etc/cloud/cloud.cfg <<CFG
datasource_list: [Ec2]
datasource: {Ec2: {metadata_urls: ["$MD"], max_wait: 10, timeout: 10, strict_id: "false"}}
network: {config: disabled}
disable_root: false
cloud_init_modules: [write-files]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
system_info: {distro: debian, paths: {cloud_dir: /var/lib/cloud, templates_dir: /etc/cloud/templates}}
CFG
printf '#!/bin/sh\necho "$*" >>/told\n' >$R/usr/local/bin/systemctl; chmod +x $R/usr/local/bin/systemctl
export PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin
stage() { PYTHONPATH=/opt/ci chroot $R /usr/bin/python3 -m cloudinit.cmd.main "$@" >>$W/said 2>&1 || { echo "stage $* fails"; cat $W/said; exit 1; }; }
show() { echo "== $1"; cat $R$1; echo; }
boot() {
  mount -t tmpfs none $R/run
  stage init --local; stage init; stage modules --mode=config; stage modules --mode=final
  umount $R/run
  show /etc/relight/guest.json; show /told; show /theirs; show /ran
  echo "== mode"; stat -c %a $R/etc/relight/guest.json
  echo "== warned"; grep -E 'WARNING|ERROR|CRITICAL' $R/var/log/cloud-init.log | grep -vE 'strict_id|Unable to identify|not a supported|getting local' || true
}
boot
curl -sf $MD/relight/next
boot
curl -sf $MD/relight/next
`

// metadata is EC2's metadata service, of version 2, as far as cloud-init asks: the user
// data of one boot after the other.
type metadata struct {
	mu   sync.Mutex
	data [][]byte
	// reads counts how often user data were read.
	reads int
}

// ServeHTTP serves what one instance is told.
func (m *metadata) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	const root = "/2009-04-04/"
	switch path := strings.TrimSuffix(r.URL.Path, "/"); {
	case r.URL.Path == "/relight/next":
		m.data = m.data[1:]
	case r.Method == http.MethodPut && path == "/latest/api/token":
		fmt.Fprint(rw, "token")
	case path == root+"user-data":
		m.reads++
		_, _ = rw.Write(m.data[0]) // who hangs up misses it
	case path == root+"meta-data":
		fmt.Fprint(rw, "instance-id\nlocal-hostname")
	case path == root+"meta-data/instance-id":
		fmt.Fprint(rw, "i-0a1b2c3d4e5f60718")
	case path == root+"meta-data/local-hostname":
		fmt.Fprint(rw, "ip-10-0-1-9")
	default:
		http.NotFound(rw, r)
	}
}

// cloudInit returns where cloud-init is, or skips.
func cloudInit(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(unpacked)
	must(t, err)
	if _, err := os.Stat(filepath.Join(root, "usr/lib/python3/dist-packages/cloudinit")); err != nil {
		t.Skip("SKIPPED: cloud-init is not here; run: make cloud-init")
	}
	return root
}

// theirs is user data of a launch template that people might have.
const theirs = `#cloud-config
write_files:
- {path: /theirs, content: "it's theirs\n"}
runcmd:
- [sh, -c, "echo ran >>/ran"]
`

// The real cloud-init, with its real data source for EC2, reads what a launch tells an
// instance: the agent's part runs at the first boot, and at the next with the next epoch,
// as after a recover; the template's own part is done once.
func TestCloudInitRunsUserData(t *testing.T) {
	root := cloudInit(t)
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a root to throw away needs root")
	}
	var boots [][]byte
	for epoch := range 2 {
		ours, err := Script(Plan{V: Version, Server: "lic-07", Epoch: fleet.Epoch(3 + epoch), Controller: "https://c", Token: fmt.Sprint("token-", epoch)})
		must(t, err)
		both, err := Combine([]byte(theirs), ours)
		must(t, err)
		boots = append(boots, both)
	}
	md := &metadata{data: append(boots, nil)}
	srv := httptest.NewServer(md)
	t.Cleanup(srv.Close)
	cmd := exec.CommandContext(t.Context(), "unshare", "-m", "-u", "sh", "-c", firstPart, "sh", t.TempDir(), srv.URL, root)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == 9 {
		t.Skipf("SKIPPED: no root to throw away can be made here: %v: %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := sections(string(out))
	for boot, want := range []map[string]string{
		{"/told": "daemon-reload\nrestart --no-block relight-guest.service", "/ran": "ran", "/theirs": "it's theirs", "mode": "600", "warned": ""},
		{"/told": "daemon-reload\nrestart --no-block relight-guest.service\ndaemon-reload\nrestart --no-block relight-guest.service", "/ran": "ran", "/theirs": "it's theirs", "mode": "600", "warned": ""},
	} {
		if len(got) <= boot {
			t.Fatalf("boot %d never came: %s", boot, out)
		}
		for what, text := range want {
			if got[boot][what] != text {
				t.Errorf("boot %d: %s is %q, want %q", boot, what, got[boot][what], text)
			}
		}
		p, err := ParsePlan([]byte(got[boot]["/etc/relight/guest.json"]))
		if err != nil || p.Token != fmt.Sprint("token-", boot) || p.Epoch != fleet.Epoch(3+boot) || p.Server != "lic-07" {
			t.Errorf("boot %d: plan %+v, %v", boot, p, err)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// sections reads what the boots showed, by boot and name.
func sections(out string) (boots []map[string]string) {
	for _, part := range strings.Split(out, "== ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		if name == "/etc/relight/guest.json" {
			boots = append(boots, map[string]string{})
		}
		boots[len(boots)-1][name] = strings.TrimSpace(text)
	}
	return boots
}

// cloud-init's own schema takes the cloud-config that comes out of the joined user data,
// and its own reader finds the parts that we meant.
func TestCloudInitReadsTheParts(t *testing.T) {
	root := cloudInit(t)
	ours, err := Script(Plan{V: Version, Server: "lic-07", Epoch: 3, Controller: "https://c", Token: "t"})
	must(t, err)
	const reader = `
import json, sys
from cloudinit import helpers, user_data
paths = helpers.Paths({"cloud_dir": sys.argv[1], "run_dir": sys.argv[1]})
msg = user_data.UserDataProcessor(paths).process(sys.stdin.buffer.read())
print(json.dumps([[p.get_content_type(), p.get_payload(decode=True).decode()] for p in msg.walk() if p.get_content_maintype() != "multipart"]))
`
	for name, c := range map[string]struct{ theirs, kind string }{
		"cloud-config":           {theirs, "text/cloud-config"},
		"a script":               {"#!/bin/sh\necho theirs\n", "text/x-shellscript"},
		"one with other letters": {"#cloud-config\nwrite_files:\n- {path: /x, content: \"caf\u00e9\"}\n", "text/cloud-config"},
		"a part of its own":      {"Content-Type: multipart/mixed; boundary=\"b\"\nMIME-Version: 1.0\n\n--b\nContent-Type: text/cloud-config\n\n" + theirs + "\n--b--\n", "text/cloud-config"},
		"nothing":                {"", ""},
	} {
		both, err := Combine([]byte(c.theirs), ours)
		must(t, err)
		cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", reader, t.TempDir())
		cmd.Stdin, cmd.Env = bytes.NewReader(both), append(os.Environ(), "PYTHONPATH="+filepath.Join(root, "usr/lib/python3/dist-packages"))
		out, err := cmd.Output()
		must(t, err)
		var parts [][2]string
		must(t, json.Unmarshal(out, &parts))
		if len(parts) == 0 || parts[0][0] != "text/cloud-boothook" || strings.TrimSpace(parts[0][1]) != strings.TrimSpace(string(ours)) {
			t.Errorf("%s: the agent's part is %q", name, parts)
			continue
		}
		if c.kind == "" {
			continue
		}
		if len(parts) != 2 || parts[1][0] != c.kind {
			t.Errorf("%s: their part is %q", name, parts[1:])
			continue
		}
		if c.kind == "text/cloud-config" {
			schema(t, root, name, parts[1][1])
		}
	}
}

// schema demands that cloud-init's validator takes a cloud-config.
func schema(t *testing.T, root, name, config string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-m", "cloudinit.cmd.main", "schema", "--config-file", file)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(root, "usr/lib/python3/dist-packages"))
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("Valid cloud-config")) {
		t.Errorf("%s: %v: %s", name, err, out)
	}
}
