package aws_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/provider"
	"relight/internal/provider/aws"
)

const (
	stateChange = `{"version":"0","id":"7bf73129","detail-type":"EC2 Instance State-change Notification","source":"aws.ec2","account":"123456789012","region":"eu-west-1","resources":["arn:aws:ec2:eu-west-1:123456789012:instance/i-1"],"detail":{"instance-id":"i-1","state":"stopped"}}`
	alarmEvent  = `{"source":"aws.cloudwatch","detail-type":"CloudWatch Alarm State Change","resources":["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a"],"detail":{"alarmName":"a","state":{"value":"ALARM"},"configuration":{"metrics":[{"metricStat":{"metric":{"name":"StatusCheckFailed","dimensions":{"InstanceId":"i-2"}}}}]}}}`
	health      = `{"source":"aws.health","detail-type":"AWS Health Event","resources":["i-2"],"detail":{"affectedEntities":[{"entityValue":"i-1"},{"entityValue":"i-2"}]}}`
	alarmSNS    = `{"AlarmName":"a","NewStateValue":"ALARM","Trigger":{"MetricName":"StatusCheckFailed_System","Dimensions":[{"value":"i-1","name":"InstanceId"}]}}`
	alarmNobody = `{"AlarmName":"outpost","NewStateValue":"INSUFFICIENT_DATA","Trigger":{"MetricName":"ConnectedStatus","Dimensions":[{"value":"op-1","name":"OutpostId"}]}}`
)

func inSNS(message string) string {
	return fmt.Sprintf(`{"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:eu-west-1:123456789012:relight","Message":%q}`, message)
}

func newWaker() *aws.Waker {
	ours := map[string]string{"i-1": "lic-1", "i-2": "lic-2"}
	return aws.NewWaker(func(id string) (string, bool) { s, is := ours[id]; return s, is }, provider.WallClock{}, slog.New(slog.DiscardHandler))
}

// woken drains what a waker has delivered.
func woken(w *aws.Waker) string {
	var names []string
	for {
		select {
		case name := <-w.C():
			names = append(names, fmt.Sprintf("%q", name))
		default:
			return strings.Join(names, " ")
		}
	}
}

func TestEventsWake(t *testing.T) {
	for _, row := range []struct{ body, want string }{
		{stateChange, `"lic-1"`},
		{alarmEvent, `"lic-2"`},
		{health, `"lic-1" "lic-2"`},
		{alarmSNS, `"lic-1"`},
		{inSNS(alarmSNS), `"lic-1"`},
		{inSNS(stateChange), `"lic-1"`},
		{alarmNobody, `""`},
		{strings.ReplaceAll(stateChange, "i-1", "i-9"), ``},
		{inSNS(inSNS(alarmSNS)), ``},
		{`{"source":"aws.s3","detail":{"instance-id":"i-1"}}`, ``},
		{`{}`, ``},
		{`[]`, ``},
		{`no json`, ``},
		{``, ``},
		{`{"Type":"Notification","Message":"hello"}`, ``},
	} {
		w := newWaker()
		w.Take("m-1", row.body)
		if got := woken(w); got != row.want {
			t.Errorf("%s\nwakes %s, want %s", row.body, got, row.want)
		}
	}
}

func TestEventsAreCounted(t *testing.T) {
	w := newWaker()
	w.Take("1", stateChange)
	w.Take("1", stateChange)
	w.Take("2", "what?")
	w.Take("3", strings.ReplaceAll(stateChange, "i-1", "i-9"))
	w.Take("4", alarmNobody)
	w.Take("5", alarmNobody)
	if got, want := w.Counts(), (aws.Wakes{Woke: 1, Again: 1, Unknown: 1, Foreign: 1, All: 1, Late: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for n := range 2000 {
		w.Take(fmt.Sprint("flood ", n), stateChange) // nobody takes them: it must not block
	}
	if c := w.Counts(); c.Late < 900 {
		t.Errorf("%+v", c)
	}
}

// script is a queue that answers from a list, and then with nothing.
type script struct {
	mu      sync.Mutex
	replies []any
	deleted []string
}

func (s *script) Receive(ctx context.Context) ([]aws.Message, error) {
	s.mu.Lock()
	var next any
	if len(s.replies) > 0 {
		next, s.replies = s.replies[0], s.replies[1:]
	}
	s.mu.Unlock()
	switch r := next.(type) {
	case error:
		return nil, r
	case []aws.Message:
		return r, nil
	}
	select {
	case <-time.After(20 * time.Second):
	case <-ctx.Done():
	}
	return nil, ctx.Err()
}

func (s *script) Delete(_ context.Context, m aws.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleted = append(s.deleted, m.Receipt)
	return nil
}

// A queue that fails is asked again; what was read is deleted, understood or not.
func TestPollGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &script{replies: []any{
			errors.New("no such queue"), errors.New("no such queue"),
			[]aws.Message{{ID: "1", Receipt: "r1", Body: stateChange}, {ID: "2", Receipt: "r2", Body: "?"}, {ID: "1", Receipt: "r3", Body: stateChange}},
		}}
		w := newWaker()
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { w.Poll(ctx, q) })
		<-time.After(time.Minute)
		stop()
		wg.Wait()
		if got := woken(w); got != `"lic-1"` || len(q.deleted) != 3 {
			t.Errorf("woke %s, deleted %v", got, q.deleted)
		}
	})
}
