package onprem

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"relight/internal/beat"
	"relight/internal/enrol"
	"relight/internal/provider/onprem/link"
)

const (
	// waitMost is the longest that a request for work is held open.
	waitMost = 25 * time.Second
	// pulse is the time between two newlines on a held request: an agent that sees
	// none for longer knows that the connection is dead.
	pulse = time.Second
	// writeWithin bounds each write to an agent.
	writeWithin = 2 * time.Second
	// refreshPause keeps strangers with old certificates from making the hub read
	// the registry all the time.
	refreshPause = time.Second
)

// errRevoked is also met by a host whose disk was set back to before a renewal.
var errRevoked = errors.New("this host is not enrolled, or not any more with this certificate; to enrol it anew: relight host token HOST, remove identity.json in its agent's --dir, start the agent with --token-file")

// Handler serves the agents' endpoints. The server that mounts it uses
// enrol.Authority.ServerTLS, which verifies certificates but demands none; this
// handler does.
func (h *Hub) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+link.PathJoin, h.serveJoin)
	mux.HandleFunc("POST "+link.PathRenew, h.known(h.serveRenew))
	mux.HandleFunc("POST "+link.PathWork, h.known(h.serveWork))
	mux.HandleFunc("POST "+link.PathReport, h.known(h.serveReport))
	mux.HandleFunc("POST "+link.PathResult, h.known(h.serveResult))
	mux.HandleFunc("POST "+link.PathBeat, h.known(h.serveBeats))
	return mux
}

// refuse answers with a problem in the form of RFC 9457.
func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "title": http.StatusText(status), "detail": link.Cut(err.Error())})
}

func reply(w http.ResponseWriter, m any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(m)
}

// serveJoin enrols a host by its token.
func (h *Hub) serveJoin(w http.ResponseWriter, r *http.Request) {
	var req link.JoinRequest
	if err := link.Decode(r.Body, link.MaxJoin, &req); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	granted, err := h.opt.Authority.Enrol(r.Context(), h.opt.Vault, req.Token, req.Host, req.CSR)
	if err == nil {
		// The record comes before the answer: an agent must never hold a
		// certificate that the next controller has not heard of.
		err = h.opt.Registry.SaveHost(r.Context(), granted.Host)
	}
	if err == nil {
		err = h.Refresh(r.Context())
	}
	if err != nil {
		status := http.StatusInternalServerError
		for _, mine := range []error{
			enrol.ErrToken, enrol.ErrTokenUsed, enrol.ErrTokenExpired, enrol.ErrTokenHost,
			enrol.ErrHostName, enrol.ErrRequest,
		} {
			if errors.Is(err, mine) {
				status = http.StatusForbidden
			}
		}
		h.opt.Log.Warn("host could not join", "host", link.Cut(req.Host), "from", r.RemoteAddr, "error", err)
		refuse(w, status, err)
		return
	}
	h.opt.Log.Info("host joined", "host", req.Host, "from", r.RemoteAddr)
	if h.opt.Joined != nil {
		h.opt.Joined(req.Host)
	}
	reply(w, link.JoinReply{
		V: link.Version, Cert: granted.Cert, Authority: h.opt.Authority.Cert(),
		Agent: granted.Host.Agent, BeatKey: granted.Host.BeatKey, BeatAddr: h.opt.BeatAddr,
	})
}

// known passes on only requests of enrolled hosts, with the name from their
// certificate.
func (h *Hub) known(serve func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			refuse(w, http.StatusForbidden, enrol.ErrIdentity)
			return
		}
		name, serial, err := enrol.Identify(r.TLS.VerifiedChains)
		if err != nil {
			refuse(w, http.StatusForbidden, err)
			return
		}
		if !h.enrolled(name, serial) && !h.enrolledNow(r, name, serial) {
			refuse(w, http.StatusForbidden, errRevoked)
			return
		}
		h.took(r.Context(), name, serial)
		serve(w, r, name)
	}
}

func (h *Hub) enrolled(name, serial string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.hosts[name]
	if x == nil {
		return false
	}
	holds, _ := x.record.Holds(serial)
	return holds
}

// enrolledNow asks the registry: the host may have joined through another controller.
func (h *Hub) enrolledNow(r *http.Request, name, serial string) bool {
	h.mu.Lock()
	due := h.opt.Now().Sub(h.refreshed) > refreshPause
	h.mu.Unlock()
	if !due {
		return false
	}
	if err := h.Refresh(r.Context()); err != nil {
		h.opt.Log.Warn("hosts' records could not be read", "error", err)
		return false
	}
	return h.enrolled(name, serial)
}

// serveWork holds the request until there is something to do.
func (h *Hub) serveWork(w http.ResponseWriter, r *http.Request, name string) {
	var req link.Work
	if err := link.Decode(r.Body, link.MaxBody, &req); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	rc := http.NewResponseController(w)
	within := func() { _ = rc.SetWriteDeadline(time.Now().Add(writeWithin)) }
	within()
	// Unlike the other handlers this one outlives any WriteTimeout of its server.
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }()
	w.Header().Set("Content-Type", "application/json")
	mine := h.beginPoll(name)
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	end := time.NewTimer(waitMost)
	defer end.Stop()
	for {
		out, bell, more := h.gather(name, mine, &req)
		if !more {
			within()
			reply(w, out)
			return
		}
		select {
		case <-bell:
		case <-tick.C:
			within()
			if _, err := w.Write([]byte("\n")); err != nil {
				return
			}
			if err := rc.Flush(); err != nil {
				return
			}
		case <-end.C:
			within()
			reply(w, out)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// beginPoll numbers a poll and sends the host's earlier one away.
func (h *Hub) beginPoll(name string) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.hosts[name]
	if x == nil {
		return 0
	}
	h.heard(x)
	x.poll++
	x.ring()
	return x.poll
}

// gather returns what is to be done now, or the bell that rings when there may be
// something (more is true then).
func (h *Hub) gather(name string, mine uint64, req *link.Work) (out link.WorkReply, bell <-chan struct{}, more bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out = link.WorkReply{V: link.Version, Term: h.term}
	x := h.hosts[name]
	if x == nil || x.poll != mine {
		return out, nil, false
	}
	out.Commands = x.hand(req.Knows, h.opt.Now())
	if watch := h.watchOf(x); watch.Version != req.Watch || watch.Controller != req.Controller {
		out.Watch = watch
	}
	if x.look > x.looked {
		out.Look = x.look
	}
	if len(out.Commands) == 0 && out.Watch == nil && (out.Look == 0 || out.Look == req.Look) {
		out.Look = 0
		return out, x.bell, true
	}
	return out, nil, false
}

// heard notes a sign of life over HTTPS; mu is held.
func (h *Hub) heard(x *host) {
	if x.hear(h.opt.Now(), h.opt.Contact) {
		h.wake("")
	}
}

func (h *Hub) serveReport(w http.ResponseWriter, r *http.Request, name string) {
	var req link.Report
	if err := link.Decode(r.Body, link.MaxBody, &req); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	h.take(name, &req, remoteIP(r))
	w.WriteHeader(http.StatusNoContent)
}

func (h *Hub) serveResult(w http.ResponseWriter, r *http.Request, name string) {
	var req link.Result
	if err := link.Decode(r.Body, link.MaxBody, &req); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	// The report first: whoever gets the result looks at once.
	if req.Report != nil {
		h.take(name, req.Report, remoteIP(r))
	}
	h.mu.Lock()
	if x := h.hosts[name]; x != nil {
		h.heard(x)
		if step, waited := x.finish(&req, h.opt.Now()); waited && req.Class == "" {
			h.effects[step.Server] = effect{host: name, at: h.opt.Now()}
		}
	}
	h.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// serveBeats takes the beats of a host whose datagrams do not come through. They
// meet the same table, so that counters, leases and refusals are the same.
func (h *Hub) serveBeats(w http.ResponseWriter, r *http.Request, name string) {
	var req link.Beats
	if err := link.Decode(r.Body, link.MaxBody, &req); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	h.mu.Lock()
	var agent beat.AgentID
	if x := h.hosts[name]; x != nil {
		agent = x.record.Agent
	}
	h.mu.Unlock()
	acks := link.Beats{V: link.Version}
	for _, d := range req.Datagrams {
		// A certificate opens the door for its own host's beats alone (S13).
		if id, err := beat.Speaker(d); err != nil || id != agent {
			continue
		}
		if ack, err := h.beats.Handle(h.opt.Clock(), nil, d); err == nil {
			acks.Datagrams = append(acks.Datagrams, ack)
		}
	}
	if len(acks.Datagrams) > 0 {
		h.mu.Lock()
		if x := h.hosts[name]; x != nil {
			x.detoured = h.opt.Now()
		}
		h.mu.Unlock()
	}
	reply(w, acks)
}

func remoteIP(r *http.Request) string {
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	return ip
}
