package array

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

var (
	serverName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	lunName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)
)

// iqnMax is the longest IQN, in bytes (RFC 3720 on).
const iqnMax = 223

// IQN makes the name of an epoch under a prefix such as
// iqn.2026-01.org.example.san. No two epochs and no two servers share one. Errors:
// ErrInvalid for a server's name that would have to be folded or cut: targets
// compare names in lower case, so that "DB" and "db" would be one initiator.
func IQN(prefix string, r Ref) (string, error) {
	name := fmt.Sprintf("%s:%s.e%d", prefix, r.Server, r.Epoch)
	switch {
	case !serverName.MatchString(r.Server):
		return "", fmt.Errorf("server %q has no place in an IQN: %w", r.Server, ErrInvalid)
	case r.Epoch == 0:
		return "", fmt.Errorf("server %s: epoch 0 has no IQN: %w", r.Server, ErrInvalid)
	case len(name) > iqnMax:
		return "", fmt.Errorf("%s: an IQN of %d bytes, above %d: %w", name, len(name), iqnMax, ErrInvalid)
	}
	return name, nil
}

// ParseIQN is the reverse of IQN; ok is false for names that IQN did not make.
func ParseIQN(prefix, iqn string) (r Ref, ok bool) {
	rest, ours := strings.CutPrefix(iqn, prefix+":")
	at := strings.LastIndex(rest, ".e")
	if !ours || at < 0 {
		return Ref{}, false
	}
	n, err := strconv.ParseUint(rest[at+2:], 10, 64)
	r = Ref{Server: rest[:at], Epoch: fleet.Epoch(n)}
	back, bad := IQN(prefix, r)
	return r, err == nil && bad == nil && back == iqn
}

// NewMap makes the map of an epoch, with a name under the prefix and a secret from
// the random source. The caller journals it before the array hears of it.
func NewMap(prefix string, r Ref, units map[int]string, random io.Reader) (Map, error) {
	iqn, err := IQN(prefix, r)
	if err != nil {
		return Map{}, err
	}
	const letters = "abcdefghijkmnpqrstuvwxyz23456789" // 32: one letter is five bits, all alike
	secret := make([]byte, 16)                         // the longest that all initiators take
	if _, err := io.ReadFull(random, secret); err != nil {
		return Map{}, fmt.Errorf("draw a secret for %s: %w", iqn, err)
	}
	for i := range secret {
		secret[i] = letters[secret[i]%32]
	}
	return Map{Ref: r, Initiator: iqn, User: fmt.Sprintf("%s.e%d", r.Server, r.Epoch), Secret: string(secret), Units: units}, nil
}

// URI is a unit's address for firmware that boots from it (RFC 4173). The unit's
// number is in hexadecimal there: a decimal one boots the wrong disk from 10 on.
func (t Target) URI(unit int) string {
	host, port := t.Portal, ""
	if at := strings.LastIndex(t.Portal, ":"); at >= 0 {
		host, port = t.Portal[:at], t.Portal[at+1:]
	}
	return fmt.Sprintf("iscsi:%s::%s:%x:%s", host, port, unit, t.IQN)
}

// snapshotMark is in the name of what keeps a snapshot, and in no LUN's: nobody ever
// maps one and writes to it.
const snapshotMark = ".relight-"

// SnapshotName is that of the snapshots of what an epoch left behind.
func SnapshotName(r Ref) string { return fleet.SnapshotName(r.Server, r.Epoch) }

// SnapshotLUN is the name under which an array keeps a snapshot of a LUN. Errors:
// ErrInvalid.
func SnapshotLUN(lun, name string) (string, error) {
	if !isLUN(lun) || !lunName.MatchString(name) || !strings.HasPrefix("."+name, snapshotMark) {
		return "", fmt.Errorf("snapshot %q of LUN %q: %w", name, lun, ErrInvalid)
	}
	return lun + "." + name, nil
}

// SnapshotPrefix is what the names of SnapshotLUN begin with for a LUN. Errors:
// ErrInvalid.
func SnapshotPrefix(lun string) (string, error) {
	if !isLUN(lun) {
		return "", fmt.Errorf("snapshots of LUN %q: %w", lun, ErrInvalid)
	}
	return lun + snapshotMark, nil
}

func isLUN(name string) bool {
	return lunName.MatchString(name) && !strings.Contains(name, snapshotMark)
}

// Check refuses a map that must not be made. Each driver calls it with what it
// sees on the array, so that a missing wrapper opens no door; seen are the maps of
// the same server.
func Check(m Map, proof fence.Proof, seen []Mapped) error {
	if !proof.Covers(m.Server, m.Epoch) {
		return fmt.Errorf("map of %s epoch %d: %w", m.Server, m.Epoch, ErrNoProof)
	}
	if err := m.valid(); err != nil {
		return fmt.Errorf("map of %s epoch %d: %w", m.Server, m.Epoch, err)
	}
	for _, o := range seen {
		switch {
		case o.Epoch > m.Epoch:
			return fmt.Errorf("map of %s epoch %d: epoch %d has one: %w", m.Server, m.Epoch, o.Epoch, ErrFenced)
		case o.Epoch < m.Epoch && o.Offline: // sessions without a LUN
		case o.Epoch < m.Epoch:
			return fmt.Errorf("map of %s epoch %d: epoch %d has one: %w", m.Server, m.Epoch, o.Epoch, ErrHeld)
		}
	}
	return nil
}

func (m Map) valid() error {
	switch {
	case !serverName.MatchString(m.Server) || m.Epoch == 0 || m.Initiator == "":
		return fmt.Errorf("a name is missing or wrong: %w", ErrInvalid)
	case m.User == "" || len(m.Secret) < 12:
		return fmt.Errorf("CHAP needs a user and a secret of 12 bytes or more: %w", ErrInvalid)
	case len(m.Units) == 0:
		return fmt.Errorf("no units: %w", ErrInvalid)
	}
	for n, l := range m.Units {
		if n < 1 || n > 255 || !isLUN(l) {
			return fmt.Errorf("unit %d (%q): %w", n, l, ErrInvalid)
		}
	}
	return nil
}

// CheckLUN refuses a LUN that no array can make.
func CheckLUN(l LUN) error {
	if !isLUN(l.Name) || l.Bytes <= 0 || l.Bytes%4096 != 0 {
		return fmt.Errorf("LUN %q of %d bytes: %w", l.Name, l.Bytes, ErrInvalid)
	}
	return nil
}
