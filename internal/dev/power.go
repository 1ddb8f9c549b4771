package dev

import (
	"context"
	"io"
	"time"

	"relight/internal/rack"
)

// powerWithin bounds one call of the device.
const powerWithin = 5 * time.Second

// Power is the fence device of the fleet's hosts, in the fence agents' protocol. Its
// option dir is the fleet's directory. It returns the exit code.
func Power(ctx context.Context, in io.Reader, out io.Writer) int {
	return rack.PowerDevice{
		Name: "relight-demo-power", Of: "relight dev", Within: powerWithin,
		Option: "dir", Means: "the fleet's directory", Plug: outlet,
	}.Serve(ctx, in, out)
}

func outlet(dir, plug string) (rack.Outlet, error) {
	h, err := readHost(dir, plug)
	return rack.Outlet{
		Off: func(ctx context.Context) error { return Kill(ctx, h.Fleet, h.Name) },
		On:  func(context.Context) error { return h.on(dir) },
		IsOn: func() (bool, error) {
			found, err := living(h.Fleet, h.Name)
			return len(found) > 0, err
		},
	}, err
}
