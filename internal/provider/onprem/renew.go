package onprem

import (
	"context"
	"errors"
	"net/http"

	"relight/internal/enrol"
	"relight/internal/provider/onprem/link"
)

// serveRenew signs a new certificate for a host that has shown its present one.
func (h *Hub) serveRenew(w http.ResponseWriter, r *http.Request, name string) {
	var req link.RenewRequest
	if err := link.Decode(r.Body, link.MaxJoin, &req); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	_, serial, err := enrol.Identify(r.TLS.VerifiedChains)
	if err != nil {
		refuse(w, http.StatusForbidden, err)
		return
	}
	var cert []byte
	// The record comes before the answer, as at a join.
	err = h.opt.Registry.ChangeHost(r.Context(), name, func(rec enrol.Host) (enrol.Host, error) {
		if rec.Serial != serial {
			return rec, errRevoked // since it was let in
		}
		var after enrol.Host
		var err error
		after, cert, err = h.opt.Authority.Renew(rec, req.CSR)
		return after, err
	})
	if err == nil {
		err = h.Refresh(r.Context())
	}
	if err != nil {
		status := http.StatusInternalServerError
		for _, mine := range []error{errRevoked, enrol.ErrRequest, enrol.ErrEarly, enrol.ErrAbsent} {
			if errors.Is(err, mine) {
				status = http.StatusForbidden
			}
		}
		h.opt.Log.Warn("host's certificate was not renewed", "host", name, "error", err)
		refuse(w, status, err)
		return
	}
	reply(w, link.RenewReply{V: link.Version, Cert: cert})
}

// took ends the earlier certificate of a host that uses its renewed one. If that
// cannot be written the host is served all the same, and the next request tries again.
func (h *Hub) took(ctx context.Context, name, serial string) {
	h.mu.Lock()
	x := h.hosts[name]
	fresh := false
	if x != nil {
		_, fresh = x.record.Holds(serial)
	}
	h.mu.Unlock()
	if !fresh {
		return
	}
	err := h.opt.Registry.ChangeHost(ctx, name, func(rec enrol.Host) (enrol.Host, error) { return rec.Took(serial), nil })
	if err == nil {
		err = h.Refresh(ctx)
	}
	if err != nil {
		h.opt.Log.Warn("host's earlier certificate is not refused yet", "host", name, "error", err)
		return
	}
	h.opt.Log.Info("host uses its renewed certificate", "host", name)
}
