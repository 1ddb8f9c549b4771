package beats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"relight/internal/enrol"
)

// Store keeps one heartbeat for each host. It is used by one goroutine.
type Store interface {
	// Write replaces this host's heartbeat.
	Write(ctx context.Context, host string, content []byte) error
	// Read returns each host's.
	Read(ctx context.Context) (map[string]string, error)
	// Close gives back what is open; the store may be used again.
	Close()
}

// contentMost bounds one heartbeat, in bytes.
const contentMost = 2048

// ErrWhere: the text names no place for heartbeats.
var ErrWhere = errors.New("no place for heartbeats")

// Parse makes the store that a text names: a directory, a block device, or a LUN as
// iscsi://[user@]portal/target/unit, whose secret is in a file. It touches no storage but
// to see what a path is; as whom a host logs in is made of its name. Errors: ErrWhere.
func Parse(where, host, secretFile string) (Store, error) {
	if strings.HasPrefix(where, "iscsi:") {
		lun, err := parseLUN(where, host, secretFile)
		if err != nil {
			return nil, fmt.Errorf("%q is %w: %w; write iscsi://[user@]10.0.9.1:3260/iqn.2026-01.org.example:beats/1", where, ErrWhere, err)
		}
		return NewArea(lun.open), nil
	}
	if secretFile != "" {
		return nil, fmt.Errorf("%q is %w that needs a secret; leave its file out", where, ErrWhere)
	}
	info, err := os.Stat(where)
	switch {
	case err == nil && info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0:
		return NewArea(direct(where).open), nil
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("%q is %w: it is neither a directory nor a block device", where, ErrWhere)
	}
	return Dir(where), nil // one that is not there now may be mounted later
}

func parseLUN(where, host, secretFile string) (lun, error) {
	u, err := url.Parse(where)
	if err != nil {
		return lun{}, err
	}
	target, number, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	unit, bad := strconv.Atoi(number)
	_, port, noPort := net.SplitHostPort(u.Host)
	switch {
	case noPort != nil || port == "":
		return lun{}, errors.New("the portal is no address:port")
	case !strings.HasPrefix(target, "iqn.") && !strings.HasPrefix(target, "eui.") && !strings.HasPrefix(target, "naa."):
		return lun{}, fmt.Errorf("the target %q is no name of one", target)
	case bad != nil || unit < 0 || unit > 255:
		return lun{}, fmt.Errorf("the unit %q is no number from 0 to 255", number)
	}
	out := lun{unit: unit}
	out.cfg.Portal, out.cfg.Target, out.cfg.Initiator = u.Host, target, Initiator(host)
	if _, with := u.User.Password(); with {
		return lun{}, errors.New("a secret does not belong there, where everybody reads it: put it into a file")
	}
	out.cfg.User = u.User.Username()
	if (out.cfg.User == "") != (secretFile == "") {
		return lun{}, errors.New("a user needs the file of a secret, and a secret a user")
	}
	if secretFile != "" {
		text, err := os.ReadFile(secretFile)
		if err != nil {
			return lun{}, err
		}
		out.cfg.Secret = strings.TrimSpace(string(text))
	}
	return out, nil
}

// Initiator is the name under which a host logs in to the LUN of heartbeats. It is that of
// no server's epoch.
func Initiator(host string) string { return "iqn.2026-01.local.relight.beats:" + strings.ToLower(host) }

// Dir is a directory with one file for each host.
type Dir string

const suffix = ".beat"

// Write implements Store.
func (d Dir) Write(_ context.Context, host string, content []byte) error {
	path := filepath.Join(string(d), host+suffix)
	// Not synced: what counts is that others see it, not that it survives.
	err := os.WriteFile(path+".new", content, 0o644) //nolint:gosec // the other hosts read it
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write storage heartbeat: %w", err)
	}
	return nil
}

// Read implements Store.
func (d Dir) Read(context.Context) (map[string]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, fmt.Errorf("read storage heartbeats: %w", err)
	}
	out := map[string]string{}
	for _, e := range entries {
		host, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || enrol.CheckHost(host) != nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join(string(d), e.Name()))
		if err != nil || len(data) > contentMost {
			continue
		}
		out[host] = string(data)
	}
	return out, nil
}

// Close implements Store.
func (Dir) Close() {}
