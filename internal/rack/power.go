package rack

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The exit codes of fence agents: done or on; failed; off.
const (
	PowerOn     = 0
	PowerFailed = 1
	PowerOff    = 2
)

// Outlet is what one power device can do to one host.
type Outlet struct {
	// Off ends every process of the host, and returns once none is left.
	Off func(context.Context) error
	// On starts the host unless it runs.
	On func(context.Context) error
	// IsOn looks afresh whether a process of the host lives.
	IsOn func() (bool, error)
}

// PowerDevice is a fleet's power device. It speaks the fence agents' protocol:
// name=value lines on standard input, the answer in the exit code.
type PowerDevice struct {
	// Name is what the device calls itself, and Of whose hosts it switches.
	Name, Of string
	// Within bounds one call.
	Within time.Duration
	// Option is the device's own option beside plug and action, and Means what it is.
	Option, Means string
	// Plug finds a host by the device's own option and the plug's name.
	Plug func(option, plug string) (Outlet, error)
}

// actions are what a device can be asked for.
var actions = []string{"off", "on", "reboot", "status", "monitor", "metadata"}

// Serve answers one call and returns the exit code. Off is success only once no
// process of the host is left, and status looks afresh: it says off (2) only if it
// finds none.
func (d PowerDevice) Serve(ctx context.Context, in io.Reader, out io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, d.Within)
	defer cancel()
	opt := readOptions(in)
	code, err := d.do(ctx, opt, out)
	if err != nil {
		fmt.Fprintln(out, err)
		return PowerFailed
	}
	if opt["action"] == "status" {
		// An exit code alone is not believed: many programs end with 2 by mistake.
		fmt.Fprintln(out, map[int]string{PowerOn: "Status: ON", PowerOff: "Status: OFF"}[code])
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

func (d PowerDevice) do(ctx context.Context, opt map[string]string, out io.Writer) (int, error) {
	if !slices.Contains(actions, opt["action"]) {
		return PowerFailed, fmt.Errorf("action %q is none of %s", opt["action"], strings.Join(actions, ", "))
	}
	if opt["action"] == "metadata" {
		return PowerOn, d.metadata(out)
	}
	o, err := d.Plug(opt[d.Option], opt["plug"])
	if err != nil {
		return PowerFailed, err
	}
	switch opt["action"] {
	case "off":
		return PowerOn, o.Off(ctx)
	case "on":
		return PowerOn, o.On(ctx)
	case "reboot":
		if err := o.Off(ctx); err != nil {
			return PowerFailed, err
		}
		return PowerOn, o.On(ctx)
	default:
		on, err := o.IsOn()
		if err == nil && !on {
			return PowerOff, nil
		}
		return PowerOn, err
	}
}

func (d PowerDevice) metadata(out io.Writer) error {
	_, err := fmt.Fprintf(out, `<?xml version="1.0" ?>
<resource-agent name="%s" shortdesc="Power of the hosts of %s">
<parameters>
<parameter name="action"><content type="string" default="off"/><shortdesc>%s</shortdesc></parameter>
<parameter name="plug"><content type="string"/><shortdesc>the host</shortdesc></parameter>
<parameter name="%s"><content type="string"/><shortdesc>%s</shortdesc></parameter>
</parameters>
<actions>%s</actions>
</resource-agent>
`, d.Name, d.Of, strings.Join(actions, ", "), d.Option, d.Means, `<action name="`+strings.Join(actions, `"/><action name="`)+`"/>`)
	return err
}
