package lab

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// beatsTarget serves the LUN of the hosts' heartbeats, beside the servers' own.
const (
	beatsTarget = "iqn.2026-01.local.relight.lab:beats"
	beatsUnit   = "1"
	beatsBytes  = 2 << 20
)

// beats is where hosts leave their heartbeats: on the SAN, by the network of the storage.
func (l *Lab) beats() string { return "iscsi://" + l.Portal() + "/" + beatsTarget + "/" + beatsUnit }

// serveBeats has a target daemon that has just begun serve the hosts' heartbeats, to all.
func (l *Lab) serveBeats(ctx context.Context) error {
	file := l.path("beats.img")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(file, make([]byte, beatsBytes), 0o600); err != nil {
			return err
		}
	}
	for _, order := range [][]string{
		{"--op", "new", "--mode", "target", "--tid", "1", "-T", beatsTarget},
		{"--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", beatsUnit, "-b", file},
		{"--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL"},
	} {
		if err := l.tgtadm(ctx, order...); err != nil {
			return err
		}
	}
	return nil
}
