package fakeaws

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// Key is a KMS key.
type Key struct {
	// State is Enabled, Disabled or PendingDeletion.
	State string
	// Managed keys are AWS's own.
	Managed bool
}

// AddKey adds a KMS key by its ARN.
func (e *Endpoint) AddKey(arn string, k Key) { e.locked(func() { e.cat.keys[arn] = k }) }

// kms answers the questions of a doctor; grants are only tried.
func (e *Endpoint) kms(req request) (answer, error) {
	var in struct {
		KeyID  string `json:"KeyId"`
		DryRun bool
	}
	if err := json.Unmarshal(req.body, &in); err != nil {
		return answer{}, refuse("SerializationException", "%v", err)
	}
	k, is := e.cat.keys[in.KeyID]
	switch {
	case !is:
		return answer{}, refuse("NotFoundException", "Key '%s' does not exist", in.KeyID)
	case req.action == "DescribeKey":
		manager := "CUSTOMER"
		if k.Managed {
			manager = "AWS"
		}
		return jsonReply(map[string]any{"KeyMetadata": map[string]any{"Arn": in.KeyID, "KeyId": in.KeyID, "KeyState": k.State, "KeyManager": manager, "Enabled": k.State == "Enabled"}})
	case req.action == "CreateGrant" && in.DryRun:
		return answer{}, &Fault{Code: "DryRunOperationException", Message: "The request would have succeeded, but the DryRun parameter was set to true.", Status: 412}
	default:
		return answer{}, refuse("UnknownOperationException", "this endpoint has no %s", req.action)
	}
}

// Alarm is a CloudWatch alarm with an action on an instance. It never fires here.
type Alarm struct{ Name, Instance, Action string }

// AddAlarm adds an alarm whose action is recover, reboot, stop or terminate.
func (e *Endpoint) AddAlarm(a Alarm) { e.locked(func() { e.cat.alarms = append(e.cat.alarms, a) }) }

type alarmXML struct {
	Name       string         `xml:"AlarmName" json:"AlarmName"`
	Enabled    bool           `xml:"ActionsEnabled" json:"ActionsEnabled"`
	Actions    []string       `xml:"AlarmActions>member" json:"AlarmActions"`
	Dimensions []dimensionXML `xml:"Dimensions>member" json:"Dimensions"`
}

type dimensionXML struct {
	Name  string `xml:"Name" json:"Name"`
	Value string `xml:"Value" json:"Value"`
}

// monitoring speaks two of CloudWatch's protocols: query, as our own client does, and the
// JSON that botocore prefers.
func (e *Endpoint) monitoring(req request) (answer, error) {
	if req.action != "DescribeAlarms" {
		return answer{}, refuse("InvalidAction", "this endpoint has no %s", req.action)
	}
	in := struct {
		ActionPrefix, NextToken string
		MaxRecords              int
	}{ActionPrefix: req.form.get("ActionPrefix")}
	if isJSON(req) {
		if err := strictly(req.body, &in); err != nil {
			return answer{}, err
		}
	}
	out := struct {
		Alarms []alarmXML `xml:"MetricAlarms>member" json:"MetricAlarms"`
	}{[]alarmXML{}}
	for _, a := range e.cat.alarms {
		action := "arn:aws:automate:" + e.opt.Region + ":ec2:" + a.Action
		if strings.HasPrefix(action, in.ActionPrefix) {
			out.Alarms = append(out.Alarms, alarmXML{Name: a.Name, Enabled: true, Actions: []string{action}, Dimensions: []dimensionXML{{"InstanceId", a.Instance}}})
		}
	}
	if isJSON(req) {
		return jsonReply(out)
	}
	return queryReply("http://monitoring.amazonaws.com/doc/2010-08-01/", req.action, out)
}

// Reservation is reserved capacity, as a describe call tells of it. It gives no launch
// any room here.
type Reservation struct {
	ID, Type, Zone string
	Free           int
}

// AddReservation adds reserved capacity.
func (e *Endpoint) AddReservation(r Reservation) {
	e.locked(func() { e.cat.reserved = append(e.cat.reserved, r) })
}

func (e *Endpoint) describeReserved(f form) (any, error) {
	filters := f.filters()
	if err := known(filters, "state"); err != nil {
		return nil, err
	}
	type item struct {
		ID    string `xml:"capacityReservationId"`
		Type  string `xml:"instanceType"`
		Zone  string `xml:"availabilityZone"`
		Free  int    `xml:"availableInstanceCount"`
		State string `xml:"state"`
	}
	var out struct {
		Items []item `xml:"capacityReservationSet>item"`
		Next  string `xml:"nextToken,omitempty"`
	}
	for _, r := range e.cat.reserved {
		if keep(filters, "state", "active") {
			out.Items = append(out.Items, item{r.ID, r.Type, r.Zone, r.Free, "active"})
		}
	}
	var err error
	out.Items, out.Next, err = page(f, out.Items, 1000)
	return out, err
}

// sealed is the part of a refusal that only sts opens.
func (e *Endpoint) sealed(action string) string {
	raw, _ := json.Marshal(map[string]any{"allowed": false, "explicitDeny": true, "context": map[string]any{ // strings always marshal
		"principal": map[string]any{"arn": e.caller()}, "action": action, "resource": "*",
	}})
	return "Encoded authorization failure message: " + base64.StdEncoding.EncodeToString(raw)
}

// caller is a session of a role, as of an instance's profile.
func (e *Endpoint) caller() string {
	return "arn:aws:sts::" + e.opt.Account + ":assumed-role/relight/session"
}

func (e *Endpoint) decode(req request) (answer, error) {
	raw, err := base64.StdEncoding.DecodeString(req.form.get("EncodedMessage"))
	if err != nil {
		return answer{}, refuse("InvalidAuthorizationMessageException", "%v", err)
	}
	return queryReply("https://sts.amazonaws.com/doc/2011-06-15/", req.action, struct {
		Message string `xml:"DecodedMessage"`
	}{string(raw)})
}

// dryRun answers as if the action had been allowed, and for a launch asks for the role
// of its profile too.
func (e *Endpoint) dryRun(req request) error {
	if req.action == "RunInstances" && e.denied["iam:PassRole"] {
		if o, err := e.orderOf(req.form); err == nil && o.Profile != "" {
			return e.unauthorized(request{service: "iam", action: "PassRole"})
		}
	}
	return &Fault{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: 412}
}
