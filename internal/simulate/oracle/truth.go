package oracle

import (
	"slices"
	"strconv"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// slack is what the oracle allows for sweeps, ticks and calls under way.
const slack = 5 * time.Second

// clearLoss is the share of lost datagrams up to which a host still counts as
// clearly heard.
const clearLoss = 0.1

// server is what is true of one server, and what was sent about it.
type server struct {
	name  string
	spec  fleet.Server
	dirty bool
	known map[*world.Instance]*instance
	// live are the instances that may still change, in the order of the world.
	live []*instance
	// newest is the one of the highest epoch that ever executed.
	newest *instance

	acts   []acted
	launch map[string]tries
	// tokens are the requests that were sent, by their tokens.
	tokens map[string]string
	// starts are the epochs after the first one for which a relaunch was tried, each
	// with the first time.
	starts []start
	onset  time.Time // of the last failure that was waited for
	// sent is the latest epoch for which a start or attach was sent to a host.
	sent struct {
		epoch fleet.Epoch
		host  string
	}

	// What the product made durable about it.
	status  fleet.Status
	was     fleet.Status // before the last transaction that changed it
	verdict told
	held    told
	// ailsAt is when the product last called it down, impaired or isolated.
	ailsAt time.Time
	// wellAt is when the product last called it healthy.
	wellAt time.Time
	// demand is what its spec demanded when a call that needs a proof was announced last:
	// people may change it while that is under way.
	demand fleet.FenceDemand
	// demanded is what it demanded when each epoch was replaced first: to demand more later
	// makes nobody fence again what was proved dead.
	demanded map[fleet.Epoch]fleet.FenceDemand
	// asked is true from a person's request until its recovery ends.
	asked bool
	// wished is the newest epoch that was announced while that was so.
	wished fleet.Epoch
	// moved is the last planned move of which a call has ended something.
	moved string
	// stopTold is the last planned move of which a stop was announced: if its controller
	// died then, nobody knows whether that went out.
	stopTold string
	// gone is true while nobody declares it: people have deleted it.
	gone bool
	// backAt is when it was declared again after that.
	backAt time.Time
}

// instance is what is true of one epoch. Times are zero if it is not so now.
type instance struct {
	i     *world.Instance
	epoch fleet.Epoch
	host  string
	able  bool
	// okSince is since when it works; clearSince since when it works on a host
	// that everybody reaches, so that every honest observer sees it work.
	okSince, clearSince time.Time
	// lastOK is when it last worked, badSince when it stopped to; lastAble is when it
	// last executed.
	lastOK, badSince, lastAble time.Time
	// everAble is true once it has executed.
	everAble bool
	// verified is true once the product has called this epoch healed.
	verified bool
	done     bool
}

type start struct {
	at    time.Time
	epoch fleet.Epoch
}

type told struct {
	what string
	at   time.Time
}

// acted is a destructive call of the past about an epoch.
type acted struct {
	at   time.Time
	kind fleet.StepKind
	// epoch is the step's.
	epoch fleet.Epoch
	// done is true if its executor did it.
	done bool
}

// host is since when a host is as it is.
type host struct {
	clear, peers, runs                bool
	clearSince, peersSince, downSince time.Time
	closedSince                       time.Time
	// turned is when clear changed last.
	turned time.Time
}

// look brings the truth about a server up to date, and holds what has changed
// against the promises about instances.
func (o *Oracle) look(s *server) {
	now := o.w.Now()
	for _, i := range o.w.Of(s.name) {
		t := s.known[i]
		if t == nil || t.epoch != i.Epoch { // a machine that is recovered is a new epoch
			if t != nil {
				t.done, t.able = true, false
			}
			t = &instance{i: i, epoch: i.Epoch}
			s.known[i] = t
			s.live = append(s.live, t)
		}
	}
	for _, t := range s.live {
		if !t.done {
			o.lookAt(s, t, now)
		}
	}
	s.live = slices.DeleteFunc(s.live, func(t *instance) bool { return t.done })
}

func (o *Oracle) lookAt(s *server, t *instance, now time.Time) {
	i := t.i
	h := o.hostOf(i.Host)
	able := o.w.Able(i)
	ok := able && i.App == world.AppOK
	if able && !t.everAble {
		t.everAble = true
		o.startedInOrder(s, t)
		if s.newest == nil || t.epoch >= s.newest.epoch {
			s.newest = t
		}
	}
	if t.able || able {
		t.lastAble = now
	}
	if t.able && !able {
		o.ended(s, t)
	}
	was := !t.okSince.IsZero()
	t.able, t.host = able, i.Host
	since(&t.okSince, ok, now)
	since(&t.clearSince, ok && h.clear, now)
	switch {
	case ok:
		t.lastOK, t.badSince = now, time.Time{}
	case was:
		t.lastOK, t.badSince = now, now
		o.failed(s, t)
	}
	t.done = i.State.Gone() && !able
}

// since sets the time at which something became so, or clears it.
func since(t *time.Time, is bool, now time.Time) {
	switch {
	case !is:
		*t = time.Time{}
	case t.IsZero():
		*t = now
	}
}

// hostOf returns what is true of a host now.
func (o *Oracle) hostOf(name string) *host {
	now := o.w.Now()
	h := o.hosts[name]
	if h == nil {
		h = &host{}
		o.hosts[name] = h
	}
	is := o.w.Host(name)
	if is == nil {
		return h
	}
	h.runs = is.Runs()
	was := h.clear
	h.clear = is.Runs() && !is.Mute && is.Cut == (world.Cut{}) && o.around.Loss(name) <= clearLoss
	if h.clear != was {
		h.turned = now
	}
	h.peers = is.HasPeers() && !is.Mute
	since(&h.clearSince, h.clear, now)
	since(&h.peersSince, h.peers, now)
	since(&h.downSince, !h.runs, now)
	since(&h.closedSince, is.Closed != "", now)
	return h
}

// deafByChance is how seldom, in a beat's time, two beats of every host in sight may get lost
// before the controller counts as one that hears them.
const deafByChance = 1e-8

// deaf reports that a controller may hear nobody: no host is in everybody's sight, or those
// that are lose so many datagrams that all may be silent at once. Then it doubts itself.
func (o *Oracle) deaf() bool {
	all := 1.0
	for _, name := range o.w.Hosts() {
		if h := o.hosts[name]; h != nil && h.clear {
			loss := o.around.Loss(name)
			all *= loss * loss
		}
	}
	return len(o.hosts) > 0 && all > deafByChance
}

// worked is when an instance last worked, which is now if it does.
func (o *Oracle) worked(t *instance) time.Time {
	if !t.okSince.IsZero() {
		return o.w.Now()
	}
	return t.lastOK
}

// served is when an instance was last worth to be kept: one whose spec declares no check
// is whenever it executes, for nobody can ask it more (as S14 has it).
func (o *Oracle) served(s *server, t *instance) time.Time {
	switch {
	case !s.spec.Spec.Health.Check.IsZero():
		return o.worked(t)
	case t.able:
		return o.w.Now()
	default:
		return t.lastAble
	}
}

// domains are the fleet, and the host with the sites above it where the server is: where
// its newest instance executed, or where a later epoch was sent since. Of a try whose
// calls got lost nobody can say that it is not there, and what is done about it next is
// done there.
func (o *Oracle) domains(s *server) []string {
	host := ""
	if s.newest != nil {
		host = s.newest.host
	}
	if s.newest == nil || s.sent.epoch > s.newest.epoch {
		host = s.sent.host
	}
	return append([]string{"fleet"}, o.path(host)...)
}

// clearFor reports whether the instance has worked in everybody's sight for that long.
func (o *Oracle) clearFor(t *instance, d time.Duration) bool {
	return t != nil && !t.clearSince.IsZero() && o.w.Now().Sub(t.clearSince) >= d
}

// window is how long something must have been so before every observer that obeys
// the server's policy has seen it.
func window(s fleet.Server) time.Duration {
	h := s.Spec.Health
	return h.SuspectAfter.Std() + max(h.DownAfter.Std(), h.ImpairedAfter.Std()) + slack
}

// path is the host with the sites above it, as people declared them.
func (o *Oracle) path(host string) []string {
	var path []string
	for name := host; name != "" && !slices.Contains(path, name); {
		path = append(path, name)
		name = o.sites[name].Spec.Parent
	}
	return path
}

// find returns the live or newest instance of an epoch, or nil.
func (s *server) find(e fleet.Epoch) *instance {
	for n := len(s.live) - 1; n >= 0; n-- {
		if s.live[n].epoch == e {
			return s.live[n]
		}
	}
	if s.newest != nil && s.newest.epoch == e {
		return s.newest
	}
	return nil
}

func (s *server) noteSent(c Call) {
	st := c.Call.Step
	s.acts = append(s.acts, acted{at: c.At, kind: st.Kind, epoch: st.Epoch})
	if st.Kind.NeedsProof() && st.Host != "" && st.Epoch >= s.sent.epoch {
		s.sent.epoch, s.sent.host = st.Epoch, st.Host
	}
}

// demands is the proof that a call had to have when it was announced.
func (s *server) demands() fleet.FenceDemand {
	if s.demand == "" {
		return s.spec.Spec.Fence
	}
	return s.demand
}

// demandedOf is the proof that was demanded of an epoch's death.
func (s *server) demandedOf(e fleet.Epoch) fleet.FenceDemand {
	if d, replaced := s.demanded[e]; replaced {
		return d
	}
	return s.demands()
}

func (s *server) noteExecuted(c Call) {
	st := c.Call.Step
	s.acts = append(s.acts, acted{at: c.At, kind: st.Kind, epoch: st.Epoch, done: true})
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
