package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"relight/internal/agent/keeper"
	"relight/internal/agent/mount"
	"relight/internal/core/fleet"
	core "relight/internal/core/mount"
	"relight/internal/provider/guest"
)

const (
	// DefaultGuestReportEvery is how often a guest agent reports though nothing is new.
	DefaultGuestReportEvery = 5 * time.Second
	// lookSoon is the pace of looks at volumes while one is awaited, lookLate otherwise:
	// what is mounted may fall to read-only, and what a person must repair may be.
	lookSoon, lookLate = time.Second, 10 * time.Second
)

// GuestOptions configure a Guest. Dir, Plan and Machine are needed.
type GuestOptions struct {
	// Dir is the agent's own directory: its key and its certificate.
	Dir     string
	Plan    guest.Plan
	Machine *mount.Machine
	Log     *slog.Logger
	// ReportEvery and LookEvery are DefaultGuestReportEvery and a second if 0.
	ReportEvery, LookEvery time.Duration
	// Metadata is the base URL of EC2's metadata service; its own if empty.
	Metadata string
	// Notify tells the system's service manager; Systemd if nil.
	Notify func(state string)
}

// Guest is the guest agent of one epoch of a server on a cloud instance: it mounts the
// server's volumes, asks the application whether it works, and reports. Its end stops
// nothing, and it mounts whether or not a controller answers (S16).
type Guest struct {
	opt     GuestOptions
	volumes *mount.Volumes
	news    chan struct{}
	boot    string
	// line leads to the controller; nil until the guest has joined.
	line atomic.Pointer[channel]

	mu     sync.Mutex
	states []mount.State
	looked bool
	app    sight
}

// NewGuest returns an agent for the plan.
func NewGuest(o GuestOptions) (*Guest, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ReportEvery == 0 {
		o.ReportEvery = DefaultGuestReportEvery
	}
	if o.LookEvery == 0 {
		o.LookEvery = lookSoon
	}
	if o.Metadata == "" {
		o.Metadata = metadataService
	}
	if o.Notify == nil {
		o.Notify = Systemd
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	boot, err := o.Machine.Boot()
	if err != nil {
		return nil, err
	}
	volumes := mount.New(o.Machine, o.Plan.Epoch, o.Plan.Volumes)
	volumes.Doing = func(volume string, s core.Step) {
		o.Log.Info("volume "+volume, "step", s.Kind, "why", s.Why)
	}
	if err := keepFormats(o, volumes); err != nil {
		return nil, err
	}
	g := &Guest{opt: o, volumes: volumes, news: make(chan struct{}, 1), boot: boot}
	volumes.Logins = g.logins
	return g, nil
}

// formats is what the agent keeps of what it formatted, for its next process.
type formats struct {
	Server  string      `json:"server"`
	Epoch   fleet.Epoch `json:"epoch"`
	Volumes []string    `json:"volumes"`
}

const formatsFile = "formatted.json"

// keepFormats has formats kept before they are begun, and those of an earlier process
// of the same epoch told.
func keepFormats(o GuestOptions, volumes *mount.Volumes) error {
	path := filepath.Join(o.Dir, formatsFile)
	var had formats
	if err := keeper.ReadFile(path, &had); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("what was formatted: %w", err)
	}
	if had.Server == o.Plan.Server && had.Epoch == o.Plan.Epoch {
		volumes.Formatted(had.Volumes)
	}
	volumes.Formatting = func(names []string) error {
		return keeper.WriteFile(path, formats{o.Plan.Server, o.Plan.Epoch, names}, true)
	}
	return nil
}

// Run works until ctx ends.
func (g *Guest) Run(ctx context.Context) error {
	g.opt.Log.Info("guest agent", "server", g.opt.Plan.Server, "epoch", g.opt.Plan.Epoch, "volumes", len(g.opt.Plan.Volumes))
	var tasks sync.WaitGroup
	tasks.Go(func() { g.mounting(ctx) })
	if !g.opt.Plan.Check.IsZero() {
		tasks.Go(func() { g.checking(ctx) })
	}
	tasks.Go(func() { g.reporting(ctx) })
	tasks.Wait()
	return nil
}

// mounting takes the volumes as far as they go, again and again: there is no bound to
// its patience.
func (g *Guest) mounting(ctx context.Context) {
	ready := false
	for ctx.Err() == nil {
		states := g.volumes.Advance(ctx)
		if ctx.Err() != nil {
			return // what a step that was broken off says is no news
		}
		g.keep(states)
		done, soon := true, false
		for _, s := range states {
			done = done && s.Kind == core.Done
			soon = soon || s.Kind == core.Wait || s.Kind == core.Unsure
		}
		if done && !ready {
			ready = true
			g.opt.Notify("READY=1")
		}
		rest := lookLate
		if soon {
			rest = g.opt.LookEvery
		}
		if !pause(ctx, min(rest, 10*g.opt.LookEvery)) {
			return
		}
	}
}

// keep notes how far the volumes are, and tells what is new.
func (g *Guest) keep(states []mount.State) {
	g.mu.Lock()
	before := g.states
	g.states, g.looked = states, true
	g.mu.Unlock()
	changed := before == nil
	for n, s := range states {
		if n < len(before) && before[n] == s {
			continue
		}
		changed = true
		log := g.opt.Log.Info
		if s.Kind == core.Refuse || s.Kind == core.Broken {
			log = g.opt.Log.Error
		}
		log("volume "+s.Volume, "state", s.Kind, "why", s.Why)
	}
	if changed {
		g.opt.Notify("STATUS=" + strings.ReplaceAll(g.report().Detail, "\n", " "))
		g.ring()
	}
}

func (g *Guest) ring() {
	select {
	case g.news <- struct{}{}:
	default:
	}
}

// checking asks the application whether it works.
func (g *Guest) checking(ctx context.Context) {
	c := g.opt.Plan.Check
	for {
		saw := look(ctx, c)
		if ctx.Err() != nil {
			return
		}
		g.mu.Lock()
		news := g.app != saw
		g.app = saw
		g.mu.Unlock()
		if news {
			g.ring()
		}
		if !pause(ctx, interval(c)) {
			return
		}
	}
}

// report is all that is known now. A volume that is awaited or broken is a no: the
// server cannot work without it. One that was refused is no answer: another instance
// would meet the same volume, and only a person can tell what is right. Nor is one of which
// the agent, just started, does not know yet whether it is the one that is mounted.
func (g *Guest) report() guest.Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := guest.Report{V: guest.Version, Boot: g.boot, Works: fleet.Yes, Detail: "all volumes are mounted"}
	if len(g.opt.Plan.Volumes) == 0 {
		r.Detail = "the guest agent runs"
	}
	if !g.opt.Plan.Check.IsZero() {
		r.Works, r.Detail = g.app.works, g.app.detail
	}
	if !g.looked {
		r.Works, r.Detail = fleet.CannotTell, "the guest agent has not looked at its volumes yet"
	}
	rank := 0
	for _, s := range g.states {
		m := guest.Mount{Volume: s.Volume, State: string(s.Kind), Detail: guest.Cut(s.Why), Formatted: s.Formatted}
		if m.Formatted {
			m.Serial = s.Serial
		}
		r.Mounts = append(r.Mounts, m)
		switch {
		case s.Kind == core.Refuse && rank < 4:
			rank, r.Works, r.Detail = 4, fleet.CannotTell, fmt.Sprintf("volume %s needs a person: %s", s.Volume, s.Why)
		case s.Kind == core.Broken && rank < 3:
			rank, r.Works, r.Detail = 3, fleet.No, fmt.Sprintf("volume %s is broken: %s", s.Volume, s.Why)
		case s.Kind == core.Wait && rank < 2:
			rank, r.Works, r.Detail = 2, fleet.No, fmt.Sprintf("volume %s is awaited: %s", s.Volume, s.Why)
		case s.Kind == core.Unsure && rank < 1:
			rank, r.Works, r.Detail = 1, fleet.CannotTell, fmt.Sprintf("volume %s: %s", s.Volume, s.Why)
		}
	}
	r.Detail = guest.Cut(r.Detail)
	return r
}

// Systemd tells systemd what the service's state is, if it was asked to.
func Systemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Write([]byte(state)) // a manager that does not listen needs no answer
}
