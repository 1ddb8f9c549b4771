package simulate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"relight/internal/controller"
	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/world"
)

// The paces of a question.
const (
	// placeFor is how long servers may take to be placed before the loss.
	placeFor = 15 * time.Minute
	// calmFor is how long all is well before the loss, so that back-offs of the
	// first starts are over.
	calmFor = 2 * time.Minute
	// lookFor is how long the loss is watched at most, and lookEvery how often it
	// is asked whether anything will still change; restFor is how long it must not.
	lookFor   = 30 * time.Minute
	lookEvery = 5 * time.Second
	restFor   = 20 * time.Second
	// serveEvery is how finely the outage is measured.
	serveEvery = 250 * time.Millisecond
)

// played is one answer of the world.
type played struct {
	fates   []Fate
	moments []Moment
	looked  time.Duration
}

// asking is a question while it is played.
type asking struct {
	m      *mirror
	e      *engine
	lost   time.Time // when the loss happened; zero before
	fates  map[string]*Fate
	silent map[string]time.Time // since when users of a server get no answer
	out    map[string]time.Duration
	told   []Moment
}

// play places the servers, applies the documents, loses the hosts and watches.
func (m *mirror) play(hosts []string, documents string) (played, error) {
	sc := m.world
	sc.Spec, sc.For = m.placing, placeFor
	e, err := newEngine(sc)
	if err != nil {
		return played{}, err
	}
	for server, host := range m.homes {
		for _, id := range e.volumes[server] {
			if v := e.world.Volume(id); v.Reach == fleet.ReachHost {
				v.Place = host
			}
		}
	}
	a := &asking{m: m, e: e, fates: map[string]*Fate{}, silent: map[string]time.Time{}, out: map[string]time.Duration{}}
	if err := a.prepare(documents); err != nil {
		return played{}, err
	}
	if err := a.lose(hosts); err != nil {
		return played{}, err
	}
	limit := m.opt.For
	if limit <= 0 {
		limit = lookFor
	}
	a.watch(limit)
	return a.answer(), e.err
}

// prepare lets the servers be placed and then applies the documents.
func (a *asking) prepare(documents string) error {
	e := a.e
	e.brains[0].solo.Journal.Listen(a.listen)
	for e.clock.Now().Before(Start.Add(placeFor)) && !a.placed() && e.err == nil {
		a.turn(lookEvery)
	}
	b := e.reigning()
	if b == nil {
		return errors.Join(errors.New("no controller reigns"), e.err)
	}
	a.turn(calmFor)
	if err := b.solo.Apply(context.Background(), "you", "spec.yaml", documents); err != nil {
		return err
	}
	a.turn(lookEvery)
	for _, s := range a.m.set.Servers {
		a.fates[s.Name] = &Fate{Server: s.Name, From: a.placeOf(s.Name)}
	}
	return e.err
}

// placeOf returns the host of a server's present epoch, or its zone on a cloud.
func (a *asking) placeOf(server string) string {
	b := a.e.reigning()
	if b == nil {
		return ""
	}
	st := b.solo.State.Status(server)
	i := a.e.world.Find(server, st.Epoch)
	if a.m.world.Style == Hosts || i == nil {
		return st.Host
	}
	for _, h := range a.m.world.Hosts {
		if h.Name == i.Host {
			return h.Parent
		}
	}
	return ""
}

// placed reports whether every server is verified.
func (a *asking) placed() bool {
	b := a.e.reigning()
	if b == nil || len(b.solo.State.Servers()) == 0 {
		return false
	}
	for _, s := range b.solo.State.Servers() {
		st := b.solo.State.Status(s.Name)
		if st.Verdict != fleet.Healthy || st.Recovery != nil {
			return false
		}
	}
	return true
}

// turn lets virtual time go by. What the oracle thinks of it is for tests.
func (a *asking) turn(d time.Duration) {
	until := a.e.clock.Now().Add(d)
	for a.e.err == nil {
		at, more := a.e.world.Next()
		if !more || at.After(until) {
			a.e.world.RunUntil(until)
			return
		}
		a.e.world.Step()
	}
}

func (a *asking) lose(hosts []string) error {
	e, opt := a.e, a.m.opt
	a.lost = e.clock.Now()
	for _, h := range hosts {
		if !opt.Cut {
			if err := e.world.KillHost(h); err != nil {
				return err
			}
			continue
		}
		links := opt.Links
		if links == "" {
			links = "control,peers,storage"
		}
		if err := cut(true)(e, h, Fault{Args: []string{links}}); err != nil {
			return err
		}
	}
	a.serve()
	return nil
}

// serve notes at short intervals who answers users.
func (a *asking) serve() {
	now := a.e.clock.Now()
	for _, s := range a.m.set.Servers {
		since, silent := a.silent[s.Name]
		switch serves := a.serves(s); {
		case !serves && !silent:
			a.silent[s.Name] = now
		case serves && silent:
			a.out[s.Name] += now.Sub(since)
			delete(a.silent, s.Name)
		}
	}
	a.e.world.After(serveEvery, a.serve)
}

// serves reports whether an instance of the server works and can be reached.
func (a *asking) serves(s fleet.Server) bool {
	for _, i := range a.e.world.Of(s.Name) {
		if h := a.e.world.Host(i.Host); h != nil && h.HasPeers() && a.e.world.Able(i) && i.App == world.AppOK {
			return true
		}
	}
	return false
}

// watch goes on until nothing changes any more, or until the limit.
func (a *asking) watch(limit time.Duration) {
	least := time.Minute
	for _, s := range a.m.set.Servers {
		h := s.Spec.Health
		least = max(least, h.SuspectAfter.Std()+h.DownAfter.Std()+h.ImpairedAfter.Std()+restFor)
	}
	still := time.Duration(0)
	for a.e.err == nil && a.e.clock.Now().Sub(a.lost) < limit {
		a.turn(lookEvery)
		if still += lookEvery; !a.rests() {
			still = 0
		}
		if still >= restFor && a.e.clock.Now().Sub(a.lost) >= least {
			return
		}
	}
}

func (a *asking) rests() bool {
	b := a.e.reigning()
	if b == nil {
		return false
	}
	for _, s := range a.m.set.Servers {
		if !atRest(a.e.endOf(b, s.Name)) {
			return false
		}
	}
	return true
}

// atRest reports whether a server stays as it is until a person or a place comes.
func atRest(end EndState) bool {
	return end.Phase == fleet.PhaseRunning && end.Verdict == fleet.Healthy || end.Phase == fleet.PhaseNeedsPerson ||
		end.NeedsPerson || end.Gate == decide.GatePlacement
}

// listen takes what the controller tells.
func (a *asking) listen(batch []controller.Recorded) {
	if a.lost.IsZero() {
		return
	}
	for _, r := range batch {
		a.hear(r.Event)
	}
}

func (a *asking) hear(ev event.Event) {
	f := a.fates[ev.Server]
	if f == nil {
		return
	}
	at := seconds(a.e.clock.Now().Sub(a.lost))
	say := func(what string) {
		a.told = append(a.told, Moment{At: at, What: what, Text: ev.Server + ": " + strings.TrimPrefix(ev.Message, "done: ")})
	}
	switch ev.Kind {
	case event.VerdictChanged:
		bad := ev.Verdict == fleet.Down || ev.Verdict == fleet.Impaired || ev.Verdict == fleet.Isolated
		if bad && f.Detected == nil {
			f.Detected = &at
		}
		if f.touched = f.touched || bad; bad {
			say("verdict")
		}
	case event.RecoveryBegun:
		f.touched = true
	case event.EpochProved:
		if f.Fenced == nil {
			f.Fenced = &at
		}
		say("proof")
	case event.StepEnded:
		if started(ev.Step) {
			f.Started = &at
			say("started")
		}
	case event.RecoveryHealed:
		f.Verified = &at
		say("healed")
	case event.RecoveryClimbed:
		say("climbs")
	case event.RecoveryGaveUp:
		f.touched = true
		say("gives up")
	case event.Held:
		f.touched = true
		say("held")
	default: // no news for users
	}
}

// started reports that a step has brought an instance to life.
func started(r *fleet.StepRecord) bool {
	return r != nil && r.State == fleet.StepDone && (r.Step.Kind == fleet.StepLaunch || r.Step.Kind == fleet.StepRecover)
}

func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*10) / 10 }

// answer is what became of each server.
func (a *asking) answer() played {
	p := played{moments: a.told, looked: a.e.clock.Now().Sub(a.lost)}
	b := a.e.reigning()
	if b == nil {
		return p
	}
	for _, s := range a.m.set.Servers {
		f := *a.fates[s.Name]
		a.finish(&f, s, a.e.endOf(b, s.Name))
		p.fates = append(p.fates, f)
	}
	slices.SortFunc(p.fates, func(x, y Fate) int { return strings.Compare(x.Server, y.Server) })
	return p
}

func (a *asking) finish(f *Fate, s fleet.Server, end EndState) {
	f.To = a.placeOf(s.Name)
	f.Serves = a.serves(s)
	out := a.out[s.Name]
	if f.Serves {
		total := seconds(out)
		f.Outage = &total
	}
	healthy := end.Phase == fleet.PhaseRunning && end.Verdict == fleet.Healthy
	switch {
	case end.Epoch == 0:
		f.Outcome = NeverStarted
	case healthy && (f.Verified != nil || f.touched):
		f.Outcome = Returns
	case healthy:
		f.Outcome = Untouched
	case end.Gate == decide.GateMode || end.Gate == decide.GateApproval:
		f.Outcome = Asks
	case end.Gate == decide.GatePlacement:
		f.Outcome = Waits // a person may make room, but nobody has to decide anything
	case end.NeedsPerson || end.Phase == fleet.PhaseNeedsPerson:
		f.Outcome = NeedsPerson
	default:
		f.Outcome = Waits
	}
	if !healthy {
		f.Gate, f.Reason = end.Gate, end.Reason
		if f.Outcome == NeverStarted || f.Started == nil {
			f.To = ""
		}
	}
	f.Users = users(*f, out)
}

// users says what the users of a server see.
func users(f Fate, out time.Duration) string {
	switch {
	case f.Outcome == NeverStarted:
		return "no answer, also before the loss"
	case f.Serves && out == 0:
		return "nothing"
	case f.Serves:
		return fmt.Sprintf("no answer for %.1f s", out.Seconds())
	case f.Outcome == Asks:
		return "no answer until a person approves"
	case f.Outcome == NeedsPerson:
		return "no answer until a person helps"
	case f.Gate == decide.GatePlacement:
		return "no answer until a host can take it"
	default:
		return "no answer until the cause is gone"
	}
}
