package detect

import (
	"fmt"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// byRecord handles those who cannot lie about the current epoch, and what was
// proved of it. A final record holds for ever, all others while they are fresh.
func (j *judgement) byRecord() (fleet.Finding, bool) {
	name, epoch := "server "+j.in.Server.Name, j.in.Status.Epoch
	for _, e := range j.in.Status.Evidence {
		// A person's statement proves; it does not say that an instance which passes
		// its checks must be replaced.
		if e.Epoch == epoch && e.Method.EndsInstance() && e.Method != fleet.Attested {
			return j.finding(fleet.Down, e.At, nil, fmt.Sprintf("epoch %d was proved dead: %s", epoch, fence.Describe(e)), name), true
		}
	}
	for _, s := range j.in.Signals {
		if !s.CannotLie || s.Question != fleet.Alive || s.Answer != fleet.No || s.Epoch != epoch {
			continue
		}
		if other := j.livesOn(s); other != "" {
			j.oldRecord = describe(s) + ", but " + other
			continue
		}
		if now := j.aged(s); now.CannotLie {
			return j.finding(fleet.Down, s.Since, []fleet.Signal{s}, describe(s), name), true
		}
		j.oldRecord = describe(s) + ", " + lastSeen(j.in.Observer.age(s.At, j.now))
	}
	for _, i := range j.in.Observed.Instances {
		if i.Epoch != epoch || !i.State.Gone() && i.State != fleet.InstanceStopped {
			continue
		}
		said := fmt.Sprintf("its instance is %s: %s", i.State, orNothing(i.Detail))
		if j.in.Observed.Outlived(i) {
			j.oldRecord = said + ", but another carries its epoch too"
			continue
		}
		if age := j.in.Observer.age(i.At, j.now); !i.State.Gone() && age > j.staleAfter(fleet.ChannelProvider) {
			j.oldRecord = said + ", " + lastSeen(age)
			continue
		}
		s := fleet.Signal{
			Source: fleet.Source{Channel: fleet.ChannelProvider, Vantage: i.Host}, Question: fleet.Alive, Answer: fleet.No,
			Epoch: i.Epoch, At: i.At, Since: i.Since, CannotLie: true, Detail: i.Detail,
		}
		return j.finding(fleet.Down, i.Since, []fleet.Signal{s}, said, name), true
	}
	return fleet.Finding{}, false
}

// livesOn names an instance of the epoch that was seen to live when a record said that one
// ended, or later, or is empty: two may carry one epoch, and then the end of one is no end.
func (j *judgement) livesOn(record fleet.Signal) string {
	for _, i := range j.in.Observed.Instances {
		if i.Epoch == record.Epoch && i.State.Ending() == 0 && !i.At.Before(record.At) {
			return fmt.Sprintf("another of its epoch is %s: %s", i.State, orNothing(i.Detail))
		}
	}
	return ""
}

// byWord takes a person's statement that the epoch is dead for the verdict where nobody
// else can tell, and could not when it was made: without that it would prove what nothing
// follows from. What was seen to live since then is judged by what is seen, also once
// that is down for another reason: only the verdict that began with the word is its own.
func (j *judgement) byWord(f fleet.Finding) fleet.Finding {
	st := j.in.Status
	if f.Verdict != fleet.Unknown || j.in.Observer.blind() != "" {
		return f
	}
	for _, e := range st.Evidence {
		unheard := st.Verdict == fleet.Unknown && e.At.After(st.VerdictSince) || st.Verdict == fleet.Down && st.VerdictSince.Equal(e.At)
		if e.Epoch == st.Epoch && e.Method == fleet.Attested && unheard {
			return j.finding(fleet.Down, e.At, nil, fmt.Sprintf("epoch %d was %s, and nobody can tell otherwise: %s", st.Epoch, fence.Describe(e), f.Reason), "server "+j.in.Server.Name)
		}
	}
	return f
}
