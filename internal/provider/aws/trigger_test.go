package aws_test

import (
	"fmt"
	"strings"
	"testing"
)

// alarmOf is what an alarm sends through a topic, with all fields that CloudWatch fills
// in, as the notification of SNS that a queue or an endpoint gets.
func alarmOf(old, is, trigger string) string {
	return inSNS(fmt.Sprintf(`{"AlarmName":"InstanceStatusCheckAlarm-autorestart","AlarmDescription":null,"AWSAccountId":"123456789012",`+
		`"AlarmConfigurationUpdatedTimestamp":"2026-11-01T08:00:00.000+0000","NewStateValue":%q,`+
		`"NewStateReason":"Threshold Crossed: 4 datapoints were greater than the threshold (0.0).",`+
		`"StateChangeTime":"2026-11-21T09:14:15.000+0000","Region":"EU (Ireland)",`+
		`"AlarmArn":"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a","OldStateValue":%q,"OKActions":[],`+
		`"AlarmActions":["arn:aws:sns:eu-west-1:123456789012:relight"],"InsufficientDataActions":[],"Trigger":%s}`, is, old, trigger))
}

const (
	// statusCheck is the alarm of a server: 4 of 4 minutes, missing data left as it is.
	statusCheck = `{"MetricName":"StatusCheckFailed_Instance","Namespace":"AWS/EC2","StatisticType":"Statistic","Statistic":"MAXIMUM","Unit":null,` +
		`"Dimensions":[{"value":"i-1","name":"InstanceId"}],"Period":60,"EvaluationPeriods":4,"DatapointsToAlarm":4,` +
		`"ComparisonOperator":"GreaterThanThreshold","Threshold":0.0,"TreatMissingData":"","EvaluateLowSampleCountPercentile":""}`
	// connected is the alarm of an Outpost's service link.
	connected = `{"MetricName":"ConnectedStatus","Namespace":"AWS/Outposts","StatisticType":"Statistic","Statistic":"AVERAGE","Unit":null,` +
		`"Dimensions":[{"value":"op-0123456789abcdef0","name":"OutpostId"}],"Period":60,"EvaluationPeriods":3,"DatapointsToAlarm":3,` +
		`"ComparisonOperator":"LessThanThreshold","Threshold":1.0,"TreatMissingData":"","EvaluateLowSampleCountPercentile":""}`
	// expression is an alarm on an expression over the metrics of two instances.
	expression = `{"Period":60,"EvaluationPeriods":2,"DatapointsToAlarm":2,"ComparisonOperator":"GreaterThanThreshold","Threshold":0.0,` +
		`"TreatMissingData":"","EvaluateLowSampleCountPercentile":"","Metrics":[{"Expression":"MAX(METRICS())","Id":"e1","Label":"any","ReturnData":true},` +
		`{"Id":"m1","MetricStat":{"Metric":{"Dimensions":[{"value":"i-1","name":"InstanceId"}],"MetricName":"StatusCheckFailed","Namespace":"AWS/EC2"},"Period":60,"Stat":"Maximum"},"ReturnData":false},` +
		`{"Id":"m2","MetricStat":{"Metric":{"Dimensions":[{"value":"i-2","name":"InstanceId"}],"MetricName":"StatusCheckFailed","Namespace":"AWS/EC2"},"Period":60,"Stat":"Maximum"},"ReturnData":false}]}`
)

// TestOP_TRIG: the alarms that started the old functions, in their full shapes, say
// where to look and nothing else. Neither what their state is nor what it was counts, so
// that a second failure is looked at like the first, and one that they missed or sent
// twice changes nothing.
func TestOP_TRIG(t *testing.T) {
	for _, row := range []struct{ body, want string }{
		{alarmOf("OK", "ALARM", statusCheck), `"lic-1"`},
		{alarmOf("ALARM", "OK", statusCheck), `"lic-1"`},
		{alarmOf("OK", "INSUFFICIENT_DATA", statusCheck), `"lic-1"`},
		{alarmOf("OK", "ALARM", connected), `""`}, // a service link names no server: all are looked at
		{alarmOf("OK", "ALARM", expression), `"lic-1" "lic-2"`},
		{alarmOf("OK", "ALARM", strings.ReplaceAll(statusCheck, "i-1", "i-9")), ``}, // another's instance
		// A composite alarm has no metric of its own.
		{inSNS(`{"AlarmName":"both","NewStateValue":"ALARM","OldStateValue":"OK","AlarmRule":"ALARM(a) AND ALARM(b)","TriggeringChildren":[{"Arn":"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a"}]}`), `""`},
	} {
		w := newWaker()
		w.Take("m-1", row.body)
		w.Take("m-1", row.body) // SNS delivers at least once
		if got := woken(w); got != row.want {
			t.Errorf("%s\nwakes %s, want %s", row.body, got, row.want)
		}
	}
	w := newWaker()
	for n := range 5 { // fails, is well, fails again ...
		w.Take(fmt.Sprint("down ", n), alarmOf("OK", "ALARM", statusCheck))
		if got := woken(w); got != `"lic-1"` {
			t.Fatalf("failure %d wakes %s", n+1, got)
		}
		w.Take(fmt.Sprint("up ", n), alarmOf("ALARM", "OK", statusCheck))
		woken(w)
	}
}
