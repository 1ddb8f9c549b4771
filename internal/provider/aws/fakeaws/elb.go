package fakeaws

import (
	"cmp"
	"fmt"
	"strconv"

	"relight/internal/world"
)

const elbNamespace = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"

// group is a target group; its members are the world's.
type group struct {
	ARN, Name, VPC string
	Port           int
}

// AddGroup adds a target group of instances to account and world, and returns its ARN.
func (e *Endpoint) AddGroup(g world.Group, port int) string {
	arn := fmt.Sprintf("arn:aws:elasticloadbalancing:%s:%s:targetgroup/%s/0123456789abcdef", e.opt.Region, e.opt.Account, g.Name)
	e.locked(func() {
		e.w.AddGroup(g)
		e.cat.groups[arn] = &group{ARN: arn, Name: g.Name, Port: port}
	})
	return arn
}

func (e *Endpoint) elb(req request) (answer, error) {
	act, known := map[string]func(form) (any, error){
		"DescribeTargetGroups": e.describeGroups,
		"DescribeTargetHealth": e.describeHealth,
		"RegisterTargets":      e.registerTargets,
		"DeregisterTargets":    e.deregisterTargets,
	}[req.action]
	if !known {
		return answer{}, refuse("InvalidAction", "Could not find operation %s", req.action)
	}
	result, err := act(req.form)
	if err != nil {
		return answer{}, err
	}
	return queryReply(elbNamespace, req.action, result)
}

type targetGroupXML struct {
	ARN    string `xml:"TargetGroupArn"`
	Name   string `xml:"TargetGroupName"`
	Port   int    `xml:"Port"`
	Target string `xml:"TargetType"`
}

// members reads Key.member.1, Key.member.2 …
func (f form) members(key string) []string { return f.list(key + ".member") }

func (e *Endpoint) describeGroups(f form) (any, error) {
	arns, names := f.members("TargetGroupArns"), f.members("Names")
	size, from := f.int("PageSize", 400), f.int("Marker", 0)
	var out struct {
		Items []targetGroupXML `xml:"TargetGroups>member"`
		Next  string           `xml:"NextMarker,omitempty"`
	}
	for _, arn := range pick(arns, e.cat.groups) {
		g := e.cat.groups[arn]
		if g == nil {
			return nil, refuse("TargetGroupNotFound", "One or more target groups not found")
		}
		if len(names) == 0 || keep(map[string][]string{"n": names}, "n", g.Name) {
			out.Items = append(out.Items, targetGroupXML{arn, g.Name, g.Port, "instance"})
		}
	}
	if from > len(out.Items) {
		return nil, refuse("ValidationError", "Marker")
	}
	out.Items = out.Items[from:]
	if len(out.Items) > size {
		out.Items, out.Next = out.Items[:size], strconv.Itoa(from+size)
	}
	return out, nil
}

func (e *Endpoint) findGroup(f form) (*group, error) {
	g := e.cat.groups[f.get("TargetGroupArn")]
	if g == nil {
		return nil, refuse("TargetGroupNotFound", "Target groups '%s' not found", f.get("TargetGroupArn"))
	}
	return g, nil
}

type targetXML struct {
	ID   string `xml:"Id"`
	Port int    `xml:"Port"`
}

type healthXML struct {
	Target targetXML `xml:"Target"`
	Health struct {
		State  string `xml:"State"`
		Reason string `xml:"Reason,omitempty"`
	} `xml:"TargetHealth"`
}

func (e *Endpoint) describeHealth(f form) (any, error) {
	g, err := e.findGroup(f)
	if err != nil {
		return nil, err
	}
	members, err := e.w.Members(g.Name)
	if err != nil {
		return nil, err
	}
	var out struct {
		Items []healthXML `xml:"TargetHealthDescriptions>member"`
	}
	for _, m := range members {
		x := healthXML{Target: targetXML{m.Instance, cmp.Or(m.Port, g.Port)}}
		x.Health.State = string(m.State)
		switch m.State {
		case world.MemberUnhealthy:
			x.Health.Reason = "Target.FailedHealthChecks"
		case world.MemberDraining:
			x.Health.Reason = "Target.DeregistrationInProgress"
		case world.MemberInitial:
			x.Health.Reason = "Elb.RegistrationInProgress"
		default:
		}
		out.Items = append(out.Items, x)
	}
	return out, nil
}

func (e *Endpoint) targets(f form, do func(string, *world.Instance, int) error) (any, error) {
	g, err := e.findGroup(f)
	if err != nil {
		return nil, err
	}
	for _, t := range f.subs("Targets.member") {
		id := t.get("Id")
		i := e.w.Instance(id)
		if i == nil {
			return nil, refuse("InvalidTarget", "The following targets are not valid: '%s'", id)
		}
		port := t.int("Port", g.Port)
		if port == g.Port {
			port = 0 // the group's own need not be named
		}
		if err := do(g.Name, i, port); err != nil {
			return nil, refuse("InvalidTarget", "The following targets are not in a running state: '%s'", id)
		}
	}
	return struct{}{}, nil
}

func (e *Endpoint) registerTargets(f form) (any, error) { return e.targets(f, e.w.RegisterOn) }

func (e *Endpoint) deregisterTargets(f form) (any, error) { return e.targets(f, e.w.DeregisterFrom) }
