package mount

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/core/mount"
)

// LUN is a unit of an array as an epoch logs in to it.
type LUN struct {
	// Portals are address:port, the preferred one first; Target is the array's IQN and
	// Unit the number there.
	Portals []string
	Target  string
	Unit    int
	// Initiator, User and Secret are the epoch's own (CHAP).
	Initiator, User, Secret string
}

const (
	// ifacePrefix is before the names of the records that have an epoch's initiator name.
	ifacePrefix = "relight-"
	// iscsiSessionThere is what iscsiadm ends with where there is such a session already.
	iscsiSessionThere = 15
	// PortalWithin is what a portal's answer may take.
	PortalWithin = time.Second
)

// lun looks for the disk of a volume that is a LUN. Where there is none yet it asks where
// the LUN is, logs in, and says how far that came: it is tried again for ever.
func (v *Volumes) lun(ctx context.Context, one fleet.Volume) mount.Seen {
	if l, told := v.luns[one.Name]; told {
		if disks := v.machine.units(l); len(disks) > 0 {
			return mount.Seen{Disks: disks}
		}
	}
	if v.Logins == nil {
		return mount.Seen{Untold: true, Awaits: "nobody tells where its LUN is"}
	}
	all, err := v.Logins(ctx)
	if err != nil {
		return mount.Seen{Untold: true, Awaits: "where its LUN is cannot be told yet: " + err.Error()}
	}
	v.luns = all
	l, told := all[one.Name]
	if !told {
		return mount.Seen{Untold: true, Awaits: "the controller names no LUN for it"}
	}
	if disks := v.machine.units(l); len(disks) > 0 {
		return mount.Seen{Disks: disks}
	}
	if err := v.machine.login(ctx, l); err != nil {
		return mount.Seen{Awaits: err.Error()}
	}
	if disks := v.machine.units(l); len(disks) > 0 {
		return mount.Seen{Disks: disks}
	}
	return mount.Seen{Awaits: fmt.Sprintf("this instance is logged in to %s as %s and sees no unit %d yet", l.Target, l.Initiator, l.Unit)}
}

// units returns the disks that a LUN has here, through sessions of the epoch's own
// initiator alone: the disk of any other login, or of another unit, is another disk.
func (m *Machine) units(l LUN) []mount.Disk {
	var out []mount.Disk
	for _, session := range m.sessions(l) {
		found, _ := filepath.Glob(filepath.Join(session, "device", "target*", "*:*:*:"+strconv.Itoa(l.Unit), "block", "*"))
		slices.Sort(found)
		for _, dir := range found {
			out = append(out, mount.Disk{Node: filepath.Join(m.Dev, filepath.Base(dir)), Number: word(dir, "dev")})
		}
	}
	return out
}

// sessions are the logins to a LUN's target as its initiator.
func (m *Machine) sessions(l LUN) []string {
	root := filepath.Join(m.Sys, "class", "iscsi_session")
	entries, _ := os.ReadDir(root) // without the kernel's module there is none
	var out []string
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if word(dir, "targetname") == l.Target && word(dir, "initiatorname") == l.Initiator {
			out = append(out, dir)
		}
	}
	return out
}

// login logs in to a LUN's target through the first portal that takes it; one session is
// enough, since several would show one LUN as several disks. Where there is a session
// already it is asked to look for units anew.
func (m *Machine) login(ctx context.Context, l LUN) error {
	sum := sha256.Sum256([]byte(l.Initiator))
	iface := ifacePrefix + hex.EncodeToString(sum[:6])
	if len(m.sessions(l)) > 0 {
		return m.iscsi(ctx, l, "-m", "node", "-T", l.Target, "-I", iface, "--rescan")
	}
	// The epoch's name stands in a record of its own: the machine's initiator name is the
	// image's, which all epochs share.
	if out, code, err := m.Run(ctx, "iscsiadm", "-m", "iface", "-I", iface); err != nil || code != 0 {
		if err != nil {
			return notRun(err)
		}
		if err := m.iscsi(ctx, l, "-m", "iface", "-I", iface, "-o", "new"); err != nil {
			return fmt.Errorf("%w (before: %s)", err, brief(out))
		}
	}
	if err := m.iscsi(ctx, l, "-m", "iface", "-I", iface, "-o", "update", "-n", "iface.initiatorname", "-v", l.Initiator); err != nil {
		return err
	}
	var last error
	for _, portal := range m.answering(ctx, l.Portals) {
		if last = m.loginAt(ctx, l, iface, portal); last == nil {
			return nil
		}
	}
	return last
}

// answering puts the portals that take a connection before those that do not: iscsid asks
// one that is dead again and again for two minutes, in which the server has no disk.
func (m *Machine) answering(ctx context.Context, portals []string) []string {
	if m.Reaches == nil || len(portals) < 2 {
		return portals
	}
	var first, last []string
	for _, p := range portals {
		if m.Reaches(ctx, p) {
			first = append(first, p)
		} else {
			last = append(last, p)
		}
	}
	return append(first, last...)
}

// Reaches tries to connect to a portal. It does not log in, which needs a map.
func Reaches(ctx context.Context, portal string) bool {
	ctx, cancel := context.WithTimeout(ctx, PortalWithin)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", portal)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// loginAt logs in through one portal. The record is made anew, so that nothing of an
// earlier epoch's is in it, and is not used at the next boot: then there may be another
// epoch. The login is tried once: iscsid's own eight tries of fifteen seconds would hold
// up the next portal, and it is asked again for ever.
func (m *Machine) loginAt(ctx context.Context, l LUN, iface, portal string) error {
	node := []string{"-m", "node", "-T", l.Target, "-p", portal, "-I", iface}
	if err := m.iscsi(ctx, l, append(slices.Clone(node), "-o", "new")...); err != nil {
		return err
	}
	for _, set := range [][2]string{
		{"node.startup", "manual"},
		{"node.session.initial_login_retry_max", "1"},
		{"node.session.auth.authmethod", "CHAP"},
		{"node.session.auth.username", l.User},
		{"node.session.auth.password", l.Secret},
	} {
		if err := m.iscsi(ctx, l, append(slices.Clone(node), "-o", "update", "-n", set[0], "-v", set[1])...); err != nil {
			return err
		}
	}
	err := m.iscsi(ctx, l, append(slices.Clone(node), "--login")...)
	if said := failedLogin.FindStringSubmatch(fmt.Sprint(err)); said != nil {
		return fmt.Errorf("%s at %s does not take the login of %s: %s", l.Target, portal, l.Initiator, said[1])
	}
	return err
}

// failedLogin is where iscsiadm says why a login failed, among much else.
var failedLogin = regexp.MustCompile(`initiator reported error \((?:\d+ - )?([^)]*)\)`)

// iscsi runs iscsiadm. What it says is told without the secret.
func (m *Machine) iscsi(ctx context.Context, l LUN, argv ...string) error {
	out, code, err := m.Run(ctx, append([]string{"iscsiadm"}, argv...)...)
	switch {
	case err != nil:
		return notRun(err)
	case code != 0 && code != iscsiSessionThere:
		what := slices.DeleteFunc(argv, func(a string) bool { return a == l.Secret })
		return fmt.Errorf("iscsiadm %s ended with %d: %s", strings.Join(what, " "), code, brief(strings.ReplaceAll(out, l.Secret, "…")))
	}
	return nil
}

// notRun is why iscsiadm did not come to its end: mostly nobody put it into the image.
func notRun(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("iscsiadm cannot be run: %w; next: put open-iscsi into the image", err)
	}
	return fmt.Errorf("iscsiadm was broken off: %w; next: systemctl status iscsid", err)
}
