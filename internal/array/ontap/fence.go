package ontap

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"relight/internal/array"
)

// Unmap implements array.Array. LUN maps go first, which refuses commands of live
// sessions; then the initiator and its credential, which refuses logins.
func (a *Array) Unmap(ctx context.Context, r array.Ref) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	wrap := func(err error) error { return fmt.Errorf("unmap %s epoch %d: %w", r.Server, r.Epoch, err) }
	iqn, err := array.IQN(a.cfg.Prefix, r)
	if err != nil {
		return wrap(err)
	}
	g, err := a.group(ctx, r)
	if err != nil {
		return wrap(err)
	}
	if g != nil {
		if err := a.empty(ctx, g); err != nil {
			return wrap(err)
		}
	}
	target, err := a.service(ctx)
	if err != nil {
		return wrap(err)
	}
	err = a.call(ctx, http.MethodDelete, credentialPath(target.SVM.UUID, iqn), nil, nil, nil)
	if err := without(err, codeNoCredential, codeNotFound); err != nil {
		return wrap(err)
	}
	return nil
}

func (a *Array) empty(ctx context.Context, g *igroup) error {
	have, err := a.maps(ctx, g)
	if err != nil {
		return err
	}
	for _, m := range have {
		err := a.call(ctx, http.MethodDelete, pathMaps+"/"+m.LUN.UUID+"/"+g.UUID, nil, nil, nil)
		if err := without(err, codeNoMap, codeNotFound); err != nil {
			return err
		}
	}
	for _, i := range g.Initiators {
		err := a.call(ctx, http.MethodDelete, pathGroups+"/"+g.UUID+"/initiators/"+url.PathEscape(i.Name), nil, nil, nil)
		if err := without(err, codeNotMember, codeNoGroup, codeNotFound); err != nil {
			return err
		}
	}
	return nil
}

// Sessions implements array.Array.
func (a *Array) Sessions(ctx context.Context, r array.Ref) ([]array.Session, error) {
	iqn, err := array.IQN(a.cfg.Prefix, r)
	if err != nil {
		return nil, err
	}
	found, err := all[session](ctx, a, pathSessions, a.query("initiator.name", iqn, "fields", "initiator.name,isid,target_portal_group,tsih"))
	if err != nil {
		return nil, fmt.Errorf("sessions of %s: %w", iqn, err)
	}
	var out []array.Session
	for _, s := range found {
		if !strings.EqualFold(s.Initiator.Name, iqn) {
			return nil, fmt.Errorf("sessions of %s: the list has %s, so its filter cannot be trusted", iqn, s.Initiator.Name)
		}
		out = append(out, array.Session{Ref: r, ID: s.Group + "/" + strconv.Itoa(s.TSIH), Initiator: iqn})
	}
	return out, nil
}

// Kill implements array.Array. The handles of sessions are used again, so that the
// session is looked up by its initiator first.
func (a *Array) Kill(ctx context.Context, s array.Session) error {
	live, err := a.Sessions(ctx, s.Ref)
	if err != nil {
		return err
	}
	for _, o := range live {
		if o.ID != s.ID {
			continue
		}
		group, handle, _ := strings.Cut(o.ID, "/")
		n, err := strconv.Atoi(handle)
		if err != nil {
			return fmt.Errorf("kill session %s: %w", o.ID, array.ErrInvalid)
		}
		err = a.call(ctx, http.MethodPost, pathShutdown, nil, shutdown{a.cfg.SVM, group, n}, nil)
		if err := without(err, codeNotFound); err != nil {
			return fmt.Errorf("kill session %s of %s: %w", o.ID, o.Initiator, err)
		}
	}
	return nil
}

// Close implements array.Array. A login that ends after it makes a session without
// any unit, since maps are looked up with each command.
func (a *Array) Close(ctx context.Context, r array.Ref) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	live, err := a.Sessions(ctx, r)
	if err != nil {
		return err
	}
	g, err := a.group(ctx, r)
	if err != nil {
		return fmt.Errorf("close %s epoch %d: %w", r.Server, r.Epoch, err)
	}
	if len(live) > 0 {
		return fmt.Errorf("close %s epoch %d: %d: %w", r.Server, r.Epoch, len(live), array.ErrBusy)
	}
	if g == nil {
		return nil
	}
	// Without allow_delete_while_mapped: the array refuses a group with LUNs.
	err = a.call(ctx, http.MethodDelete, pathGroups+"/"+g.UUID, nil, nil, nil)
	if without(err, codeMapped) == nil && err != nil {
		return fmt.Errorf("close %s: %w: %w", g.Name, array.ErrBusy, err)
	}
	if err := without(err, codeNoGroup, codeNotFound); err != nil {
		return fmt.Errorf("close %s: %w", g.Name, err)
	}
	return nil
}
