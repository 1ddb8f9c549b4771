package sdk

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws/examine"
)

// unTriable are actions that no dry run exists for, with what servers do them to.
type unTriable struct {
	actions, resources []string
}

// unTriables are those that the servers need.
func unTriables(servers []fleet.Server, partition string) []unTriable {
	groups := unTriable{actions: []string{"elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"}}
	zones := unTriable{actions: []string{"route53:ChangeResourceRecordSets"}}
	for _, s := range servers {
		for _, g := range s.Spec.Identity.Groups {
			groups.resources = append(groups.resources, g.ID)
		}
		for _, n := range s.Spec.Identity.Names {
			zones.resources = append(zones.resources, "arn:"+partition+":route53:::hostedzone/"+n.Zone)
		}
	}
	return slices.DeleteFunc([]unTriable{groups, zones}, func(u unTriable) bool { return len(u.resources) == 0 })
}

// simulated asks IAM's simulator for what cannot be tried. Where that may not be asked, or
// does not know, nothing is known.
func (c *Client) simulated(ctx context.Context, f *examine.Facts) {
	f.Principal = principalOf(f.Caller)
	_, rest, _ := strings.Cut(f.Caller, ":")
	partition, _, _ := strings.Cut(rest, ":")
	for _, u := range unTriables(f.Servers, cmp.Or(partition, "aws")) {
		slices.Sort(u.resources)
		answers := map[string]examine.Right{}
		for part := range slices.Chunk(slices.Compact(u.resources), 20) {
			if err := c.simulate(ctx, f.Principal, u.actions, part, answers); err != nil {
				for _, a := range u.actions {
					answers[a] = examine.Right{Action: a, Answer: examine.Unknown, Detail: "iam:SimulatePrincipalPolicy: " + cmp.Or(codeOf(err), err.Error())}
				}
				break
			}
		}
		for _, a := range u.actions {
			f.Rights = append(f.Rights, answers[a])
		}
	}
}

// principalOf is whose policies speak for a caller: of a session, those of its role. A path
// of the role is not in the session's name; IAM then says that there is no such role.
func principalOf(caller string) string {
	parts := strings.SplitN(caller, ":", 6)
	if len(parts) < 6 || parts[2] != "sts" {
		return caller
	}
	if name := strings.Split(parts[5], "/"); name[0] == "assumed-role" && len(name) > 1 {
		return strings.Join([]string{parts[0], parts[1], "iam", "", parts[4], "role/" + name[1]}, ":")
	}
	return caller
}

// decision is IAM's word on one action and one resource.
type decision struct {
	Action   string   `xml:"EvalActionName"`
	Resource string   `xml:"EvalResourceName"`
	Is       string   `xml:"EvalDecision"`
	Missing  []string `xml:"MissingContextValues>member"`
	// Each tells of one resource, where several were asked about.
	Each []struct {
		Resource string   `xml:"EvalResourceName"`
		Is       string   `xml:"EvalResourceDecision"`
		Missing  []string `xml:"MissingContextValues>member"`
	} `xml:"ResourceSpecificResults>member"`
}

// simulate asks about actions on resources; the worst answer to each counts.
func (c *Client) simulate(ctx context.Context, principal string, actions, resources []string, answers map[string]examine.Right) error {
	in := url.Values{"PolicySourceArn": {principal}}
	for n, a := range actions {
		in.Set(fmt.Sprintf("ActionNames.member.%d", n+1), a)
	}
	for n, r := range resources {
		in.Set(fmt.Sprintf("ResourceArns.member.%d", n+1), r)
	}
	for marker := ""; ; {
		var out struct {
			Results []decision `xml:"SimulatePrincipalPolicyResult>EvaluationResults>member"`
			More    bool       `xml:"SimulatePrincipalPolicyResult>IsTruncated"`
			Marker  string     `xml:"SimulatePrincipalPolicyResult>Marker"`
		}
		if marker != "" {
			in.Set("Marker", marker)
		}
		if err := c.query(ctx, "iam", "2010-05-08", "SimulatePrincipalPolicy", in, &out); err != nil {
			return err
		}
		for _, d := range out.Results {
			decided(answers, d.Action, d.Resource, d.Is, d.Missing)
			for _, r := range d.Each {
				decided(answers, d.Action, r.Resource, r.Is, r.Missing)
			}
		}
		if marker = out.Marker; !out.More || marker == "" {
			break
		}
	}
	for _, a := range actions {
		if _, told := answers[a]; !told {
			answers[a] = examine.Right{Action: a, Answer: examine.Unknown, Detail: "iam:SimulatePrincipalPolicy says nothing of it"}
		}
	}
	return nil
}

// decided notes a decision, unless a worse one is known. A policy that turns on what the
// simulator was not told (a tag, an address) may still allow what it does not allow here.
func decided(answers map[string]examine.Right, action, resource, is string, missing []string) {
	r := examine.Right{Action: action, Answer: examine.Denied}
	switch {
	case is == "allowed":
		r.Answer = examine.Allowed
	case len(missing) > 0:
		r.Answer, r.Detail = examine.Unknown, "it turns on "+strings.Join(missing, ", ")
	case is == "explicitDeny":
		r.Detail = "a policy denies it: " + action + " on " + resource
	default:
		r.Detail = "no policy allows it: " + action + " on " + resource
	}
	was, told := answers[action]
	if !told || was.Answer == examine.Allowed || r.Answer == examine.Denied {
		answers[action] = r
	}
}
