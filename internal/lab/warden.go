package lab

import (
	"context"
	"io"

	"relight/internal/rack"
)

func startWarden(exe, name string) (*rack.Warden, error) {
	return rack.StartWarden(exe, "lab", "warden", "--name", name)
}

// Watch is the warden's work: it waits until in ends and then, unless it was
// dismissed, takes the lab down.
func Watch(in io.Reader, name string) error {
	if rack.Watched(in) {
		return nil
	}
	return Down(context.Background(), name)
}
