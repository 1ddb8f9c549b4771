package sdk_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/provider/aws/fakeaws"
)

// alarmed is a rig with an alarm on an instance, whose changes of state come through a
// queue and have the account looked at, as in a controller.
type alarmed struct {
	*rig
	queue awsprovider.Queue
	path  string
	waker *awsprovider.Waker
	// woke counts the wake-ups that had a server looked at.
	woke int
}

func alarming(t *testing.T) *alarmed {
	r := newRig(t, slowly)
	path := r.fake.AddQueue("events")
	return &alarmed{
		rig: r, path: path, queue: r.cloud.Queue("https://sqs.eu-west-1.amazonaws.com" + path),
		waker: awsprovider.NewWaker(r.p.ServerOf, r.clock, slog.New(slog.DiscardHandler)),
	}
}

func (c rigClock) Pause(context.Context, time.Duration, <-chan struct{}) error { return nil }

// watch makes the alarm of a server's instance and waits until it says OK.
func (a *alarmed) watch(name string, treat fakeaws.MissingData) {
	a.t.Helper()
	a.fake.AddStatusAlarm(fakeaws.StatusAlarm{Name: string(treat), Instance: a.machine(name).ID, Periods: 2, Points: 2, Treat: treat, Queue: a.path})
	a.minutes(5)
	if s := a.fake.AlarmState(string(treat)); s != fakeaws.AlarmOK {
		a.t.Fatalf("the alarm on a server that works says %s", s)
	}
	a.woke = 0
}

// minutes lets time pass, each minute with an evaluation of the alarms, and has what
// they tell looked at.
func (a *alarmed) minutes(n int) {
	a.t.Helper()
	for range n {
		for s := range 60 {
			a.second(s)
		}
		a.fake.EvaluateAlarms()
		for a.fake.Queued(a.path) > 0 {
			list, err := a.queue.Receive(a.t.Context())
			if err != nil {
				a.t.Fatal(err)
			}
			for _, m := range list {
				a.waker.Take(m.ID, m.Body)
				if err := a.queue.Delete(a.t.Context(), m); err != nil {
					a.t.Fatal(err)
				}
			}
		}
		a.look()
	}
}

func (a *alarmed) look() {
	for {
		select {
		case <-a.waker.C():
			a.woke++
			_ = a.solo.Sweep(a.t.Context())
		default:
			return
		}
	}
}

var _ provider.Clock = rigClock{}

// endings are the calls that end or start an instance.
var endings = []string{"StopInstances", "TerminateInstances", "RebootInstances", "StartInstances", "RunInstances"}

// noData has the data of a living server's checks go missing: an alarm that treats that
// as treat says what silent tells, and whatever it says nothing is done to the server.
func noData(t *testing.T, treat fakeaws.MissingData, silent string) {
	t.Helper()
	a := alarming(t)
	name := a.till(2)
	a.watch(name, treat)
	before := a.count(endings...)
	a.locked(func() { _ = a.w.CutServiceLink("op-1") })
	a.minutes(15)
	if s := a.fake.AlarmState(string(treat)); s != silent {
		t.Errorf("without data the alarm says %s, want %s", s, silent)
	}
	if changes := a.woke > 0; changes != (silent != fakeaws.AlarmOK) {
		t.Errorf("%d wake-ups from an alarm that says %s", a.woke, silent)
	}
	if n := a.count(endings...); n != before || !a.w.Able(a.w.Find(name, 1)) {
		t.Errorf("for want of data something was done to a server that runs:\n%s", a.calls())
	}
	if v := a.solo.Look(name).Verdict; v == fleet.Down {
		t.Error("for want of data it counts as down")
	}
	a.locked(func() { _ = a.w.MendServiceLink("op-1") })
	a.minutes(5)
	if s := a.fake.AlarmState(string(treat)); s != fakeaws.AlarmOK || !a.healthy(name, 1)() {
		t.Errorf("with its data back the alarm says %s, and it is %s", s, a.status(name).Verdict)
	}
}

// gone ends the instance of a server, which has no data from then on: whether the alarm
// says anything, the server is brought back.
func gone(t *testing.T, treat fakeaws.MissingData, silent string) {
	t.Helper()
	a := alarming(t)
	name := a.born()
	a.watch(name, treat)
	a.locked(func() { _ = a.w.Kill(a.machine(name)) })
	a.minutes(15)
	if s := a.fake.AlarmState(string(treat)); s != silent {
		t.Errorf("the alarm of an instance that is gone says %s, want %s", s, silent)
	}
	if !a.healthy(name, 2)() {
		t.Errorf("it was not brought back: epoch %d, %s", a.status(name).Epoch, a.status(name).Verdict)
	}
}

// Each way in which an alarm may treat data that is missing, for a server that runs on
// and for one that is gone. None is believed, and none is needed.
func TestDET_ALARM_Missing(t *testing.T) {
	noData(t, fakeaws.Missing, fakeaws.AlarmInsufficient)
	gone(t, fakeaws.Missing, fakeaws.AlarmInsufficient)
}

// The alarm keeps what it said last, so that nobody is told of anything.
func TestDET_ALARM_Ignore(t *testing.T) {
	noData(t, fakeaws.Ignore, fakeaws.AlarmOK)
	gone(t, fakeaws.Ignore, fakeaws.AlarmOK)
}

// The alarm goes off for want of data: a look, and no recovery of what only cannot be seen.
func TestDET_ALARM_Breaching(t *testing.T) {
	noData(t, fakeaws.Breaching, fakeaws.AlarmOn)
	gone(t, fakeaws.Breaching, fakeaws.AlarmOn)
}

// The alarm never goes off for a server that is gone, which the sweeps find all the same.
func TestDET_ALARM_NotBreaching(t *testing.T) {
	noData(t, fakeaws.NotBreaching, fakeaws.AlarmOK)
	gone(t, fakeaws.NotBreaching, fakeaws.AlarmOK)
}

// An alarm that only now loses its data tells INSUFFICIENT_DATA, for which CloudWatch runs
// no AlarmActions: it has the server looked at like one that goes off, and counts for
// nothing; real data that fail bring the server back.
func TestDET_ALARM_InsufficientData(t *testing.T) {
	a := alarming(t)
	name := a.born()
	a.watch(name, fakeaws.Missing)
	before := a.count(endings...)
	a.fake.Send(a.path, `{"source":"aws.cloudwatch","detail-type":"CloudWatch Alarm State Change","detail":{"alarmName":"a","state":{"value":"INSUFFICIENT_DATA"},"previousState":{"value":"OK"},`+
		`"configuration":{"metrics":[{"metricStat":{"metric":{"namespace":"AWS/EC2","name":"StatusCheckFailed","dimensions":{"InstanceId":"`+a.machine(name).ID+`"}}}}]}}}`)
	a.minutes(5)
	if a.woke != 1 || a.count(endings...) != before || !a.healthy(name, 1)() {
		t.Errorf("%d wake-ups, and:\n%s", a.woke, a.calls())
	}
	a.locked(func() { _ = a.w.KillHost(a.machine(name).Host) })
	a.minutes(10)
	if !a.healthy(name, 2)() {
		t.Errorf("real data that fail: epoch %d, %s", a.status(name).Epoch, a.status(name).Verdict)
	}
}
