package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/enrol"
)

// Errors of the door.
var (
	// ErrClosed: no controller serves guests here.
	ErrClosed = errors.New("this controller serves no guest agents")
	// ErrNowhere: a guest could not reach the controller by what it calls itself.
	ErrNowhere = errors.New("guests cannot reach this controller by its address; next: start it with --advertise")
	// ErrOver refuses a guest whose epoch is over.
	ErrOver = errors.New("this epoch is over")
	// errRecord: a format could not be recorded now.
	errRecord = errors.New("cannot record the format of volume")
	// errDisks: where an epoch's LUNs are cannot be told now.
	errDisks = errors.New("the LUNs are not there yet")
	// ErrUnknown refuses a guest of a server that does not exist.
	ErrUnknown = errors.New("there is no such server")
)

// Options are what a Door needs. All are required but Disks, Formatted and Log.
type Options struct {
	Guests *enrol.Guests
	// URL is the controller's base URL, as guests reach it.
	URL string
	// Epoch returns the newest epoch of a server, or false if there is no such server.
	Epoch func(server string) (fleet.Epoch, bool)
	Now   func() time.Time
	// Disks tells where an epoch's LUNs are and as whom to log in, once their arrays let it
	// in, and not before. Nil means that no server has any.
	Disks func(ctx context.Context, server string, epoch fleet.Epoch) ([]Disk, error)
	// Formatted records that a guest made a file system, once however often it is told,
	// and returns when that is durable. Nil means that nobody records it.
	Formatted func(ctx context.Context, server string, f fleet.Formatted) error
	Log       *slog.Logger
}

// Door is where guest agents join and report. It is made closed, so that a provider
// can be given it before the controller that opens it. It is safe for concurrent use.
type Door struct {
	wakes chan string

	mu    sync.Mutex
	opt   *Options
	words map[string]Word
	// over has the boot that was ended last, by server.
	over map[string]boot
}

// boot is one boot of an epoch's instance.
type boot struct {
	epoch fleet.Epoch
	id    string
}

// Word is what a server's guest agent says.
type Word struct {
	Epoch fleet.Epoch
	// Instance is the machine that says it; empty if its agent is older than to tell it.
	Instance string
	// At is when it was said, Since from when on the answer is the same.
	At, Since time.Time
	Works     fleet.Answer
	Detail    string
	Mounts    []Mount
	// Boot is the guest's; Over is set if that boot was ended since: then what it says is
	// of before.
	Boot string
	Over bool
}

// New returns a door that is closed.
func New() *Door {
	return &Door{wakes: make(chan string, 1024), words: map[string]Word{}, over: map[string]boot{}}
}

// Open opens the door.
func (d *Door) Open(o Options) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opt = &o
}

func (d *Door) options() (Options, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opt == nil {
		return Options{}, ErrClosed
	}
	return *d.opt, nil
}

// Wakes names servers whose guest says something new.
func (d *Door) Wakes() <-chan string { return d.wakes }

// UserData is what the instance of an epoch is launched with. The same server and
// epoch give the same, to the last byte, for as long as the spec is the same (S7).
// Errors: ErrClosed, ErrNowhere.
func (d *Door) UserData(s fleet.Server, epoch fleet.Epoch) ([]byte, error) {
	o, err := d.options()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Hostname() == "" || u.Hostname() == "::" || u.Hostname() == "0.0.0.0" {
		return nil, fmt.Errorf("%w (it is %s)", ErrNowhere, o.URL)
	}
	p := Plan{V: Version, Server: s.Name, Epoch: epoch, Controller: o.URL, Token: o.Guests.Token(s.Name, epoch).Text()}
	if c := s.Spec.Health.Check; !c.Beat {
		p.Check = c // a check by beats is the application's with a host agent, which is not here
	}
	for _, v := range s.Spec.Identity.Volumes {
		if v.Mount != nil {
			m := *v.Mount
			m.Fsck = v.Checked() // an image's agent may be older than what allows the force
			v.Mount = &m
			p.Volumes = append(p.Volumes, v)
		}
	}
	return Script(p)
}

// Told is the last word of a server's guest.
func (d *Door) Told(server string) (Word, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w, ok := d.words[server]
	w.Over = ok && w.Boot != "" && d.over[server] == boot{w.Epoch, w.Boot}
	return w, ok
}

// Rebooting notes that a server's instance is told to reboot: what its guest says of the
// boot until now tells nothing of what comes after (S14).
func (d *Door) Rebooting(server string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w, ok := d.words[server]; ok {
		d.over[server] = boot{w.Epoch, w.Boot}
	}
}

// Heard is when a server's guest was heard last, and as which epoch.
func (d *Door) Heard(server string) (at time.Time, epoch fleet.Epoch, ok bool) {
	w, ok := d.Told(server)
	return w.At, w.Epoch, ok
}

// Handler serves the endpoints. The server that mounts it uses
// enrol.Authority.ServerTLS, which verifies certificates but demands none.
func (d *Door) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+PathJoin, d.serveJoin)
	mux.HandleFunc("POST "+PathReport, d.serveReport)
	mux.HandleFunc("POST "+PathDisks, d.serveDisks)
	return mux
}

func (d *Door) serveJoin(w http.ResponseWriter, r *http.Request) {
	var req JoinRequest
	if err := Decode(r.Body, &req); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	o, err := d.options()
	var cert []byte
	if err == nil {
		cert, err = o.Guests.Enrol(r.Context(), req.Token, enrol.GuestName{Server: req.Server, Epoch: req.Epoch, Instance: req.Instance}, req.CSR)
	}
	if err == nil {
		// Only whoever has the token learns whether there is such a server.
		err = current(o, req.Server, req.Epoch)
	}
	if err != nil {
		if o.Log != nil {
			o.Log.Warn("guest could not join", "server", Cut(req.Server), "epoch", req.Epoch, "instance", Cut(req.Instance), "from", r.RemoteAddr, "err", err)
		}
		refuse(w, statusOf(err), err)
		return
	}
	o.Log.Info("guest joined", "server", req.Server, "epoch", req.Epoch, "instance", Cut(req.Instance), "from", r.RemoteAddr)
	reply(w, JoinReply{V: Version, Cert: cert, Authority: o.Guests.Authority()})
}

func statusOf(err error) int {
	if errors.Is(err, errRecord) || errors.Is(err, errDisks) {
		return http.StatusServiceUnavailable
	}
	for _, mine := range []error{enrol.ErrToken, enrol.ErrTokenUsed, enrol.ErrRequest, enrol.ErrIdentity, ErrUnknown} {
		if errors.Is(err, mine) {
			return http.StatusForbidden
		}
	}
	switch {
	case errors.Is(err, ErrOver):
		return http.StatusGone
	case errors.Is(err, ErrMalformed):
		return http.StatusBadRequest
	default:
		return http.StatusServiceUnavailable
	}
}

// current refuses epochs that are over. A later one than is known is no contradiction:
// its launch may be told to us after its guest has spoken.
func current(o Options, server string, epoch fleet.Epoch) error {
	now, known := o.Epoch(server)
	switch {
	case !known:
		return fmt.Errorf("%w as %s", ErrUnknown, server)
	case epoch < now:
		return fmt.Errorf("%w: this is epoch %d of %s, and epoch %d was begun", ErrOver, epoch, server, now)
	}
	return nil
}

// caller is whose guest a request comes from: never what its body says. Its error is
// ErrOver, with the guest's name, if the epoch is over.
func caller(o Options, r *http.Request) (who enrol.GuestName, err error) {
	if r.TLS == nil {
		return who, enrol.ErrIdentity
	}
	if who, err = enrol.IdentifyGuest(r.TLS.VerifiedChains); err != nil {
		return who, err
	}
	return who, current(o, who.Server, who.Epoch)
}

// serveDisks tells a guest where its LUNs are. An epoch that is over is told nothing: it
// was shut out, and so was its secret.
func (d *Door) serveDisks(w http.ResponseWriter, r *http.Request) {
	o, err := d.options()
	var (
		who   enrol.GuestName
		disks []Disk
	)
	if err == nil {
		who, err = caller(o, r)
	}
	if err == nil && o.Disks != nil {
		if disks, err = o.Disks(r.Context(), who.Server, who.Epoch); err != nil {
			err = fmt.Errorf("%w: %w", errDisks, err)
		}
	}
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	reply(w, Disks{V: Version, Disks: disks})
}

func (d *Door) serveReport(w http.ResponseWriter, r *http.Request) {
	o, err := d.options()
	var (
		who enrol.GuestName
		req Report
	)
	if err == nil {
		who, err = caller(o, r)
	}
	if bad := decodeReport(r.Body, &req); err == nil || errors.Is(err, ErrOver) {
		if err == nil {
			err = bad
		}
		if bad == nil {
			// An epoch that is over says nothing more of the server, but what it has formatted
			// it has formatted.
			err = errors.Join(err, record(r.Context(), o, who.Server, who.Epoch, req))
		}
	}
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	if d.take(who, req, o.Now()) {
		o.Log.Info("guest says", "server", who.Server, "epoch", who.Epoch, "works", req.Works, "detail", clean(req.Detail), "formatted", formatted(req))
	}
	w.WriteHeader(http.StatusNoContent)
}

func decodeReport(body io.Reader, req *Report) error {
	if err := Decode(body, req); err != nil {
		return err
	}
	if req.V != Version || req.Works < fleet.CannotTell || req.Works > fleet.No || len(req.Mounts) > 64 {
		return ErrMalformed
	}
	return nil
}

// record has what the guest formatted recorded. Its report counts for nothing before
// that: it will come again.
func record(ctx context.Context, o Options, server string, epoch fleet.Epoch, r Report) error {
	if o.Formatted == nil {
		return nil
	}
	for _, m := range r.Mounts {
		if !m.Formatted {
			continue
		}
		f := fleet.Formatted{Volume: clean(m.Volume), Serial: clean(m.Serial), Epoch: epoch, At: o.Now()}
		if err := o.Formatted(ctx, server, f); err != nil {
			return fmt.Errorf("%w %s of %s: %w", errRecord, f.Volume, server, err)
		}
	}
	return nil
}

// formatted names the volumes whose file system the guest has made: nothing else that
// it does cannot be undone.
func formatted(r Report) (names []string) {
	for _, m := range r.Mounts {
		if m.Formatted {
			names = append(names, clean(m.Volume))
		}
	}
	return names
}

// take keeps a report, and returns whether it says anything new. What an older epoch
// says after a newer one counts for nothing.
func (d *Door) take(who enrol.GuestName, r Report, now time.Time) (news bool) {
	server, epoch := who.Server, who.Epoch
	word := Word{Epoch: epoch, Instance: who.Instance, At: now, Since: now, Works: r.Works, Detail: clean(r.Detail), Mounts: r.Mounts, Boot: clean(r.Boot)}
	for n := range word.Mounts {
		word.Mounts[n].Detail = clean(word.Mounts[n].Detail)
	}
	d.mu.Lock()
	before, spoke := d.words[server]
	if spoke && before.Epoch > epoch {
		d.mu.Unlock()
		return false
	}
	news = !spoke || before.Epoch != epoch || before.Works != word.Works || before.Boot != word.Boot
	if !news {
		word.Since = before.Since
	}
	d.words[server] = word
	d.mu.Unlock()
	if news {
		select {
		case d.wakes <- server:
		default: // so much is to be looked at that one name more adds nothing
		}
	}
	return news
}

// clean makes a guest's text fit to be shown: one line, not long.
func clean(s string) string {
	return Cut(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s))
}

// refuse answers with a problem in the form of RFC 9457.
func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "title": http.StatusText(status), "detail": Cut(err.Error())})
}

func reply(w http.ResponseWriter, m any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(m)
}
