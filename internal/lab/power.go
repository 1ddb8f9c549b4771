package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The exit codes of fence agents.
const (
	powerOn     = 0
	powerFailed = 1
	powerOff    = 2
)

// powerWithin bounds one call of the device.
const powerWithin = 10 * time.Second

// Power is the power device of the labs' hosts. It speaks the fence agents'
// protocol: name=value lines on standard input, the answer in the exit code, which
// it returns. Options: lab; plug, the host; action, one of off, on, reboot, status,
// monitor and metadata.
//
// Off is success only once no process is left in the host's namespace, and status
// looks afresh: it says off (2) only if it finds none.
func Power(ctx context.Context, in io.Reader, out io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, powerWithin)
	defer cancel()
	opt := map[string]string{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if ok && !strings.HasPrefix(name, "#") {
			opt[name] = value
		}
	}
	code, err := power(ctx, opt, out)
	if err != nil {
		fmt.Fprintln(out, err)
		return powerFailed
	}
	if opt["action"] == "status" {
		// An exit code alone is not believed: many programs end with 2 by mistake.
		fmt.Fprintln(out, map[int]string{powerOn: "Status: ON", powerOff: "Status: OFF"}[code])
	}
	return code
}

func power(ctx context.Context, opt map[string]string, out io.Writer) (int, error) {
	if opt["action"] == "metadata" {
		_, err := io.WriteString(out, metadata)
		return powerOn, err
	}
	host := opt["plug"]
	if !slices.Contains(Hosts(), host) {
		return powerFailed, fmt.Errorf("plug %q is none of %s", host, strings.Join(Hosts(), ", "))
	}
	l, err := Open(opt["lab"])
	if err != nil {
		return powerFailed, err
	}
	switch opt["action"] {
	case "off":
		return powerOn, l.PowerOff(ctx, host)
	case "on":
		return powerOn, l.PowerOn(ctx, host)
	case "reboot":
		if err := l.PowerOff(ctx, host); err != nil {
			return powerFailed, err
		}
		return powerOn, l.PowerOn(ctx, host)
	case "status", "monitor":
		on, err := l.IsOn(host)
		if err == nil && !on {
			return powerOff, nil
		}
		return powerOn, err
	default:
		return powerFailed, fmt.Errorf("action %q is none of off, on, reboot, status, monitor, metadata", opt["action"])
	}
}

// PowerOff ends every process of a host.
func (l *Lab) PowerOff(ctx context.Context, host string) error {
	if err := killAll(ctx, l.namespace(host)); err != nil {
		return err
	}
	return l.dropTaps(ctx, host)
}

// dropTaps removes what a host's kernel would have lost with its power: taps and
// what hangs on the bridge beside its uplink.
func (l *Lab) dropTaps(ctx context.Context, host string) error {
	const script = `for d in /sys/class/net/*; do [ -e "$d/tun_flags" ] && ip link delete "${d##*/}"; done; true`
	return run(ctx, "", "ip", "netns", "exec", l.namespace(host), "sh", "-c", script)
}

// PowerOn starts a host unless it runs.
func (l *Lab) PowerOn(ctx context.Context, host string) error {
	on, err := l.IsOn(host)
	if err != nil || on {
		return err
	}
	return l.StartAgent(ctx, host)
}

// IsOn reports whether a process lives on a host.
func (l *Lab) IsOn(host string) (bool, error) {
	found, err := processes(l.namespace(host))
	return len(found) > 0, err
}

const metadata = `<?xml version="1.0" ?>
<resource-agent name="relight-lab-power" shortdesc="Power of the hosts of relight lab">
<parameters>
<parameter name="action"><content type="string" default="off"/><shortdesc>off, on, reboot, status, monitor or metadata</shortdesc></parameter>
<parameter name="plug"><content type="string"/><shortdesc>the host</shortdesc></parameter>
<parameter name="lab"><content type="string"/><shortdesc>the lab</shortdesc></parameter>
</parameters>
<actions><action name="off"/><action name="on"/><action name="reboot"/><action name="status"/><action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
`
