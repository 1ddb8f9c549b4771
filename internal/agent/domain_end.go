package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"relight/internal/agent/driver/virsh"
	"relight/internal/agent/keeper"
	"relight/internal/core/fleet"
)

// keepConsole copies the end of the console, if it is a file, before a reset
// overwrites what it shows.
func (d *Domains) keepConsole(one virsh.Domain) (string, error) {
	const most = 1 << 20
	if one.Console == "" {
		return "its console is no file", nil
	}
	in, err := os.Open(one.Console)
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	if info, err := in.Stat(); err == nil && info.Size() > most {
		if _, err := in.Seek(-most, io.SeekEnd); err != nil {
			return "", err
		}
	}
	text, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return "", err
	}
	path := filepath.Join(d.opt.Dir, fmt.Sprintf("%s.%d.console", one.Server, one.Epoch))
	return "console kept in " + path, os.WriteFile(path, text, 0o600)
}

// stop ends the domain. Its evidence is that libvirt, which waits for the process
// of each domain that it ends, has none any more.
func (d *Domains) stop(ctx context.Context, server string, epoch fleet.Epoch, grace time.Duration) (Effect, error) {
	one, err := d.own(ctx, server, epoch)
	if err != nil {
		return Effect{}, err
	}
	if err := d.end(ctx, one, grace); err != nil {
		return Effect{}, err
	}
	detail := "libvirt has no process of domain " + one.Name
	return Effect{Detail: detail, Evidence: []fleet.Evidence{{Method: fleet.Reaped, Server: server, Epoch: epoch, Detail: detail}}}, nil
}

func (d *Domains) end(ctx context.Context, one virsh.Domain, grace time.Duration) error {
	if err := d.neverAgain(one.Server, one.Epoch); err != nil {
		return err
	}
	if one.Persistent && one.Autostart {
		if err := d.opt.Conn.NoAutostart(ctx, one.UUID); err != nil {
			return err
		}
	}
	if grace > 0 && one.State == "running" && d.opt.Conn.Shutdown(ctx, one.UUID) == nil {
		d.awaitEnd(ctx, one, grace)
	}
	if now, err := d.opt.Conn.Domain(ctx, one.UUID); err == nil && now.State.Alive() {
		if err := d.opt.Conn.Destroy(ctx, one.UUID); err != nil && !errors.Is(err, virsh.ErrNotFound) {
			d.opt.Log.Warn("destroy", "domain", one.Name, "error", err)
		}
	}
	now, err := d.opt.Conn.Domain(ctx, one.UUID)
	switch {
	case errors.Is(err, virsh.ErrNotFound): // it was kept no longer than it ran
	case err != nil:
		return err
	case now.State.Alive() || now.Epoch != one.Epoch:
		return fmt.Errorf("stop: %w: domain %s is %s", errNotEnded, one.Name, now.State)
	}
	d.mu.Lock()
	d.gone[one.Server] = max(d.gone[one.Server], one.Epoch)
	d.mu.Unlock()
	return nil
}

func (d *Domains) awaitEnd(ctx context.Context, one virsh.Domain, grace time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	tick := time.NewTicker(domainsEvery / 4)
	defer tick.Stop()
	for {
		if now, err := d.opt.Conn.Domain(ctx, one.UUID); err != nil || !now.State.Alive() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// neverAgain remembers, before anything is ended, that the epoch does not start here
// again.
func (d *Domains) neverAgain(server string, epoch fleet.Epoch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended[server] >= epoch {
		return nil
	}
	next := map[string]fleet.Epoch{server: epoch}
	for s, e := range d.ended {
		if s != server {
			next[s] = e
		}
	}
	err := keeper.WriteFile(filepath.Join(d.opt.Dir, endedFile), next, true)
	if err != nil {
		return fmt.Errorf("note that epoch %d ended: %w", epoch, err)
	}
	d.ended = next
	return nil
}

// End implements Driver.
func (d *Domains) End(ctx context.Context, server string, epoch fleet.Epoch) error {
	one, err := d.own(ctx, server, epoch)
	if errors.Is(err, errNoneHere) {
		return d.neverAgain(server, epoch)
	}
	if err != nil {
		return err
	}
	return d.end(ctx, one, 0)
}

// Tidy implements Driver. Domains are their owner's: none is undefined.
func (d *Domains) Tidy(context.Context) error { return nil }
