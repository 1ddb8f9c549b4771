package aws

import (
	"encoding/json"
	"slices"
	"strings"
)

// event is what a message says of where to look: at these instances, or at all of
// ours if it names none.
type event struct{ instances []string }

// envelope holds the fields by which the known messages differ: events of EventBridge
// (instance state, health, scheduled changes, alarms), an alarm's own notification,
// and either of them in a notification of SNS.
type envelope struct {
	// SNS.
	Type, Message string
	// EventBridge.
	Source     string   `json:"source"`
	DetailType string   `json:"detail-type"`
	Resources  []string `json:"resources"`
	Detail     struct {
		Instance  string `json:"instance-id"`
		AlarmName string `json:"alarmName"`
		Config    struct {
			Metrics []struct {
				Stat struct {
					Metric struct {
						Dimensions map[string]string `json:"dimensions"`
					} `json:"metric"`
				} `json:"metricStat"`
			} `json:"metrics"`
		} `json:"configuration"`
		Affected []struct {
			Value string `json:"entityValue"`
		} `json:"affectedEntities"`
	} `json:"detail"`
	// An alarm's notification.
	AlarmName string
	Trigger   struct {
		Dimensions []dimension
		// Of an alarm on an expression over several metrics.
		Metrics []struct {
			MetricStat struct {
				Metric struct{ Dimensions []dimension }
			}
		}
	}
}

type dimension struct{ Name, Value string }

// parseEvent reads a message. It reports false for one that it does not know.
func parseEvent(body string) (event, bool) { return parseWithin(body, true) }

func parseWithin(body string, wrapped bool) (event, bool) {
	var m envelope
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return event{}, false
	}
	switch {
	case m.Type == "Notification" && m.Message != "" && wrapped:
		return parseWithin(m.Message, false)
	case m.Source == "aws.ec2", m.Source == "aws.health", m.Source == "aws.cloudwatch" && m.Detail.AlarmName != "":
		return event{m.named()}, true
	case m.Source == "" && m.AlarmName != "":
		return event{m.named()}, true
	default:
		return event{}, false
	}
}

// named lists the instances that a message names, wherever it does.
func (m *envelope) named() []string {
	ids := []string{m.Detail.Instance}
	for _, arn := range m.Resources {
		_, id, _ := strings.Cut(arn, ":instance/")
		ids = append(ids, id)
	}
	for _, a := range m.Detail.Affected {
		ids = append(ids, a.Value)
	}
	for _, metric := range m.Detail.Config.Metrics {
		ids = append(ids, metric.Stat.Metric.Dimensions["InstanceId"])
	}
	dimensions := slices.Clone(m.Trigger.Dimensions)
	for _, metric := range m.Trigger.Metrics {
		dimensions = append(dimensions, metric.MetricStat.Metric.Dimensions...)
	}
	for _, d := range dimensions {
		if d.Name == "InstanceId" {
			ids = append(ids, d.Value)
		}
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, "i-") })
	slices.Sort(ids)
	return slices.Compact(ids)
}
