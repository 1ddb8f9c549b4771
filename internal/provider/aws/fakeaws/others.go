package fakeaws

import (
	"bytes"
	"cmp"
	"encoding/json"
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

// serviceQuota is one quota of an account; api is the call whose rate it is, or empty.
type serviceQuota struct {
	value float64
	api   string
}

// SetQuota sets the value of a quota of EC2 by its code, such as L-1216C47A.
func (e *Endpoint) SetQuota(code string, value float64) {
	e.locked(func() { e.cat.quotas[code] = serviceQuota{value: value} })
}

// SetRateQuota sets a quota of EC2 that is the rate of one of its calls.
func (e *Endpoint) SetRateQuota(code, api string, perSecond float64) {
	e.locked(func() { e.cat.quotas[code] = serviceQuota{perSecond, api} })
}

func (q serviceQuota) json(code string) map[string]any {
	out := map[string]any{"ServiceCode": "ec2", "QuotaCode": code, "Value": q.value, "Unit": "None"}
	if q.api != "" {
		out["Period"] = map[string]any{"PeriodUnit": "SECOND", "PeriodValue": 1}
		out["UsageMetric"] = map[string]any{
			"MetricNamespace": "AWS/Usage", "MetricName": "CallCount",
			"MetricDimensions": map[string]string{"Service": "EC2", "Type": "API", "Resource": q.api, "Class": "None"},
		}
	}
	return out
}

func (e *Endpoint) servicequotas(req request) (answer, error) {
	var in struct {
		ServiceCode, QuotaCode, NextToken string
		MaxResults                        int
	}
	if err := strictly(req.body, &in); err != nil {
		return answer{}, err
	}
	switch req.action {
	case "GetServiceQuota":
		q, is := e.cat.quotas[in.QuotaCode]
		if !is || in.ServiceCode != "ec2" {
			return answer{}, refuse("NoSuchResourceException", "no quota %s", in.QuotaCode)
		}
		return jsonReply(map[string]any{"Quota": q.json(in.QuotaCode)})
	case "ListServiceQuotas":
		out := []map[string]any{}
		reply := map[string]any{}
		if in.ServiceCode == "ec2" {
			size := cmp.Or(in.MaxResults, 100)
			for _, code := range sorted(e.cat.quotas) {
				if code <= in.NextToken {
					continue
				}
				if len(out) == size {
					reply["NextToken"] = out[size-1]["QuotaCode"]
					break
				}
				out = append(out, e.cat.quotas[code].json(code))
			}
		}
		reply["Quotas"] = out
		return jsonReply(reply)
	default:
		return answer{}, refuse("UnknownOperationException", "this endpoint has no %s", req.action)
	}
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
