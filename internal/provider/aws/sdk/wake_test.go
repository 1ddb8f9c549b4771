package sdk_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
)

// What waits in a queue is received, hidden, and comes again unless it is deleted; a
// receive call ends as soon as something comes.
func TestQueueOverTheWire(t *testing.T) {
	a := newAccount(t, nil)
	path := a.fake.AddQueue("events")
	q := a.cloud.Queue("https://sqs.eu-west-1.amazonaws.com" + path)
	receive := func(want int) []awsprovider.Message {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		list, err := q.Receive(ctx)
		if err != nil || len(list) != want {
			t.Fatalf("%d messages, want %d: %v", len(list), want, err)
		}
		return list
	}
	go a.fake.Send(path, "one") // it may come before or after the call: both must end it
	first := receive(1)[0]
	a.fake.Send(path, "two")
	if second := receive(1)[0]; second.Body != "two" || second.ID == first.ID {
		t.Errorf("%+v after %+v", second, first)
	}
	a.locked(func() { a.w.Advance(time.Minute) })
	if again := receive(2); again[0] != first && again[1] != first {
		t.Errorf("what was not deleted does not come again: %+v", again)
	}
	for _, m := range []awsprovider.Message{first, first} {
		if err := q.Delete(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
	if n := a.fake.Queued(path); n != 1 {
		t.Errorf("%d messages left, want 1", n)
	}
	if _, err := a.cloud.Queue("https://sqs.eu-west-1.amazonaws.com/123456789012/none").Receive(t.Context()); err == nil {
		t.Error("a queue that is not there is read")
	}
}

// TestDET_ALARM: an event has its server looked at at once, long before the sweep; it
// decides nothing by itself, whatever it says.
func TestDET_ALARM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := make(chan string, 10)
		l := newLiveAs(t, evenly, liveOptions{sweep: 5 * time.Minute, queue: queue})
		names := l.declare(2)
		queue <- `{"AlarmName":"none","Trigger":{}}` // both are seen to run, for who has nobody to name looks at all
		l.until(20*time.Minute, names, 1)
		event := func(id string) string {
			return fmt.Sprintf(`{"source":"aws.ec2","detail-type":"EC2 Instance State-change Notification","detail":{"instance-id":%q,"state":"terminated"}}`, id)
		}
		var ids []string
		l.locked(func() { ids = []string{l.w.Find(names[0], 1).ID, l.w.Find(names[1], 1).ID} })
		starts := func() (n int) {
			for _, e := range l.fake.Ledger() {
				if e.Action == "TerminateInstances" || e.Action == "StopInstances" || e.Action == "RunInstances" {
					n++
				}
			}
			return n
		}
		before := starts()
		queue <- event(ids[0]) // a lie
		<-time.After(time.Minute)
		if starts() != before {
			t.Fatal("an event was believed")
		}
		<-time.After(5 * time.Minute) // the next sweep was just now
		l.locked(func() {
			l.w.RunUntil(l.w.Now())
			_ = l.w.Kill(l.w.Find(names[1], 1))
			l.w.RunUntil(l.w.Now())
		})
		killed := time.Now()
		queue <- event(ids[1])
		l.until(20*time.Minute, names[1:], 2)
		for _, e := range l.fake.Ledger() {
			if e.Action == "RunInstances" && e.At.After(killed) {
				if d := e.At.Sub(killed); d > time.Minute {
					t.Errorf("the next epoch was launched %s after the event", d)
				}
				return
			}
		}
		t.Error("nothing was launched")
	})
}

// chanQueue is a queue in memory.
type chanQueue chan string

// Receive implements awsprovider.Queue.
func (q chanQueue) Receive(ctx context.Context) ([]awsprovider.Message, error) {
	select {
	case body := <-q:
		return []awsprovider.Message{{Body: body}}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Delete implements awsprovider.Queue.
func (q chanQueue) Delete(context.Context, awsprovider.Message) error { return nil }

// waker has the provider woken by a queue.
func (l *live) waker(ctx context.Context, q awsprovider.Queue) <-chan string {
	w := awsprovider.NewWaker(func(id string) (string, bool) { return l.p.ServerOf(id) }, provider.WallClock{}, slog.New(slog.DiscardHandler))
	go w.Poll(ctx, q)
	return w.C()
}
