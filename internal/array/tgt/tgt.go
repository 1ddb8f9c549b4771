package tgt

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"

	"relight/internal/array"
	"relight/internal/core/fence"
)

// Config says which tgtd and where its LUNs lie.
type Config struct {
	Name string
	// Prefix is that of all IQNs, such as iqn.2026-01.org.example.san.
	Prefix string
	// Portal is address:port, as initiators reach it.
	Portal string
	// Dir holds one file per LUN.
	Dir string
	// Control is the number of tgtd's control socket (its option -C).
	Control int
}

// Array is an array.Array.
type Array struct {
	cfg Config
	run func(ctx context.Context, args ...string) ([]byte, error)
	// mu: two calls that look and then act would make one target twice.
	mu sync.Mutex
}

// New makes the driver; it touches nothing yet.
func New(cfg Config) *Array {
	return &Array{cfg: cfg, run: func(ctx context.Context, args ...string) ([]byte, error) {
		args = append([]string{"-C", strconv.Itoa(cfg.Control), "--lld", "iscsi"}, args...)
		var stderr strings.Builder
		cmd := exec.CommandContext(ctx, "tgtadm", args...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("tgtadm: %w: %s", err, strings.TrimSpace(stderr.String()))
		}
		return out, nil
	}}
}

// Name implements array.Array.
func (a *Array) Name() string { return a.cfg.Name }

// Local implements array.Local.
func (a *Array) Local() {}

// Create implements array.Array.
func (a *Array) Create(_ context.Context, l array.LUN) error { return array.CreateFile(a.cfg.Dir, l) }

// Room implements array.Roomer.
func (a *Array) Room(context.Context) (int64, error) { return array.FileRoom(a.cfg.Dir) }

// LUN implements array.Array.
func (a *Array) LUN(_ context.Context, name string) (array.LUN, error) {
	return array.FileLUN(a.cfg.Dir, name)
}

func (a *Array) iqn(r array.Ref) (string, error) { return array.IQN(a.cfg.Prefix+":t", r) }

// look lists the targets.
func (a *Array) look(ctx context.Context) ([]target, error) {
	out, err := a.run(ctx, "--op", "show", "--mode", "target")
	if err != nil {
		return nil, err
	}
	return parse(string(out))
}

// find returns the epoch's target, or nil.
func (a *Array) find(ctx context.Context, r array.Ref) (*target, error) {
	iqn, err := a.iqn(r)
	if err != nil {
		return nil, err
	}
	all, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	return byName(all, iqn), nil
}

func byName(all []target, iqn string) *target {
	for i := range all {
		if all[i].iqn == iqn {
			return &all[i]
		}
	}
	return nil
}

// Maps implements array.Array.
func (a *Array) Maps(ctx context.Context, server string) ([]array.Mapped, error) {
	all, err := a.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("maps of %s: %w", server, err)
	}
	return a.mapsOf(all, server), nil
}

func (a *Array) mapsOf(all []target, server string) []array.Mapped {
	var out []array.Mapped
	for _, t := range all {
		if r, ok := array.ParseIQN(a.cfg.Prefix+":t", t.iqn); ok && r.Server == server {
			out = append(out, t.mapped(r))
		}
	}
	return out
}

func (t *target) mapped(r array.Ref) array.Mapped {
	return array.Mapped{Ref: r, Initiators: t.initiators, Offline: len(t.initiators)+len(t.units) == 0 && len(t.nexuses) > 0}
}

// AllMaps implements array.Lister.
func (a *Array) AllMaps(ctx context.Context) ([]array.Mapped, error) {
	all, err := a.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("maps: %w", err)
	}
	var out []array.Mapped
	for _, t := range all {
		if r, ok := array.ParseIQN(a.cfg.Prefix+":t", t.iqn); ok {
			out = append(out, t.mapped(r))
		}
	}
	return out, nil
}

// RemoveBy implements array.Remover. Without --force a target with sessions stays.
func (a *Array) RemoveBy(r array.Ref) string {
	iqn, err := a.iqn(r)
	if err != nil {
		return "tgt-admin --dump"
	}
	return fmt.Sprintf("tgt-admin -C %d --delete %s", a.cfg.Control, iqn)
}

// Locate implements array.Locator.
func (a *Array) Locate(_ context.Context, r array.Ref) (array.Target, error) {
	iqn, err := a.iqn(r)
	return array.Target{Portal: a.cfg.Portal, IQN: iqn}, err
}

// Map implements array.Array.
func (a *Array) Map(ctx context.Context, m array.Map, proof fence.Proof) (array.Target, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all, err := a.look(ctx)
	if err != nil {
		return array.Target{}, fmt.Errorf("map of %s epoch %d: %w", m.Server, m.Epoch, err)
	}
	if err := array.Check(m, proof, a.mapsOf(all, m.Server)); err != nil {
		return array.Target{}, err
	}
	iqn, err := a.iqn(m.Ref)
	if err != nil {
		return array.Target{}, err
	}
	for _, t := range all {
		if t.iqn != iqn && slices.Contains(t.initiators, m.Initiator) {
			return array.Target{}, fmt.Errorf("%s at %s: %w", m.Initiator, t.iqn, array.ErrDuplicate)
		}
		for _, n := range slices.Sorted(maps.Keys(m.Units)) {
			if t.iqn != iqn && t.serves(array.FilePath(a.cfg.Dir, m.Units[n])) {
				return array.Target{}, fmt.Errorf("LUN %s at %s: %w", m.Units[n], t.iqn, array.ErrShared)
			}
		}
	}
	if err := a.build(ctx, m, iqn, all); err != nil {
		return array.Target{}, fmt.Errorf("map of %s epoch %d: %w", m.Server, m.Epoch, err)
	}
	return array.Target{Portal: a.cfg.Portal, IQN: iqn}, nil
}

// serves reports whether a unit of the target has the file.
func (t *target) serves(path string) bool {
	for _, p := range t.units { // any one will do
		if p == path {
			return true
		}
	}
	return false
}

// build makes what is missing of an epoch's target. The initiator comes last: with
// a name but no account yet, tgtd lets it in without a secret.
func (a *Array) build(ctx context.Context, m array.Map, iqn string, all []target) error {
	t := byName(all, iqn)
	if t == nil {
		t = &target{iqn: iqn, tid: freeID(iqn, all)}
		if _, err := a.run(ctx, "--op", "new", "--mode", "target", "--tid", t.id(), "-T", iqn); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(m.Units)) {
		if err := a.unit(ctx, t, n, m.Units[n]); err != nil {
			return err
		}
	}
	if !slices.Contains(t.accounts, m.User) {
		if err := a.account(ctx, t, m); err != nil {
			return err
		}
	}
	for _, old := range t.initiators {
		if old != m.Initiator {
			return fmt.Errorf("%s is open to %s: %w", iqn, old, array.ErrConflict)
		}
	}
	if len(t.initiators) > 0 {
		return nil
	}
	_, err := a.run(ctx, "--op", "bind", "--mode", "target", "--tid", t.id(), "--initiator-name", m.Initiator)
	return err
}

// freeID makes a target's number from its name. It is never reused for another
// epoch: a login that began on a target which is gone would end on the one that
// has its number now.
func freeID(iqn string, all []target) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(iqn))
	id := h.Sum32() & 0x7fffffff
	for id == 0 || slices.ContainsFunc(all, func(t target) bool { return t.tid == id }) {
		id = (id + 1) & 0x7fffffff
	}
	return id
}

func (a *Array) unit(ctx context.Context, t *target, n int, name string) error {
	path := array.FilePath(a.cfg.Dir, name)
	if old, ok := t.units[n]; ok {
		if old != path {
			return fmt.Errorf("unit %d is %s: %w", n, old, array.ErrConflict)
		}
		return nil
	}
	if err := array.CheckFile(a.cfg.Dir, name); err != nil {
		return err
	}
	unit := []string{"--mode", "logicalunit", "--tid", t.id(), "--lun", strconv.Itoa(n)}
	if _, err := a.run(ctx, append([]string{"--op", "new", "--bstype", "rdwr", "--bsoflags", "direct", "-b", path}, unit...)...); err != nil {
		return err
	}
	// tgtd numbers its disks by target, and the target changes with the epoch; a
	// guest that finds its disks by their identity must find the same ones.
	h := fnv.New64a()
	_, _ = h.Write([]byte(a.cfg.Name + "/" + name))
	id := fmt.Sprintf("%016x", h.Sum64())
	_, err := a.run(ctx, append([]string{"--op", "update", "--params", "scsi_id=RELIGHT" + id + ",scsi_sn=" + id}, unit...)...)
	return err
}

func (a *Array) account(ctx context.Context, t *target, m array.Map) error {
	users, err := a.users(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(users, m.User) { // from a try that was cut short, maybe with half a secret
		if _, err := a.run(ctx, "--op", "delete", "--mode", "account", "--user", m.User); err != nil {
			return err
		}
	}
	if _, err := a.run(ctx, "--op", "new", "--mode", "account", "--user", m.User, "--password", m.Secret); err != nil {
		return err
	}
	_, err = a.run(ctx, "--op", "bind", "--mode", "account", "--tid", t.id(), "--user", m.User)
	return err
}

func (a *Array) users(ctx context.Context) ([]string, error) {
	out, err := a.run(ctx, "--op", "show", "--mode", "account")
	if err != nil {
		return nil, err
	}
	var users []string
	for _, line := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(line, " ") {
			users = append(users, strings.TrimSpace(line))
		}
	}
	return users, nil
}

// Unmap implements array.Array. The name goes first: an account that went first
// would leave a target that asks for no secret.
func (a *Array) Unmap(ctx context.Context, r array.Ref) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, err := a.find(ctx, r)
	if err != nil || t == nil {
		return err
	}
	for _, i := range t.initiators {
		if _, err := a.run(ctx, "--op", "unbind", "--mode", "target", "--tid", t.id(), "--initiator-name", i); err != nil {
			return fmt.Errorf("unmap %s: %w", i, err)
		}
	}
	for _, u := range t.accounts {
		if _, err := a.run(ctx, "--op", "delete", "--mode", "account", "--user", u); err != nil {
			return fmt.Errorf("remove account %s: %w", u, err)
		}
	}
	return nil
}

// Sessions implements array.Array.
func (a *Array) Sessions(ctx context.Context, r array.Ref) ([]array.Session, error) {
	t, err := a.find(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("sessions of %s epoch %d: %w", r.Server, r.Epoch, err)
	}
	var out []array.Session
	if t != nil {
		for _, n := range t.nexuses {
			out = append(out, array.Session{Ref: r, ID: n.sid, Initiator: n.initiator})
		}
	}
	return out, nil
}

// Kill implements array.Array.
func (a *Array) Kill(ctx context.Context, s array.Session) error {
	t, err := a.find(ctx, s.Ref)
	if err != nil || t == nil {
		return err
	}
	for _, n := range t.nexuses {
		if n.sid != s.ID {
			continue
		}
		for _, cid := range n.cids {
			if _, err := a.run(ctx, "--op", "delete", "--mode", "conn", "--tid", t.id(), "--sid", n.sid, "--cid", cid); err != nil {
				return a.unless(ctx, s, fmt.Errorf("kill session %s of %s: %w", n.sid, n.initiator, err))
			}
		}
	}
	return nil
}

// unless drops an error about a session that went by itself meanwhile.
func (a *Array) unless(ctx context.Context, s array.Session, failed error) error {
	left, err := a.Sessions(ctx, s.Ref)
	if err == nil && !slices.ContainsFunc(left, func(o array.Session) bool { return o.ID == s.ID }) {
		return nil
	}
	return failed
}

// Close implements array.Array. tgtd refuses to remove a target with a session.
func (a *Array) Close(ctx context.Context, r array.Ref) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, err := a.find(ctx, r)
	if err != nil || t == nil {
		return err
	}
	_, failed := a.run(ctx, "--op", "delete", "--mode", "target", "--tid", t.id())
	if failed == nil {
		return nil
	}
	switch t, err = a.find(ctx, r); {
	case err != nil:
		return err
	case t == nil:
		return nil
	case len(t.nexuses) > 0:
		return fmt.Errorf("remove %s: %w", t.iqn, array.ErrBusy)
	}
	return fmt.Errorf("remove %s: %w", t.iqn, failed)
}
