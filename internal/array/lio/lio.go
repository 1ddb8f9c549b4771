package lio

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"relight/internal/array"
	"relight/internal/core/fence"
)

// Config says where the tree and the LUNs are.
type Config struct {
	Name string
	// Prefix is that of all IQNs.
	Prefix string
	// Portal is address:port, as initiators reach it.
	Portal string
	// MorePortals are further addresses on which each target is to be seen.
	MorePortals []string
	// Dir holds one file per LUN.
	Dir string
}

// Array is an array.Array.
type Array struct {
	cfg  Config
	tree Tree
	// turn is held while the tree is changed.
	turn chan struct{}
	// reading is held by each read of the tree.
	reading chan struct{}
	cut     cutter
}

// New makes the driver; it touches nothing yet.
func New(cfg Config, tree Tree) *Array {
	return &Array{cfg: cfg, tree: tree, turn: make(chan struct{}, 1), reading: make(chan struct{}, readers), cut: cutSilent}
}

// store is the directory of the backing stores.
const store = "core/fileio_0"

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

// group is the target portal group of an epoch's target.
func (a *Array) group(r array.Ref) (target, group string, err error) {
	iqn, err := array.IQN(a.cfg.Prefix+":t", r)
	return "iscsi/" + iqn, "iscsi/" + iqn + "/tpgt_1", err
}

// list is what is in a directory; one that is missing is empty.
func (a *Array) list(path string) ([]string, error) {
	names, err := a.tree.List(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	slices.Sort(names)
	return names, err
}

// mkdir makes a directory that may be there already.
func (a *Array) mkdir(path string) error {
	if err := a.tree.Mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// gone drops an error about what is not there.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Maps implements array.Array.
func (a *Array) Maps(ctx context.Context, server string) ([]array.Mapped, error) {
	found, err := a.maps(ctx, func(of string) bool { return of == server })
	if err != nil {
		return nil, fmt.Errorf("maps of %s: %w", server, err)
	}
	return found, nil
}

// AllMaps implements array.Lister.
func (a *Array) AllMaps(ctx context.Context) ([]array.Mapped, error) {
	found, err := a.maps(ctx, func(string) bool { return true })
	if err != nil {
		return nil, fmt.Errorf("maps: %w", err)
	}
	return found, nil
}

// maps lists those of the servers that are wanted.
func (a *Array) maps(ctx context.Context, wanted func(server string) bool) ([]array.Mapped, error) {
	return ask(ctx, a, func() ([]array.Mapped, error) { return a.listed(wanted) })
}

func (a *Array) listed(wanted func(server string) bool) ([]array.Mapped, error) {
	targets, err := a.targets()
	if err != nil {
		return nil, err
	}
	var out []array.Mapped
	for _, t := range targets {
		if r, ok := array.ParseIQN(a.cfg.Prefix+":t", t); ok && wanted(r.Server) {
			acls, err := a.list("iscsi/" + t + "/tpgt_1/acls")
			if err != nil {
				return nil, err
			}
			out = append(out, array.Mapped{Ref: r, Initiators: acls})
		}
	}
	return out, nil
}

// RemoveBy implements array.Remover.
func (a *Array) RemoveBy(r array.Ref) string {
	target, _, err := a.group(r)
	if err != nil {
		return "targetcli /iscsi ls"
	}
	return "targetcli /iscsi delete " + strings.TrimPrefix(target, "iscsi/")
}

// Locate implements array.Locator.
func (a *Array) Locate(_ context.Context, r array.Ref) (array.Target, error) {
	iqn, err := array.IQN(a.cfg.Prefix+":t", r)
	return array.Target{Portal: a.cfg.Portal, IQN: iqn}, err
}

// Map implements array.Array. The portal group is enabled last, so that nobody
// finds half of it open.
func (a *Array) Map(ctx context.Context, m array.Map, proof fence.Proof) (array.Target, error) {
	return alter(ctx, a, func() (array.Target, error) { return a.let(ctx, m, proof) })
}

func (a *Array) let(ctx context.Context, m array.Map, proof fence.Proof) (array.Target, error) {
	seen, err := a.Maps(ctx, m.Server)
	if err != nil {
		return array.Target{}, err
	}
	if err := array.Check(m, proof, seen); err != nil {
		return array.Target{}, err
	}
	target, group, err := a.group(m.Ref)
	if err != nil {
		return array.Target{}, err
	}
	own := strings.TrimPrefix(target, "iscsi/")
	beside := func(iqn string) bool { return iqn == own || a.isHolder(iqn) }
	if err := errors.Join(a.unique(m.Initiator, own), a.alone(m.Units, beside)); err != nil {
		return array.Target{}, err
	}
	// That of a server which had the LUN before: nobody else would ever take it away.
	if err := a.releaseOf(m.Units, a.holder(m.Server)); err != nil {
		return array.Target{}, fmt.Errorf("map of %s epoch %d: %w", m.Server, m.Epoch, err)
	}
	for _, n := range slices.Sorted(maps.Keys(m.Units)) {
		if err := a.back(m.Units[n]); err != nil {
			return array.Target{}, fmt.Errorf("map of %s epoch %d: %w", m.Server, m.Epoch, err)
		}
	}
	if err := a.build(m, target, group); err != nil {
		return array.Target{}, fmt.Errorf("map of %s epoch %d: %w", m.Server, m.Epoch, err)
	}
	return array.Target{Portal: a.cfg.Portal, IQN: strings.TrimPrefix(target, "iscsi/")}, nil
}

// targets are all names below the fabric's directory, in which the kernel has files of
// its own, too.
func (a *Array) targets() ([]string, error) {
	names, err := a.list("iscsi")
	return slices.DeleteFunc(names, func(n string) bool {
		return !slices.ContainsFunc([]string{"iqn.", "eui.", "naa."}, func(kind string) bool { return strings.HasPrefix(n, kind) })
	}), err
}

// others are the portal groups of all targets but some, whoever made them.
func (a *Array) others(but func(iqn string) bool) ([]string, error) {
	targets, err := a.targets()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range targets {
		inside, err := a.list("iscsi/" + t)
		if err != nil {
			return nil, err
		}
		for _, g := range inside {
			if !but(t) && strings.HasPrefix(g, "tpgt_") {
				out = append(out, "iscsi/"+t+"/"+g)
			}
		}
	}
	return out, nil
}

// unique refuses an initiator that a target of another name knows.
func (a *Array) unique(initiator, iqn string) error {
	groups, err := a.others(func(t string) bool { return t == iqn })
	if err != nil {
		return err
	}
	for _, g := range groups {
		acls, err := a.list(g + "/acls")
		if err != nil {
			return err
		}
		if slices.Contains(acls, initiator) {
			return fmt.Errorf("%s at %s: %w", initiator, g, array.ErrDuplicate)
		}
	}
	return nil
}

// alone refuses LUNs that a target serves, but for some targets.
func (a *Array) alone(units map[int]string, but func(iqn string) bool) error {
	groups, err := a.others(but)
	if err != nil {
		return err
	}
	for _, g := range groups {
		served, err := a.list(g + "/lun")
		if err != nil {
			return err
		}
		for _, unit := range served {
			name, err := a.served(g + "/lun/" + unit)
			if err != nil {
				return err
			}
			for _, n := range slices.Sorted(maps.Keys(units)) {
				if units[n] == name {
					return fmt.Errorf("LUN %s at %s: %w", name, g, array.ErrShared)
				}
			}
		}
	}
	return nil
}

// served is the LUN of ours that a unit of a portal group leads to. Its link's own name
// says nothing: tools draw one.
func (a *Array) served(unit string) (string, error) {
	links, err := a.list(unit)
	if err != nil {
		return "", err
	}
	for _, l := range links {
		to, err := a.tree.Readlink(unit + "/" + l)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) {
			continue // gone meanwhile, or a file of the kernel's own
		}
		if err != nil {
			return "", err
		}
		if dir, name := path.Split(to); strings.HasSuffix(dir, store+"/") {
			return name, nil
		}
	}
	return "", nil
}

// claimed refuses a file that is also the backing store of somebody else's unit, under
// whatever name.
func (a *Array) claimed(name string) error {
	of, err := os.Stat(array.FilePath(a.cfg.Dir, name))
	if err != nil {
		return err
	}
	kinds, err := a.list("core")
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		if !strings.HasPrefix(kind, "fileio_") {
			continue
		}
		objects, err := a.list("core/" + kind)
		if err != nil {
			return err
		}
		for _, o := range objects {
			dir := "core/" + kind + "/" + o
			if dir == store+"/"+name {
				continue
			}
			info, err := a.tree.Read(dir + "/info")
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
				continue // gone meanwhile, or a file of the kernel's own
			}
			if err != nil {
				return err
			}
			if st, err := os.Stat(backing(info)); err == nil && os.SameFile(of, st) {
				return fmt.Errorf("LUN %s is the file of %s: %w", name, dir, array.ErrShared)
			}
		}
	}
	return nil
}

// backing is the file that the kernel names in what it tells of a backing store.
func backing(info string) string {
	_, file, _ := strings.Cut(info, "File: ")
	file, _, _ = strings.Cut(file, "  Size: ")
	return file
}

// back makes the backing store of a LUN. Its serial is that of the LUN, so that a
// guest finds the same disk in each epoch.
func (a *Array) back(name string) error {
	if err := array.CheckFile(a.cfg.Dir, name); err != nil {
		return err
	}
	dir := store + "/" + name
	if err := a.claimed(name); err != nil {
		return err
	}
	if on, err := a.tree.Read(dir + "/enable"); err == nil && on == "1" {
		return nil
	}
	if err := errors.Join(a.mkdir(store), a.mkdir(dir)); err != nil {
		return err
	}
	size, err := array.FileSize(a.cfg.Dir, name)
	if err != nil {
		return err
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(a.cfg.Name + "/" + name))
	if err := a.tree.Write(dir+"/control", fmt.Sprintf("fd_dev_name=%s,fd_dev_size=%d", array.FilePath(a.cfg.Dir, name), size)); err != nil {
		return err
	}
	if err := a.tree.Write(dir+"/wwn/vpd_unit_serial", fmt.Sprintf("%016x", h.Sum64())); err != nil {
		return err
	}
	return a.tree.Write(dir+"/enable", "1")
}

func (a *Array) build(m array.Map, target, group string) error {
	// The kernel has its iSCSI target loaded when somebody asks for the directory.
	if err := errors.Join(a.mkdir("iscsi"), a.mkdir(target), a.mkdir(group)); err != nil {
		return err
	}
	on, err := a.tree.Read(group + "/enable")
	if err != nil {
		return err
	}
	// authentication asks for CHAP; generate_node_acls would let in anyone.
	for _, set := range []struct{ attribute, value string }{{"authentication", "1"}, {"generate_node_acls", "0"}} {
		if err := a.tree.Write(group+"/attrib/"+set.attribute, set.value); err != nil {
			return err
		}
	}
	acl := group + "/acls/" + m.Initiator
	if err := a.mkdir(acl); err != nil {
		return err
	}
	if err := errors.Join(a.tree.Write(acl+"/auth/userid", m.User), a.tree.Write(acl+"/auth/password", m.Secret)); err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(m.Units)) {
		unit := "/lun_" + strconv.Itoa(n)
		if err := errors.Join(
			a.mkdir(group+"/lun"+unit), a.link(store+"/"+m.Units[n], group+"/lun"+unit+"/"+m.Units[n]),
			a.mkdir(acl+unit), a.link(group+"/lun"+unit, acl+unit+"/unit"),
		); err != nil {
			return err
		}
	}
	for _, portal := range append([]string{a.cfg.Portal}, a.cfg.MorePortals...) {
		if err := a.mkdir(group + "/np/" + portal); err != nil {
			return err
		}
	}
	if on == "1" {
		return nil
	}
	return a.tree.Write(group+"/enable", "1")
}

func (a *Array) link(target, path string) error {
	if err := a.tree.Symlink(target, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Unmap implements array.Array. The mapped units go first, which refuses commands
// at once; the removal of the initiator's directory ends its sessions and waits for
// them.
func (a *Array) Unmap(ctx context.Context, r array.Ref) error {
	return a.do(ctx, func() error { return a.shut(r) })
}

func (a *Array) shut(r array.Ref) error {
	_, group, err := a.group(r)
	if err != nil {
		return err
	}
	if err := a.shutGroup(group); err != nil {
		return fmt.Errorf("%s epoch %d: %w", r.Server, r.Epoch, err)
	}
	return nil
}

// shutGroup takes the initiators of a portal group away.
func (a *Array) shutGroup(group string) error {
	acls, err := a.list(group + "/acls")
	if err != nil {
		return fmt.Errorf("unmap: %w", err)
	}
	for _, i := range acls {
		acl := group + "/acls/" + i
		entries, err := a.list(acl)
		if err != nil {
			return fmt.Errorf("unmap %s: %w", i, err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e, "lun_") {
				continue
			}
			if err := errors.Join(gone(a.tree.Unlink(acl+"/"+e+"/unit")), gone(a.tree.Rmdir(acl+"/"+e))); err != nil {
				return fmt.Errorf("unmap %s of %s: %w", e, i, err)
			}
		}
		if err := gone(a.tree.Rmdir(acl)); err != nil {
			return fmt.Errorf("unmap %s: %w", i, err)
		}
	}
	return nil
}

// noSession is how the kernel says that an initiator is not logged in.
const noSession = "No active iSCSI Session"

// Sessions implements array.Array. The kernel shows one session for an initiator,
// however many it has; none is shown only if there is none.
func (a *Array) Sessions(ctx context.Context, r array.Ref) ([]array.Session, error) {
	return ask(ctx, a, func() ([]array.Session, error) { return a.sessions(r) })
}

func (a *Array) sessions(r array.Ref) ([]array.Session, error) {
	_, group, err := a.group(r)
	if err != nil {
		return nil, err
	}
	acls, err := a.list(group + "/acls")
	if err != nil {
		return nil, fmt.Errorf("sessions of %s epoch %d: %w", r.Server, r.Epoch, err)
	}
	var out []array.Session
	for _, i := range acls {
		info, err := a.tree.Read(group + "/acls/" + i + "/info")
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it went meanwhile
		case err != nil:
			return nil, fmt.Errorf("sessions of %s: %w", i, err)
		case !strings.HasPrefix(info, noSession):
			out = append(out, array.Session{Ref: r, ID: i, Initiator: i})
		}
	}
	dynamic, err := a.tree.Read(group + "/dynamic_sessions")
	if gone(err) != nil {
		return nil, fmt.Errorf("sessions of %s epoch %d: %w", r.Server, r.Epoch, err)
	}
	for _, i := range strings.Fields(strings.ReplaceAll(dynamic, "\x00", " ")) {
		out = append(out, array.Session{Ref: r, ID: "dynamic " + i, Initiator: i})
	}
	return out, nil
}

// Kill implements array.Array. The kernel ends no single session; it ends all of a
// portal group that is disabled, which here are all of one epoch. One that is still
// mapped is enabled again.
func (a *Array) Kill(ctx context.Context, s array.Session) error {
	return a.do(ctx, func() error { return a.end(s) })
}

func (a *Array) end(s array.Session) error {
	_, group, err := a.group(s.Ref)
	if err != nil {
		return err
	}
	live, err := a.tree.Read(group + "/enable")
	if err != nil || live != "1" {
		return gone(err)
	}
	if err := a.tree.Write(group+"/enable", "0"); err != nil {
		return fmt.Errorf("kill sessions of %s: %w", s.Initiator, err)
	}
	if acls, err := a.list(group + "/acls"); err != nil || len(acls) == 0 {
		return err
	}
	return a.tree.Write(group+"/enable", "1")
}

// Close implements array.Array. The kernel refuses to remove a group that has an
// initiator's directory, which in turn stays while it has sessions.
func (a *Array) Close(ctx context.Context, r array.Ref) error {
	return a.do(ctx, func() error { return a.remove(r) })
}

func (a *Array) remove(r array.Ref) error {
	target, group, err := a.group(r)
	if err != nil {
		return err
	}
	acls, err := a.list(group + "/acls")
	if err != nil {
		return fmt.Errorf("close %s epoch %d: %w", r.Server, r.Epoch, err)
	}
	if len(acls) > 0 {
		return fmt.Errorf("close %s epoch %d: %v: %w", r.Server, r.Epoch, acls, array.ErrBusy)
	}
	if err := a.removeGroup(target, group); err != nil {
		return fmt.Errorf("close %s epoch %d: %w", r.Server, r.Epoch, err)
	}
	return nil
}

// removeGroup removes a target whose initiators are gone.
func (a *Array) removeGroup(target, group string) error {
	if err := gone(a.tree.Write(group+"/enable", "0")); err != nil {
		return err
	}
	if err := a.clear(group); err != nil {
		return err
	}
	return errors.Join(gone(a.tree.Rmdir(group)), gone(a.tree.Rmdir(target)))
}

// clear removes units and portals of a group.
func (a *Array) clear(group string) error {
	units, err := a.list(group + "/lun")
	if err != nil {
		return err
	}
	for _, u := range units {
		dir := group + "/lun/" + u
		if err := a.unlink(dir); err != nil {
			return err
		}
		if err := gone(a.tree.Rmdir(dir)); err != nil {
			return err
		}
	}
	portals, err := a.list(group + "/np")
	if err != nil {
		return err
	}
	for _, p := range portals {
		if err := gone(a.tree.Rmdir(group + "/np/" + p)); err != nil {
			return err
		}
	}
	return nil
}
