package detect

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Input is what Judge looks at.
type Input struct {
	Server fleet.Server
	Status fleet.Status
	// Observed is the provider's last look at the server's resources.
	Observed fleet.Observed
	// Signals are the latest of each source and question about the server; Host
	// are those about the host on which the current epoch was started.
	Signals []fleet.Signal
	Host    []fleet.Signal
	// Observer is the state of the one who judges.
	Observer Observer
}

// flapsImpaired is how many changes of answer within FlapWindow make a server
// impaired though it never failed for long enough at a stretch.
const flapsImpaired = 6

// Judge returns the verdict on the server's current epoch at now.
func Judge(in Input, now time.Time) fleet.Finding {
	if in.Status.Epoch == 0 {
		return fleet.Finding{Verdict: fleet.Down, Since: now, Cause: "server " + in.Server.Name, Reason: "it was declared and never started"}
	}
	j := newJudgement(in, now)
	if f, ok := j.byRecord(); ok {
		return f
	}
	f := j.bySigns()
	if (f.Verdict == fleet.Unknown || f.Verdict == fleet.Suspect) && j.oldRecord != "" {
		f.Reason += "; " + j.oldRecord
	}
	return j.byWord(f)
}

// bySigns judges by those who can err.
func (j *judgement) bySigns() fleet.Finding {
	in, now := j.in, j.now
	if why := in.Observer.blind(); why != "" {
		return j.finding(fleet.Unknown, now, nil, why, "own view")
	}
	if j.hostInContact() {
		return j.onHost()
	}
	return j.fromAfar()
}

// judgement sorts the signals once, so that each rule reads like a sentence.
type judgement struct {
	in  Input
	now time.Time
	// server and host are what is said of each, worth what it is now. Whose side a
	// source takes is asked only by the few rules that need it: see yes and no.
	server, host []fleet.Signal
	agent        *fleet.Signal // the host agent's word on its own child, if fresh
	contact      *fleet.Signal // the host's beat at the controller
	// oldRecord says what a record told that is too old to act upon, or is empty.
	oldRecord string
}

func newJudgement(in Input, now time.Time) *judgement {
	in.Signals, in.Host = inOrder(in.Signals), inOrder(in.Host)
	j := &judgement{in: in, now: now}
	room := make([]fleet.Signal, 0, len(in.Signals)+len(in.Host))
	for _, s := range in.Signals {
		if s.Epoch != 0 && s.Epoch != in.Status.Epoch {
			continue // about an older instance
		}
		if s.Epoch == 0 && s.At.Before(in.Status.LaunchedAt) {
			continue // a probe that may have met the older instance
		}
		room = append(room, j.aged(s))
	}
	j.server, j.host = room[:len(room):len(room)], room[len(room):]
	for _, s := range in.Host {
		j.host = append(j.host, j.aged(s))
	}
	j.ask()
	return j
}

// ask looks for whoever knows best: the agent that runs the instance, and the host's
// own beat.
func (j *judgement) ask() {
	for n := range j.server {
		if s := &j.server[n]; runs(s.Source.Channel) && s.Question == fleet.Alive && s.Answer != fleet.CannotTell {
			j.agent = s
		}
	}
	for n := range j.host {
		if s := &j.host[n]; s.Source.Channel == fleet.ChannelBeat {
			j.contact = s
		}
	}
}

// aged turns what a source said into what that is worth now. A source that fell
// silent cannot tell; only heartbeats turn silence itself into a no.
func (j *judgement) aged(s fleet.Signal) fleet.Signal {
	if s.CannotLie {
		if other := j.livesOn(s); other != "" && s.Answer == fleet.No {
			s.Answer, s.CannotLie, s.Detail = fleet.CannotTell, false, other
			return s
		}
		// Who cannot lie told the truth of that moment: what was stopped may have been
		// started since (S4).
		if age := j.in.Observer.age(s.At, j.now); age > j.staleAfter(s.Source.Channel) {
			s.Answer, s.CannotLie, s.Detail = fleet.CannotTell, false, lastSeen(age)
		}
		return s
	}
	silentSince := latest(s.At, j.in.Observer.listeningSince())
	if j.now.Sub(silentSince) <= j.staleAfter(s.Source.Channel) {
		if s.Source.Channel == fleet.ChannelBeat {
			return j.recentBeat(s)
		}
		if s.Answer == fleet.No && j.in.Observer.age(s.At, j.now) > j.staleAfter(s.Source.Channel) {
			// A no from before our own stall may have turned into a yes meanwhile (S4).
			s.Answer, s.Detail = fleet.CannotTell, "it may be of before the controller stood still, or began to listen"
		}
		return s
	}
	silence := j.now.Sub(s.At).Truncate(time.Millisecond)
	if s.Source.Channel == fleet.ChannelBeat {
		if j.in.Observer.hearsNobody(s.At, j.now, j.suspectAfter()) {
			s.Answer, s.Detail = fleet.CannotTell, heardNobody
			return s
		}
		s.Answer, s.Since = fleet.No, silentSince
		s.Detail = fmt.Sprintf("silent for %s", silence)
		return s
	}
	s.Answer = fleet.CannotTell
	s.Detail = fmt.Sprintf("its last word is %s old", silence)
	return s
}

// recentBeat is worth what it said, unless only the observer's own absence keeps
// its silence from counting.
func (j *judgement) recentBeat(s fleet.Signal) fleet.Signal {
	o := j.in.Observer
	switch {
	case s.At.Before(latest(o.Since, o.StalledAt)):
		s.Answer, s.Detail = fleet.CannotTell, "the controller began to listen a moment ago"
	case j.now.Sub(s.At) > j.suspectAfter():
		s.Answer, s.Detail = fleet.CannotTell, heardNobody
	}
	return s
}

func lastSeen(age time.Duration) string {
	return fmt.Sprintf("last seen %s ago", age.Truncate(time.Millisecond))
}

func (j *judgement) suspectAfter() time.Duration {
	return time.Duration(float64(j.in.Server.Spec.Health.SuspectAfter.Std()) * j.in.Observer.unwellness(j.now))
}

// staleAfter is the age from which a source's word counts for nothing. Where looks
// take long, what they bring is older; beats come by themselves.
func (j *judgement) staleAfter(c fleet.Channel) time.Duration {
	if c == fleet.ChannelBeat {
		return j.suspectAfter()
	}
	return j.suspectAfter() + j.in.Observed.Room()
}

// yes are the sources that say that the server lives, from outside its own agent.
func (j *judgement) yes() []fleet.Signal {
	var out []fleet.Signal
	for _, s := range j.server {
		if s.Answer == fleet.Yes && (s.Question != fleet.Alive || !runs(s.Source.Channel)) {
			out = append(out, s)
		}
	}
	return j.withLocks(out)
}

// no are those that say that it does not.
func (j *judgement) no() []fleet.Signal {
	var out []fleet.Signal
	for _, s := range j.server {
		if s.Answer == fleet.No && s.Question == fleet.Alive && !runs(s.Source.Channel) {
			out = append(out, s)
		}
	}
	return out
}

// ofHost are the sources that answer so of the host: its beats, its storage
// heartbeat, its pings.
func (j *judgement) ofHost(answer fleet.Answer) []fleet.Signal {
	var out []fleet.Signal
	for _, s := range j.host {
		if s.Answer == answer {
			out = append(out, s)
		}
	}
	return out
}

// runs reports whether the channel is the word of whoever runs the instance.
func runs(c fleet.Channel) bool { return c == fleet.ChannelAgent || c == fleet.ChannelProvider }

// withLocks adds a signal for each volume lock that somebody else than the
// server's own host looked at: a lock dies with its last holder, so a held one
// means that processes of the server live. A network file system keeps the lock of
// a dead host, a platform the attachment of a dead machine, an array its map: those
// say nothing.
func (j *judgement) withLocks(yes []fleet.Signal) []fleet.Signal {
	for _, v := range j.in.Observed.Volumes {
		if !j.diesWithHolder(v.Volume) || v.Held != fleet.Yes || v.Sealed >= j.in.Status.Epoch || j.now.Sub(v.At) > j.suspectAfter() {
			continue
		}
		if v.Host == j.in.Status.Host && !j.hostInContact() {
			continue // the silent host's own old report
		}
		yes = append(yes, fleet.Signal{
			Source:   fleet.Source{Channel: fleet.ChannelStorage, Vantage: v.Host},
			Question: fleet.Alive, Answer: fleet.Yes, At: v.At, Since: v.At,
			Detail: "the lock of volume " + v.Volume + " is held there",
		})
	}
	return yes
}

// diesWithHolder reports whether the volume's lock ends with its last holder.
func (j *judgement) diesWithHolder(volume string) bool {
	for _, v := range j.in.Server.Spec.Identity.Volumes {
		if v.Name == volume {
			return v.Reach != fleet.ReachShared && v.Reach != fleet.ReachZone && !v.OnArray()
		}
	}
	return true
}

// hostInContact reports whether whoever runs the instance can be asked. Where no
// host is ours (a cloud), the provider's own word on the instance stands for it.
func (j *judgement) hostInContact() bool {
	if len(j.in.Host) == 0 {
		return j.agent != nil
	}
	return j.contact != nil && j.contact.Answer == fleet.Yes
}

// onHost judges a server whose host agent is in contact.
func (j *judgement) onHost() fleet.Finding {
	if j.agent == nil {
		return j.agentCannotTell()
	}
	if j.agent.Answer == fleet.No {
		return j.deadWithWitness()
	}
	return j.running()
}

// running judges an instance that runs by its own checks.
func (j *judgement) running() fleet.Finding {
	name := "server " + j.in.Server.Name
	own, asked := j.ownCheck()
	if !asked {
		if j.in.Server.Spec.Health.Check.IsZero() {
			return j.finding(fleet.Healthy, j.agent.Since, []fleet.Signal{*j.agent}, "its instance runs; it declares no check", name)
		}
		return j.starting(fleet.Signal{})
	}
	if own.Flaps >= flapsImpaired {
		return j.finding(fleet.Impaired, own.Since, []fleet.Signal{own}, fmt.Sprintf("its check changed its answer %d times within %s", own.Flaps, FlapWindow), name)
	}
	switch own.Answer {
	case fleet.Yes:
		return j.finding(fleet.Healthy, own.Since, []fleet.Signal{*j.agent, own}, "it runs and passes its own check", name)
	case fleet.CannotTell:
		return j.finding(fleet.Suspect, own.At, []fleet.Signal{own}, "its check cannot tell: "+orNothing(own.Detail), name)
	default: // a no counts after a while
	}
	if f := j.starting(own); f.Verdict != fleet.Unknown {
		return f
	}
	// The failure must have been seen for that long: the time since the last look
	// of a host that fell silent says nothing about the application (S4).
	due := own.Since.Add(j.in.Server.Spec.Health.ImpairedAfter.Std())
	if own.At.Before(due) {
		f := j.finding(fleet.Suspect, own.Since, []fleet.Signal{own}, "its check fails: "+orNothing(own.Detail), name)
		if f.LookAgainAt = due; !j.now.Before(due) {
			// The next answer decides, and brings no news that would wake anybody.
			f.LookAgainAt = j.now.Add(max(j.in.Server.Spec.Health.Check.Interval.Std(), time.Second))
		}
		return f
	}
	return j.finding(fleet.Impaired, own.Since, []fleet.Signal{*j.agent, own}, "it runs but its check fails: "+orNothing(own.Detail), name)
}

// ownCheck returns the application's own check as its host sees it.
func (j *judgement) ownCheck() (fleet.Signal, bool) {
	for _, s := range j.server {
		if s.Question == fleet.Works && s.Source.Channel == fleet.ChannelApp {
			return s, true
		}
	}
	return fleet.Signal{}, false
}

// starting covers an instance that is younger than its grace and was never
// verified; an Unknown verdict means that the grace is over.
func (j *judgement) starting(own fleet.Signal) fleet.Finding {
	until := j.in.Status.LaunchedAt.Add(j.in.Server.Spec.Health.StartupGrace.Std())
	verified := !j.in.Status.VerifiedAt.IsZero()
	if !verified && j.now.Before(until) {
		f := j.finding(fleet.Suspect, j.in.Status.LaunchedAt, nonZero(own), "it starts, its check has not passed yet", "server "+j.in.Server.Name)
		f.LookAgainAt = until
		return f
	}
	if own.Source.Channel == "" {
		return j.finding(fleet.Suspect, j.now, nil, "nobody has checked it yet", "server "+j.in.Server.Name)
	}
	return fleet.Finding{}
}

// agentCannotTell covers a host in contact whose agent has no word on the epoch.
func (j *judgement) agentCannotTell() fleet.Finding {
	if yes := j.yes(); len(yes) > 0 {
		return j.lives(yes, "its host agent cannot tell", nil, "server "+j.in.Server.Name)
	}
	return j.finding(fleet.Suspect, j.now, j.no(), "its host agent has not told about it yet", "server "+j.in.Server.Name)
}

// lives judges a server that only others than its agent can see: one that passes
// its check is healthy; one that merely shows life is left alone, for nobody can
// tell whether it works.
func (j *judgement) lives(yes []fleet.Signal, but string, about *fleet.Signal, cause string) fleet.Finding {
	evidence := slices.Clone(yes)
	if about != nil {
		evidence = append(evidence, *about)
	}
	sortSignals(evidence)
	for _, s := range j.server {
		if s.Question == fleet.Works && s.Answer == fleet.Yes {
			return j.finding(fleet.Healthy, s.Since, evidence, but+", but "+describe(s), cause)
		}
	}
	// What was never verified may have its volumes and not run yet.
	if j.in.Server.Spec.Health.Check.IsZero() && !j.in.Status.VerifiedAt.IsZero() {
		return j.finding(fleet.Healthy, yes[0].Since, evidence, but+", but "+describe(yes[0]), cause)
	}
	return j.finding(fleet.Suspect, yes[0].Since, evidence, but+" and nobody can tell whether it works, but it lives: "+describe(yes[0]), cause)
}

// deadWithWitness covers an agent that knows of no such instance but did not
// reap it: a wiped state directory says the same, so a witness must agree.
func (j *judgement) deadWithWitness() fleet.Finding {
	if yes := j.yes(); len(yes) > 0 {
		return j.lives(yes, "its host agent does not know it", j.agent, "server "+j.in.Server.Name)
	}
	return j.downIfTwoAgree(append([]fleet.Signal{*j.agent}, j.no()...), "server "+j.in.Server.Name)
}

// downIfTwoAgree applies the rule of two independent sources and the suspicion
// time that their number shortens.
func (j *judgement) downIfTwoAgree(no []fleet.Signal, cause string) fleet.Finding {
	if len(no) == 0 {
		return j.finding(fleet.Unknown, j.now, nil, "no source can tell", cause)
	}
	sortSignals(no)
	agreed, ok := independentPair(no)
	health := j.in.Server.Spec.Health
	if !ok {
		return j.oneSource(no, cause)
	}
	longest := health.DownAfter.Std()
	wait := Suspicion(longest, longest/3, vantages(no)-1, 3, j.in.Observer.unwellness(j.now))
	due := latest(agreed[0].Since, agreed[1].Since).Add(wait)
	if alone := no[0].Since.Add(longest); j.in.Server.Spec.OneSource == fleet.OneSourceFence && alone.Before(due) {
		due = alone // what one source may say alone, a second does not put off
	}
	reason := "independent sources agree: " + describeAll(no)
	if j.now.Before(due) {
		f := j.finding(fleet.Suspect, no[0].Since, no, reason, cause)
		f.LookAgainAt = due
		return f
	}
	return j.finding(fleet.Down, no[0].Since, no, reason, cause)
}

func (j *judgement) oneSource(no []fleet.Signal, cause string) fleet.Finding {
	reason := "only one independent source says no: " + describeAll(no)
	due := no[0].Since.Add(j.in.Server.Spec.Health.DownAfter.Std())
	if j.in.Server.Spec.OneSource != fleet.OneSourceFence {
		f := j.finding(fleet.Suspect, no[0].Since, no, reason+"; oneSource: hold waits for a second one or a person", cause)
		// A second source may never come: the one that there is has said no for as long
		// as is enough elsewhere, so a person is told (L1).
		if f.NeedsPerson = !j.now.Before(due); !f.NeedsPerson && due.Before(f.LookAgainAt) {
			f.LookAgainAt = due
		}
		return f
	}
	if j.now.Before(due) {
		f := j.finding(fleet.Suspect, no[0].Since, no, reason, cause)
		f.LookAgainAt = due
		return f
	}
	return j.finding(fleet.Down, no[0].Since, no, reason+"; oneSource: fence lets a confirmed fence make it true", cause)
}

func (j *judgement) finding(v fleet.Verdict, since time.Time, evidence []fleet.Signal, reason, cause string) fleet.Finding {
	f := fleet.Finding{Verdict: v, Since: since, Evidence: j.dated(evidence), Reason: reason, Cause: cause, LookAgainAt: j.nextSilence()}
	if f.LookAgainAt.IsZero() && (v == fleet.Suspect || v == fleet.Unknown) {
		// All sources are silent. One that speaks again and says the same as before it
		// fell silent brings no news, and yet decides.
		f.LookAgainAt = j.now.Add(max(j.suspectAfter(), time.Second))
	}
	return f
}

// dated makes each yes as old as it may be. It holds off what one would do to a dead server
// all the same, but nobody is called healed for what waited to be read while the controller
// stood still (S14).
func (j *judgement) dated(evidence []fleet.Signal) []fleet.Signal {
	o, own := j.in.Observer, false
	for i, s := range evidence {
		age := o.age(s.At, j.now)
		if s.Answer != fleet.Yes || age <= j.now.Sub(s.At) {
			continue
		}
		if !own {
			evidence, own = slices.Clone(evidence), true // j has them, too
		}
		evidence[i].At = j.now.Add(-age)
	}
	return evidence
}

// nextSilence is when the next fresh source would fall silent: the verdict can
// change then though no news comes.
func (j *judgement) nextSilence() time.Time {
	var next time.Time
	falls := func(heard time.Time, c fleet.Channel) {
		at := heard.Add(j.staleAfter(c) + time.Millisecond)
		if at.After(j.now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, list := range [][]fleet.Signal{j.in.Signals, j.in.Host} {
		for _, s := range list {
			if s.CannotLie {
				falls(s.At, s.Source.Channel)
				continue
			}
			falls(s.At, s.Source.Channel)
			falls(latest(s.At, j.in.Observer.listeningSince()), s.Source.Channel)
		}
	}
	for _, i := range j.in.Observed.Instances {
		if i.Epoch == j.in.Status.Epoch && i.State == fleet.InstanceStopped {
			falls(i.At, fleet.ChannelProvider)
		}
	}
	return next
}

// independentPair returns the first two signals, in the order of sortSignals, whose
// sources share neither channel nor vantage: a further no must never delay those
// that agreed already.
func independentPair(no []fleet.Signal) ([2]fleet.Signal, bool) {
	for k := range no {
		for i := range k {
			if no[i].Source.Independent(no[k].Source) {
				return [2]fleet.Signal{no[i], no[k]}, true
			}
		}
	}
	return [2]fleet.Signal{}, false
}

func vantages(list []fleet.Signal) int {
	seen := map[string]bool{}
	for _, s := range list {
		seen[s.Source.Vantage] = true
	}
	return len(seen)
}

func onChannel(list []fleet.Signal, c fleet.Channel) []fleet.Signal {
	var out []fleet.Signal
	for _, s := range list {
		if s.Source.Channel == c {
			out = append(out, s)
		}
	}
	return out
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func nonZero(s fleet.Signal) []fleet.Signal {
	if s.Source.Channel == "" {
		return nil
	}
	return []fleet.Signal{s}
}
