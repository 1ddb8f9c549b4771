package fakeaws

import (
	"context"
	"crypto/md5" //nolint:gosec // the service's own checksum, which the SDK compares
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"relight/internal/world"
)

// queue is a standard SQS queue: messages come at least once, in any order. One that
// was received is hidden for a while, and comes again unless it is deleted.
type queue struct {
	messages []message
	// arrived is closed when the next message comes.
	arrived chan struct{}
}

type message struct {
	id, body string
	hidden   time.Time
}

// hiddenFor is SQS's default visibility timeout.
const hiddenFor = 30 * time.Second

// AddQueue makes a queue and returns its URL path.
func (e *Endpoint) AddQueue(name string) string {
	path := "/" + e.opt.Account + "/" + name
	e.locked(func() { e.cat.queues[path] = &queue{arrived: make(chan struct{})} })
	return path
}

// Send puts a message into a queue, as EventBridge and SNS do.
func (e *Endpoint) Send(path, body string) {
	e.locked(func() { e.send(path, body) })
}

func (e *Endpoint) send(path, body string) {
	q := e.cat.queues[path]
	q.messages = append(q.messages, message{id: fmt.Sprintf("m-%06d", e.next()), body: body})
	close(q.arrived)
	q.arrived = make(chan struct{})
}

// SendStates has each change of an instance's state sent to a queue, as a rule of
// EventBridge for "EC2 Instance State-change Notification" does.
func (e *Endpoint) SendStates(path string) {
	e.locked(func() { e.cat.rules = append(e.cat.rules, path) })
}

// publish sends an instance's state to the queues of the rules. It hears of it in the
// middle of the world's own work, so that it only reads.
func (e *Endpoint) publish(ev world.Event) {
	i := e.w.Instance(ev.Instance)
	if ev.Instance == "" || i == nil || len(e.cat.rules) == 0 {
		return
	}
	body, _ := json.Marshal(map[string]any{ // strings always marshal
		"version": "0", "id": fmt.Sprintf("e-%06d", e.next()), "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2",
		"account": e.opt.Account, "time": ev.At.UTC().Format(time.RFC3339), "region": e.opt.Region,
		"resources": []string{"arn:aws:ec2:" + e.opt.Region + ":" + e.opt.Account + ":instance/" + i.ID},
		"detail":    map[string]string{"instance-id": i.ID, "state": i.PlatformState()},
	})
	for _, path := range e.cat.rules {
		e.send(path, string(body))
	}
}

// Queued is how many messages were not deleted yet.
func (e *Endpoint) Queued(path string) int {
	e.w.Lock()
	defer e.w.Unlock()
	return len(e.cat.queues[path].messages)
}

type sqsRequest struct {
	QueueURL            string `json:"QueueUrl"`
	ReceiptHandle       string
	MaxNumberOfMessages int
	WaitTimeSeconds     int
}

func (e *Endpoint) queueOf(in sqsRequest) *queue {
	i := strings.Index(in.QueueURL, "/"+e.opt.Account+"/")
	if i < 0 {
		return nil
	}
	return e.cat.queues[in.QueueURL[i:]]
}

func (e *Endpoint) sqs(req request) (answer, error) {
	var in sqsRequest
	if err := strictly(req.body, &in); err != nil {
		return answer{}, err
	}
	q := e.queueOf(in)
	if q == nil {
		return answer{}, refuse("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
	}
	switch req.action {
	case "ReceiveMessage":
		return jsonReply(map[string]any{"Messages": e.receive(q, max(in.MaxNumberOfMessages, 1))})
	case "DeleteMessage":
		for n, m := range q.messages {
			if m.id == in.ReceiptHandle {
				q.messages = append(q.messages[:n:n], q.messages[n+1:]...)
				break
			}
		}
		return jsonReply(map[string]any{})
	default:
		return answer{}, refuse("UnknownOperationException", "this endpoint has no %s", req.action)
	}
}

func (e *Endpoint) receive(q *queue, most int) (out []map[string]any) {
	now := e.w.Now()
	for n := range q.messages {
		m := &q.messages[n]
		if len(out) == most || now.Before(m.hidden) {
			continue
		}
		m.hidden = now.Add(hiddenFor)
		sum := md5.Sum([]byte(m.body)) //nolint:gosec // see the import
		out = append(out, map[string]any{"MessageId": m.id, "ReceiptHandle": m.id, "Body": m.body, "MD5OfBody": hex.EncodeToString(sum[:])})
	}
	return out
}

// await holds a receive call back until there is something to receive, or its time is
// up: on the wall's clock, whatever the world's is.
func (e *Endpoint) await(ctx context.Context, req request) {
	var in sqsRequest
	if req.service != "sqs" || req.action != "ReceiveMessage" || strictly(req.body, &in) != nil {
		return
	}
	timeout := time.NewTimer(time.Duration(in.WaitTimeSeconds) * time.Second)
	defer timeout.Stop()
	for {
		var arrived chan struct{}
		e.locked(func() {
			q := e.queueOf(in)
			if q == nil {
				return
			}
			arrived = q.arrived
			for _, m := range q.messages {
				if !e.w.Now().Before(m.hidden) {
					arrived = nil
				}
			}
		})
		if arrived == nil {
			return
		}
		select {
		case <-arrived:
		case <-timeout.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
