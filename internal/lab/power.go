package lab

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"relight/internal/rack"
)

// powerWithin bounds one call of the device.
const powerWithin = 10 * time.Second

// Power is the power device of the labs' hosts, in the fence agents' protocol. Its
// option lab is the lab's name. It returns the exit code.
func Power(ctx context.Context, in io.Reader, out io.Writer) int {
	return rack.PowerDevice{
		Name: "relight-lab-power", Of: "relight lab", Within: powerWithin,
		Option: "lab", Means: "the lab", Plug: outlet,
	}.Serve(ctx, in, out)
}

func outlet(name, host string) (rack.Outlet, error) {
	if !slices.Contains(Hosts(), host) {
		return rack.Outlet{}, fmt.Errorf("plug %q is none of %s", host, strings.Join(Hosts(), ", "))
	}
	l, err := Open(name)
	return rack.Outlet{
		Off:  func(ctx context.Context) error { return l.PowerOff(ctx, host) },
		On:   func(ctx context.Context) error { return l.PowerOn(ctx, host) },
		IsOn: func() (bool, error) { return l.IsOn(host) },
	}, err
}

// PowerOff ends every process of a host, and its kernel answers nobody any more.
func (l *Lab) PowerOff(ctx context.Context, host string) error {
	// First: between the two the kernel would tell peers that it runs.
	if err := l.setKernel(ctx, host, "down"); err != nil {
		return err
	}
	if err := killAll(ctx, l.namespace(host)); err != nil {
		return err
	}
	return l.dropTaps(ctx, host)
}

// setKernel has a host's kernel answer on the management network, or not. That is the
// host's end of the cable: the other one is cut and mended by Cut and Mend.
func (l *Lab) setKernel(ctx context.Context, host, state string) error {
	return batch(ctx, l.namespace(host), []string{"link set dev " + string(Management) + " " + state})
}

// Boot has a host's kernel answer again, with nothing of Relight on it: what somebody
// else is to run there has a network.
func (l *Lab) Boot(ctx context.Context, host string) error { return l.setKernel(ctx, host, "up") }

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
