package ontap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"relight/internal/array"
	"relight/internal/core/fence"
)

// Config says which array and which part of it.
type Config struct {
	Name string
	// Prefix is that of all initiators' IQNs.
	Prefix string
	// URL is that of the management interface, such as https://cluster-1.
	URL, User, Password string
	// SVM is the storage virtual machine, Volume the one that holds the LUNs.
	SVM, Volume string
	// Portal is address:port of one of its interfaces.
	Portal string
}

// Array is an array.Array.
type Array struct {
	cfg    Config
	client *http.Client
	mu     sync.Mutex
}

// New makes the driver; it touches nothing yet. The client says whom it trusts.
func New(cfg Config, client *http.Client) *Array { return &Array{cfg: cfg, client: client} }

// Paths of the API.
const (
	pathLUNs        = "/api/storage/luns"
	pathVolumes     = "/api/storage/volumes"
	pathGroups      = "/api/protocols/san/igroups"
	pathMaps        = "/api/protocols/san/lun-maps"
	pathCredentials = "/api/protocols/san/iscsi/credentials"
	pathSessions    = "/api/protocols/san/iscsi/sessions"
	pathServices    = "/api/protocols/san/iscsi/services"
	pathShutdown    = "/api/private/cli/vserver/iscsi/session/shutdown"
)

// Name implements array.Array.
func (a *Array) Name() string { return a.cfg.Name }

func (a *Array) svm() *named { return &named{Name: a.cfg.SVM} }

func (a *Array) query(pairs ...string) url.Values {
	q := url.Values{"svm.name": {a.cfg.SVM}}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

// without drops errors by ONTAP's code: what was to be removed is not there.
func without(err error, codes ...string) error {
	var e *apiError
	if errors.As(err, &e) && slices.Contains(codes, e.code) {
		return nil
	}
	return err
}

func (a *Array) lunPath(name string) string { return "/vol/" + a.cfg.Volume + "/" + name }

func (a *Array) lun(ctx context.Context, name string) (*lun, error) {
	found, err := all[lun](ctx, a, pathLUNs, a.query("name", a.lunPath(name), "fields", "space.size,enabled,status.state,comment"))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Create implements array.Array. Space is asked for with a guarantee, and the room
// is looked up first: the error of a full volume has no code of its own.
func (a *Array) Create(ctx context.Context, l array.LUN) error {
	if err := array.CheckLUN(l); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	wrap := func(err error) error { return fmt.Errorf("LUN %s of %d bytes: %w", l.Name, l.Bytes, err) }
	old, err := a.lun(ctx, l.Name)
	if err != nil {
		return wrap(err)
	}
	if old == nil {
		if err := a.create(ctx, l); err != nil {
			return wrap(err)
		}
		// The request may be answered before it is done; what counts is what is there.
		if old, err = a.lun(ctx, l.Name); err != nil {
			return wrap(err)
		}
		if old == nil {
			return wrap(errors.New("it is asked for and not there yet"))
		}
	}
	if old.Space.Size != l.Bytes {
		return wrap(fmt.Errorf("it has %d: %w", old.Space.Size, array.ErrConflict))
	}
	return nil
}

// LUN implements array.Array.
func (a *Array) LUN(ctx context.Context, name string) (array.LUN, error) {
	l, err := a.lun(ctx, name)
	if err == nil && l == nil {
		err = array.ErrNotFound
	}
	if err != nil {
		return array.LUN{}, fmt.Errorf("LUN %s: %w", name, err)
	}
	return array.LUN{Name: name, Bytes: l.Space.Size}, nil
}

func (a *Array) create(ctx context.Context, l array.LUN) error {
	if err := a.room(ctx, l.Bytes); err != nil {
		return err
	}
	return a.call(ctx, http.MethodPost, pathLUNs, nil, lun{
		named: named{Name: a.lunPath(l.Name)}, SVM: a.svm(), OSType: "linux", Space: space{Size: l.Bytes, Guarantee: &guarantee{Requested: true}},
	}, nil)
}

// room refuses what the volume has no room for.
func (a *Array) room(ctx context.Context, bytes int64) error {
	room, err := a.Room(ctx)
	if err == nil && room < bytes {
		err = fmt.Errorf("volume %s has %d bytes left, %d are needed: %w", a.cfg.Volume, room, bytes, array.ErrFull)
	}
	return err
}

// Room implements array.Roomer.
func (a *Array) Room(ctx context.Context) (int64, error) {
	volumes, err := all[volume](ctx, a, pathVolumes, a.query("name", a.cfg.Volume, "fields", "space.available"))
	if err != nil {
		return 0, err
	}
	if len(volumes) == 0 {
		return 0, fmt.Errorf("volume %s: %w", a.cfg.Volume, array.ErrNotFound)
	}
	return volumes[0].Space.Available, nil
}

// groupPrefix marks the initiator groups that are ours. The rest of the name is as
// in an IQN, with the same rules.
const groupPrefix = "relight-"

func (a *Array) groupName(r array.Ref) (string, error) {
	iqn, err := array.IQN("iqn", r)
	return groupPrefix + strings.TrimPrefix(iqn, "iqn:"), err
}

func parseGroup(name string) (array.Ref, bool) {
	rest, ours := strings.CutPrefix(name, groupPrefix)
	r, ok := array.ParseIQN("iqn", "iqn:"+rest)
	return r, ours && ok
}

func (a *Array) group(ctx context.Context, r array.Ref) (*igroup, error) {
	name, err := a.groupName(r)
	if err != nil {
		return nil, err
	}
	found, err := all[igroup](ctx, a, pathGroups, a.query("name", name, "fields", "initiators.name,comment"))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Maps implements array.Array.
func (a *Array) Maps(ctx context.Context, server string) ([]array.Mapped, error) {
	found, err := a.AllMaps(ctx)
	if err != nil {
		return nil, fmt.Errorf("maps of %s: %w", server, err)
	}
	return slices.DeleteFunc(found, func(m array.Mapped) bool { return m.Server != server }), nil
}

// AllMaps implements array.Lister.
func (a *Array) AllMaps(ctx context.Context) ([]array.Mapped, error) {
	found, err := all[igroup](ctx, a, pathGroups, a.query("name", groupPrefix+"*", "fields", "initiators.name,comment"))
	if err != nil {
		return nil, err
	}
	var out []array.Mapped
	for _, g := range found {
		if r, ok := parseGroup(g.Name); ok {
			m := array.Mapped{Ref: r}
			for _, i := range g.Initiators {
				m.Initiators = append(m.Initiators, i.Name)
			}
			if len(g.Initiators) == 0 {
				if m.Offline, err = a.dark(ctx, &g, r); err != nil {
					return nil, err
				}
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// RemoveBy implements array.Remover. Without -force a group that maps LUNs stays: its
// maps are deleted first, each by name.
func (a *Array) RemoveBy(r array.Ref) string {
	name, err := a.groupName(r)
	if err != nil {
		return "lun igroup show -vserver " + a.cfg.SVM
	}
	return fmt.Sprintf("lun mapping show -vserver %s -igroup %s; lun mapping delete; lun igroup delete -vserver %s -igroup %s", a.cfg.SVM, name, a.cfg.SVM, name)
}

// Map implements array.Array.
func (a *Array) Map(ctx context.Context, m array.Map, proof fence.Proof) (array.Target, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen, err := a.Maps(ctx, m.Server)
	if err != nil {
		return array.Target{}, err
	}
	if err := array.Check(m, proof, seen); err != nil {
		return array.Target{}, err
	}
	if err := a.unique(ctx, m); err != nil {
		return array.Target{}, err
	}
	target, err := a.service(ctx)
	if err == nil {
		err = a.build(ctx, m, target.SVM.UUID)
	}
	if err != nil {
		return array.Target{}, fmt.Errorf("map of %s epoch %d: %w", m.Server, m.Epoch, err)
	}
	return array.Target{Portal: a.cfg.Portal, IQN: target.Target.Name}, nil
}

// Locate implements array.Locator: all epochs log in to the same target.
func (a *Array) Locate(ctx context.Context, _ array.Ref) (array.Target, error) {
	target, err := a.service(ctx)
	return array.Target{Portal: a.cfg.Portal, IQN: target.Target.Name}, err
}

// unique refuses an initiator that another group has, and any other name than the
// epoch's own: sessions are found by it after the group is gone.
func (a *Array) unique(ctx context.Context, m array.Map) error {
	mine, err := a.groupName(m.Ref)
	if err != nil {
		return err
	}
	others, err := all[igroup](ctx, a, pathGroups, a.query("initiators.name", m.Initiator))
	if err != nil {
		return err
	}
	for _, g := range others {
		if g.Name != mine {
			return fmt.Errorf("%s in %s: %w", m.Initiator, g.Name, array.ErrDuplicate)
		}
	}
	if own, err := array.IQN(a.cfg.Prefix, m.Ref); err != nil || own != m.Initiator {
		return fmt.Errorf("initiator %s instead of %s: %w", m.Initiator, own, array.ErrInvalid)
	}
	return nil
}

// service reads the target's name, and sees to it that strangers are denied.
func (a *Array) service(ctx context.Context) (service, error) {
	found, err := all[service](ctx, a, pathServices, a.query("fields", "target.name"))
	if err != nil {
		return service{}, err
	}
	if len(found) != 1 || found[0].Target.Name == "" || found[0].SVM.UUID == "" {
		return service{}, fmt.Errorf("iSCSI service of %s: %w", a.cfg.SVM, array.ErrNotFound)
	}
	fallback, err := all[credential](ctx, a, pathCredentials, a.query("initiator", "default", "fields", "authentication_type"))
	if err != nil {
		return service{}, err
	}
	if len(fallback) != 1 || fallback[0].Type != "deny" {
		return service{}, fmt.Errorf("the default iSCSI credential of %s does not deny: %w", a.cfg.SVM, array.ErrInvalid)
	}
	return found[0], nil
}

func (a *Array) build(ctx context.Context, m array.Map, svm string) error {
	luns, dark := map[int]string{}, map[int]*lun{}
	for _, n := range slices.Sorted(maps.Keys(m.Units)) {
		l, err := a.lun(ctx, m.Units[n])
		if err != nil {
			return err
		}
		if l == nil {
			return fmt.Errorf("LUN %s: %w", m.Units[n], array.ErrNotFound)
		}
		luns[n] = l.UUID
		if !l.Enabled {
			dark[n] = l
		}
	}
	name, err := a.groupName(m.Ref)
	if err != nil {
		return err
	}
	if err := a.alone(ctx, luns, name); err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(dark)) {
		if err := a.online(ctx, dark[n]); err != nil {
			return fmt.Errorf("LUN %s on line: %w", m.Units[n], err)
		}
	}
	if err := a.credential(ctx, m, svm); err != nil {
		return err
	}
	g, err := a.group(ctx, m.Ref)
	if err != nil {
		return err
	}
	if g == nil {
		err := a.call(ctx, http.MethodPost, pathGroups, nil, igroup{
			named: named{Name: name}, SVM: a.svm(), OSType: "linux", Protocol: "iscsi", Initiators: []named{{Name: m.Initiator}},
		}, nil)
		if err != nil {
			return err
		}
		if g, err = a.group(ctx, m.Ref); err != nil {
			return err
		}
		if g == nil {
			return errors.New("the initiator group is asked for and not there yet")
		}
	} else if len(g.Initiators) != 1 || g.Initiators[0].Name != m.Initiator {
		return fmt.Errorf("group %s has %v: %w", name, g.Initiators, array.ErrConflict)
	}
	return a.units(ctx, g, luns)
}

// alone refuses LUNs that are mapped to another group.
func (a *Array) alone(ctx context.Context, luns map[int]string, group string) error {
	for _, n := range slices.Sorted(maps.Keys(luns)) {
		have, err := all[lunMap](ctx, a, pathMaps, a.query("lun.uuid", luns[n], "fields", "igroup.name"))
		if err != nil {
			return err
		}
		for _, o := range have {
			if o.Igroup.Name != group {
				return fmt.Errorf("unit %d in group %s: %w", n, o.Igroup.Name, array.ErrShared)
			}
		}
	}
	return nil
}

// units makes the LUN maps that are missing.
func (a *Array) units(ctx context.Context, g *igroup, luns map[int]string) error {
	have, err := a.maps(ctx, g)
	if err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(luns)) {
		at := slices.IndexFunc(have, func(m lunMap) bool { return m.Number == n || m.LUN.UUID == luns[n] })
		if at >= 0 {
			if have[at].Number != n || have[at].LUN.UUID != luns[n] {
				return fmt.Errorf("unit %d of %s: %w", n, g.Name, array.ErrConflict)
			}
			continue
		}
		err := a.call(ctx, http.MethodPost, pathMaps, nil, lunMap{
			SVM: a.svm(), LUN: named{UUID: luns[n]}, Igroup: named{UUID: g.UUID}, Number: n,
		}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *Array) maps(ctx context.Context, g *igroup) ([]lunMap, error) {
	return all[lunMap](ctx, a, pathMaps, a.query("igroup.uuid", g.UUID, "fields", "logical_unit_number,lun.uuid"))
}

func credentialPath(svm, initiator string) string {
	return pathCredentials + "/" + svm + "/" + url.PathEscape(initiator)
}

func (a *Array) credential(ctx context.Context, m array.Map, svm string) error {
	have, err := all[credential](ctx, a, pathCredentials, a.query("initiator", m.Initiator, "fields", "authentication_type,chap"))
	if err != nil {
		return err
	}
	want := credential{Type: "chap", CHAP: &chap{Inbound: login{m.User, m.Secret}}}
	if len(have) > 0 { // passwords cannot be read, so it is set again
		return a.call(ctx, http.MethodPatch, credentialPath(svm, m.Initiator), nil, map[string]any{"authentication_type": "chap", "chap": want.CHAP}, nil)
	}
	want.SVM, want.Initiator = a.svm(), m.Initiator
	return a.call(ctx, http.MethodPost, pathCredentials, nil, want, nil)
}
