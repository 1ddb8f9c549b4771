package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"relight/internal/lab"
)

//go:embed node.sh
var nodeScript string

//go:embed agent.sh
var agentScript string

//go:embed fence.sh
var fenceScript string

// timers are those of a cluster.
type timers struct {
	name string
	// totem are lines of corosync's configuration; monitor is the resource's.
	totem, monitor string
	// limit is after how long without its token a node counts as lost.
	limit time.Duration
}

// cluster is Pacemaker and Corosync on three hosts of a lab, with one virtual
// machine on a LUN as their resource.
type cluster struct {
	lab  *lab.Lab
	bare *lab.Bare
	dir  string
	stop context.CancelFunc
}

func startCluster(ctx context.Context, l *lab.Lab, b *lab.Bare, t timers) (*cluster, error) {
	c := &cluster{lab: l, bare: b, dir: filepath.Join(l.Dir(), "pcmk")}
	quoted := []string{}
	for _, a := range b.Argv("pcmk", "@EPOCH@") {
		quoted = append(quoted, "'"+strings.ReplaceAll(a, "@EPOCH@", "'$epoch'")+"'")
	}
	_, epoch := b.Last()
	agent := strings.ReplaceAll(strings.ReplaceAll(agentScript, "@ARGV@", strings.Join(quoted, " ")), "@DIR@", c.dir)
	for name, text := range map[string]string{
		"node.sh": nodeScript, "agent.sh": agent, "fence.sh": strings.ReplaceAll(fenceScript, "@DIR@", c.dir),
		"etc/corosync.conf": corosyncConf(l, t), "epoch": strconv.FormatUint(epoch, 10), "bmc/readme": "requests to the power device\n",
	} {
		path := filepath.Join(c.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // hacluster reads it
			return nil, err
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil { //nolint:gosec // scripts
			return nil, err
		}
	}
	serving, stop := context.WithCancel(context.Background())
	c.stop = stop
	go c.servePower(serving)
	for _, h := range lab.Hosts() {
		if err := c.startNode(ctx, h); err != nil {
			return nil, err
		}
	}
	if err := c.online(ctx); err != nil {
		return nil, err
	}
	return c, c.configure(ctx, t)
}

func corosyncConf(l *lab.Lab, t timers) string {
	var b strings.Builder
	fmt.Fprintf(&b, "totem {\n version: 2\n cluster_name: lab\n transport: knet\n crypto_cipher: none\n crypto_hash: none\n%s}\n", t.totem)
	b.WriteString("nodelist {\n")
	for i, h := range lab.Hosts() {
		fmt.Fprintf(&b, " node {\n  name: %s\n  nodeid: %d\n  ring0_addr: %s\n }\n", h, i+1, l.Address(h))
	}
	b.WriteString("}\nquorum {\n provider: corosync_votequorum\n}\nlogging {\n to_syslog: no\n to_stderr: yes\n}\n")
	return b.String()
}

func (c *cluster) startNode(ctx context.Context, host string) error {
	if err := c.lab.Boot(ctx, host); err != nil {
		return err
	}
	_, err := c.lab.Start(host, "unshare", "-m", "-p", "-f", "-u", "-i", "--mount-proc", "sh", filepath.Join(c.dir, "node.sh"), c.dir, host)
	return err
}

// servePower is the power device: it ends all processes of a host that somebody
// wants off, and answers once none is left.
func (c *cluster) servePower(ctx context.Context) {
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		asked, _ := filepath.Glob(filepath.Join(c.dir, "bmc", "*.ask"))
		for _, path := range asked {
			host, err := os.ReadFile(path)
			if err == nil && c.lab.PowerOff(ctx, strings.TrimSpace(string(host))) == nil {
				_ = os.Rename(path, strings.TrimSuffix(path, ".ask")+".done")
			}
		}
	}
}

// in runs a command of the cluster's on a node.
func (c *cluster) in(ctx context.Context, host string, args ...string) (string, error) {
	pid, err := c.lab.First(host, "corosync", "-f")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(pid), "-m", "-u", "-i", "-n", "-p"}, args...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s on %s: %w: %s", strings.Join(args, " "), host, err, strings.TrimSpace(string(out)))
	}
	return string(out), err
}

// online waits until all nodes are members.
func (c *cluster) online(ctx context.Context) error {
	return poll(ctx, 2*time.Minute, func() (bool, error) {
		for _, h := range lab.Hosts() {
			out, err := c.in(ctx, h, "crm_mon", "-1")
			if err != nil {
				return false, err
			}
			if !strings.Contains(out, "Online: [ ha hb hc ]") {
				return false, errors.New(out)
			}
		}
		return true, nil
	})
}

func (c *cluster) configure(ctx context.Context, t timers) error {
	host := lab.Hosts()[0]
	for _, part := range [][2]string{
		{"crm_config", `<crm_config><cluster_property_set id="o"><nvpair id="o1" name="stonith-enabled" value="true"/><nvpair id="o2" name="stonith-action" value="off"/><nvpair id="o3" name="no-quorum-policy" value="stop"/></cluster_property_set></crm_config>`},
		{"resources", `<resources><primitive id="power" class="stonith" type="fence_dummy"><instance_attributes id="pi"><nvpair id="p1" name="pcmk_host_list" value="ha hb hc"/><nvpair id="p2" name="pcmk_host_check" value="static-list"/></instance_attributes></primitive>` +
			`<primitive id="vm" class="ocf" provider="pacemaker" type="Dummy"><meta_attributes id="d"><nvpair id="d1" name="resource-stickiness" value="100"/><nvpair id="d2" name="migration-threshold" value="1000"/></meta_attributes><operations><op id="vmm" name="monitor" interval="` + t.monitor + `" timeout="20s"/></operations></primitive></resources>`},
	} {
		if _, err := c.in(ctx, host, "cibadmin", "--replace", "--allow-create", "--scope", part[0], "--xml-text", part[1]); err != nil {
			return err
		}
	}
	return c.steady(ctx)
}

// steady waits until all nodes are members and the machine writes.
func (c *cluster) steady(ctx context.Context) error {
	if err := c.online(ctx); err != nil {
		return err
	}
	from, _ := c.bare.Last()
	return poll(ctx, 2*time.Minute, func() (bool, error) {
		now, _ := c.bare.Last()
		if now >= from+20 {
			return true, nil
		}
		out, _ := c.in(ctx, lab.Hosts()[0], "crm_mon", "-1", "-r")
		return false, fmt.Errorf("the machine does not write:\n%s", out)
	})
}

// host is where the machine runs.
func (c *cluster) host() (string, error) {
	for _, h := range lab.Hosts() {
		if found, err := c.lab.VMs(h); err != nil || len(found) > 0 {
			return h, err
		}
	}
	return "", errors.New("no host runs the machine")
}

// measure kills something and returns how long it took until the next machine was
// started, and until it wrote.
func (c *cluster) measure(ctx context.Context, kill func(host string) error) (started, wrote time.Duration, err error) {
	if err := c.steady(ctx); err != nil {
		return 0, 0, err
	}
	host, err := c.host()
	if err != nil {
		return 0, 0, err
	}
	_, epoch := c.bare.Last()
	at := time.Now()
	if err := kill(host); err != nil {
		return 0, 0, err
	}
	err = poll(ctx, 5*time.Minute, func() (bool, error) {
		first := c.bare.First(epoch + 1)
		wrote = first.Sub(at)
		return !first.IsZero(), fmt.Errorf("epoch %d has not written", epoch+1)
	})
	if err != nil {
		return 0, 0, err
	}
	begun, err := c.lab.StartedVM(at, time.Now())
	if err != nil {
		return 0, 0, err
	}
	if begun.IsZero() {
		return 0, 0, errors.New("the machine that wrote runs no more, or ran before")
	}
	started = begun.Sub(at)
	if on, err := c.lab.IsOn(host); err == nil && !on {
		return started, wrote, c.startNode(ctx, host)
	}
	return started, wrote, nil
}

// close ends all nodes.
func (c *cluster) close(ctx context.Context) error {
	c.stop()
	var errs []error
	for _, h := range lab.Hosts() {
		errs = append(errs, c.lab.PowerOff(ctx, h))
	}
	return errors.Join(errs...)
}
