package dev

import (
	"bufio"
	"context"
	"fmt"
	"io"
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
const powerWithin = 5 * time.Second

// Power is the fence device of the fleet's hosts. It speaks the fence agents'
// protocol: name=value lines on standard input, the answer in the exit code,
// which it returns. Options: dir, the fleet's directory; plug, the host; action,
// one of off, on, reboot, status, monitor and metadata.
//
// Off is success only once no process of the host is left, and status looks
// afresh: it says off (2) only if it finds none.
func Power(ctx context.Context, in io.Reader, out io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, powerWithin)
	defer cancel()
	opt := readOptions(in)
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

func readOptions(in io.Reader) map[string]string {
	opt := map[string]string{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if ok && !strings.HasPrefix(name, "#") {
			opt[name] = value
		}
	}
	return opt
}

func power(ctx context.Context, opt map[string]string, out io.Writer) (int, error) {
	if opt["action"] == "metadata" {
		_, err := io.WriteString(out, metadata)
		return powerOn, err
	}
	h, err := readHost(opt["dir"], opt["plug"])
	if err != nil {
		return powerFailed, err
	}
	switch opt["action"] {
	case "off":
		return powerOn, Kill(ctx, h.Fleet, h.Name)
	case "on":
		return powerOn, h.on(opt["dir"])
	case "reboot":
		if err := Kill(ctx, h.Fleet, h.Name); err != nil {
			return powerFailed, err
		}
		return powerOn, h.on(opt["dir"])
	case "status", "monitor":
		found, err := living(h.Fleet, h.Name)
		if err == nil && len(found) == 0 {
			return powerOff, nil
		}
		return powerOn, err
	default:
		return powerFailed, fmt.Errorf("action %q is none of off, on, reboot, status, monitor, metadata", opt["action"])
	}
}

const metadata = `<?xml version="1.0" ?>
<resource-agent name="relight-demo-power" shortdesc="Power of the hosts of relight dev">
<parameters>
<parameter name="action"><content type="string" default="off"/><shortdesc>off, on, reboot, status, monitor or metadata</shortdesc></parameter>
<parameter name="plug"><content type="string"/><shortdesc>the host</shortdesc></parameter>
<parameter name="dir"><content type="string"/><shortdesc>the fleet's directory</shortdesc></parameter>
</parameters>
<actions><action name="off"/><action name="on"/><action name="reboot"/><action name="status"/><action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
`
