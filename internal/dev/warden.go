package dev

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"relight/internal/rack"
)

func startWarden(exe, dir, id string, temporary bool) (*rack.Warden, error) {
	args := []string{"demo-warden", "--id", id}
	if temporary {
		args = append(args, "--remove", dir)
	}
	return rack.StartWarden(exe, args...)
}

// Watch is the warden's work: it waits until in ends and then, unless it was
// dismissed, ends the fleet with that id and removes the directory, if one is named.
func Watch(in io.Reader, id, remove string) error {
	if rack.Watched(in) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := Kill(ctx, id, "")
	if remove != "" {
		err = errors.Join(err, os.RemoveAll(remove))
	}
	return err
}
