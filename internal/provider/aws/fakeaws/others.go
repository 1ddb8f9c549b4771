package fakeaws

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the service's own checksum, which the SDK compares
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

func (e *Endpoint) sts(req request) (answer, error) {
	if req.action == "DecodeAuthorizationMessage" {
		return e.decode(req)
	}
	if req.action != "GetCallerIdentity" {
		return answer{}, refuse("InvalidAction", "this endpoint has no %s", req.action)
	}
	return queryReply("https://sts.amazonaws.com/doc/2011-06-15/", req.action, struct {
		ARN     string `xml:"Arn"`
		User    string `xml:"UserId"`
		Account string `xml:"Account"`
	}{e.caller(), "AROAFAKE:relight", e.opt.Account})
}

type scalingXML struct {
	Instance  string `xml:"InstanceId"`
	Group     string `xml:"AutoScalingGroupName"`
	State     string `xml:"LifecycleState"`
	Health    string `xml:"HealthStatus"`
	Protected bool   `xml:"ProtectedFromScaleIn"`
	Zone      string `xml:"AvailabilityZone"`
}

func (e *Endpoint) autoscaling(req request) (answer, error) {
	if req.action != "DescribeAutoScalingInstances" {
		return answer{}, refuse("InvalidAction", "this endpoint has no %s", req.action)
	}
	var out struct {
		Items []scalingXML `xml:"AutoScalingInstances>member"`
	}
	for _, id := range pick(req.form.members("InstanceIds"), e.cat.scaling) {
		if g, owned := e.cat.scaling[id]; owned {
			out.Items = append(out.Items, scalingXML{Instance: id, Group: g, State: "InService", Health: "HEALTHY", Zone: e.zoneOf(e.w.Instance(id).Host)})
		}
	}
	return queryReply("http://autoscaling.amazonaws.com/doc/2011-01-01/", req.action, out)
}

// SetQuota sets the value of a service quota by its code, such as L-1216C47A.
func (e *Endpoint) SetQuota(code string, value float64) {
	e.locked(func() { e.cat.quotas[code] = value })
}

func (e *Endpoint) servicequotas(req request) (answer, error) {
	var in struct{ ServiceCode, QuotaCode string }
	if err := strictly(req.body, &in); err != nil {
		return answer{}, err
	}
	if req.action != "GetServiceQuota" {
		return answer{}, refuse("UnknownOperationException", "this endpoint has no %s", req.action)
	}
	v, is := e.cat.quotas[in.QuotaCode]
	if !is {
		return answer{}, refuse("NoSuchResourceException", "no quota %s", in.QuotaCode)
	}
	return jsonReply(map[string]any{"Quota": map[string]any{"ServiceCode": in.ServiceCode, "QuotaCode": in.QuotaCode, "Value": v}})
}

// strictly reads a JSON request and refuses fields that its action does not know.
func strictly(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return refuse("SerializationException", "%v", err)
	}
	return nil
}

// queue is a standard SQS queue: messages come at least once, in any order.
type queue struct {
	messages []message
}

type message struct{ id, body string }

// AddQueue makes a queue and returns its URL path.
func (e *Endpoint) AddQueue(name string) string {
	path := "/" + e.opt.Account + "/" + name
	e.locked(func() { e.cat.queues[path] = &queue{} })
	return path
}

// Send puts a message into a queue, as EventBridge and SNS do.
func (e *Endpoint) Send(path, body string) {
	e.locked(func() {
		q := e.cat.queues[path]
		q.messages = append(q.messages, message{fmt.Sprintf("m-%06d", e.next()), body})
	})
}

// Queued is how many messages were not deleted yet.
func (e *Endpoint) Queued(path string) int {
	e.w.Lock()
	defer e.w.Unlock()
	return len(e.cat.queues[path].messages)
}

func (e *Endpoint) sqs(req request) (answer, error) {
	var in struct {
		QueueURL            string `json:"QueueUrl"`
		ReceiptHandle       string
		MaxNumberOfMessages int
	}
	if err := strictly(req.body, &in); err != nil {
		return answer{}, err
	}
	i := strings.Index(in.QueueURL, "/"+e.opt.Account+"/")
	if i < 0 || e.cat.queues[in.QueueURL[i:]] == nil {
		return answer{}, refuse("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
	}
	q := e.cat.queues[in.QueueURL[i:]]
	switch req.action {
	case "ReceiveMessage":
		var out []map[string]any
		for _, m := range q.messages[:min(len(q.messages), max(in.MaxNumberOfMessages, 1))] {
			sum := md5.Sum([]byte(m.body)) //nolint:gosec // see the import
			out = append(out, map[string]any{"MessageId": m.id, "ReceiptHandle": m.id, "Body": m.body, "MD5OfBody": hex.EncodeToString(sum[:])})
		}
		return jsonReply(map[string]any{"Messages": out})
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
