package fakeaws

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"relight/internal/world"
)

// MissingData is what an alarm takes for a data point that did not come.
type MissingData string

// The ways to treat missing data, by CloudWatch's names.
const (
	// Missing: nothing; with no data at all the alarm says INSUFFICIENT_DATA.
	Missing MissingData = "missing"
	// Ignore: the alarm stays what it is.
	Ignore MissingData = "ignore"
	// Breaching and NotBreaching: one that is beyond the threshold, or within it.
	Breaching    MissingData = "breaching"
	NotBreaching MissingData = "notBreaching"
)

// The states of an alarm.
const (
	AlarmOK           = "OK"
	AlarmOn           = "ALARM"
	AlarmInsufficient = "INSUFFICIENT_DATA"
)

// StatusAlarm is one of CloudWatch on StatusCheckFailed_System of an instance, each minute.
type StatusAlarm struct {
	Name, Instance string
	// Of the last Periods data points Points must be beyond the threshold.
	Periods, Points int
	Treat           MissingData
	// Queue is where its changes of state are sent, as by a rule of EventBridge.
	Queue string

	state string
	data  []byte
}

// alarmReach is how many more data points than its periods an alarm reads.
const alarmReach = 2

// AddStatusAlarm makes an alarm, which has no data yet.
func (e *Endpoint) AddStatusAlarm(a StatusAlarm) {
	a.state = AlarmInsufficient
	e.locked(func() { e.cat.watches = append(e.cat.watches, &a) })
}

// AlarmState is what an alarm says; empty if there is none of that name.
func (e *Endpoint) AlarmState(name string) (state string) {
	e.locked(func() {
		for _, a := range e.cat.watches {
			if a.Name == name {
				state = a.state
			}
		}
	})
	return state
}

// EvaluateAlarms is one evaluation of all alarms, which CloudWatch makes each minute. Only
// a change of state is told.
func (e *Endpoint) EvaluateAlarms() {
	e.locked(func() {
		for _, a := range e.cat.watches {
			a.data = append(a.data, e.dataPoint(a.Instance))
			a.data = a.data[max(0, len(a.data)-a.Periods-alarmReach):]
			was := a.state
			if a.state = evaluate(string(a.data), a.Periods, a.Points, a.Treat, was); a.state != was {
				e.send(a.Queue, a.changed(e.opt.Account, e.opt.Region, was, e.w.Now()))
			}
		}
	})
}

// dataPoint is what the metric of an instance got: x for a failed check, 0 for one that
// passed, - if there is none. EC2 measures running instances that it can reach.
func (e *Endpoint) dataPoint(instance string) byte {
	i := e.w.Instance(instance)
	if i == nil {
		return '-'
	}
	switch e.w.StatusOf(i).System {
	case world.CheckOK:
		return '0'
	case world.CheckImpaired:
		return 'x'
	default:
		return '-'
	}
}

// evaluate is CloudWatch's evaluation of an alarm, by the tables of its guide: data is the
// evaluation range, the oldest point first. What the tables leave open (a single failing
// point that is too new) leaves the state as it was.
func evaluate(data string, periods, points int, treat MissingData, was string) string {
	var real []byte
	for n := range len(data) {
		if data[n] != '-' {
			real = append(real, data[n])
		}
	}
	lacks := max(0, periods-len(real))
	real = real[max(0, len(real)-periods):]
	failing := len(slices.DeleteFunc(slices.Clone(real), func(c byte) bool { return c != 'x' }))
	if treat == Breaching {
		failing += lacks
	}
	switch {
	case failing >= points:
		return AlarmOn
	case lacks == 0, treat == Breaching, treat == NotBreaching, slices.Contains(real, '0'):
		return AlarmOK
	case treat == Ignore:
		return was
	case len(real) == 0:
		return AlarmInsufficient
	case len(data)-slices.Index([]byte(data), 'x') >= points:
		return AlarmOn // it is old enough that the rest can only be late
	default:
		return was
	}
}

// changed is the event of EventBridge.
func (a *StatusAlarm) changed(account, region, was string, at time.Time) string {
	body, _ := json.Marshal(map[string]any{ // strings always marshal
		"version": "0", "id": fmt.Sprintf("a-%s-%d", a.Name, at.Unix()), "detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch",
		"account": account, "region": region, "time": at.UTC().Format(time.RFC3339),
		"resources": []string{"arn:aws:cloudwatch:" + region + ":" + account + ":alarm:" + a.Name},
		"detail": map[string]any{
			"alarmName": a.Name, "state": map[string]string{"value": a.state}, "previousState": map[string]string{"value": was},
			"configuration": map[string]any{"metrics": []any{map[string]any{"id": "m1", "returnData": true, "metricStat": map[string]any{
				"period": 60, "stat": "Maximum",
				"metric": map[string]any{"namespace": "AWS/EC2", "name": "StatusCheckFailed_System", "dimensions": map[string]string{"InstanceId": a.Instance}},
			}}}},
		},
	})
	return string(body)
}
