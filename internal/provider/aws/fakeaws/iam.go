package fakeaws

import (
	"net/http"
	"slices"
	"strings"
)

// simulatedXML is IAM's word on one action and one resource.
type simulatedXML struct {
	Action   string   `xml:"EvalActionName"`
	Resource string   `xml:"EvalResourceName"`
	Decision string   `xml:"EvalDecision"`
	Missing  []string `xml:"MissingContextValues>member"`
}

// simulatedPage is how much is told at once: IAM may tell less than it could.
const simulatedPage = 2

// iam is the simulator of policies. The one role of this account may do all that is not
// denied; a right that turns on a condition is one that the simulator was not told of.
func (e *Endpoint) iam(req request) (answer, error) {
	if req.action != "SimulatePrincipalPolicy" {
		return answer{}, refuse("InvalidAction", "this endpoint has no %s", req.action)
	}
	switch principal := req.form.get("PolicySourceArn"); {
	case strings.Contains(principal, ":assumed-role/"):
		return answer{}, refuse("InvalidInput", "Invalid Entity Arn: %s does not clearly define entity type and name.", principal)
	case principal != "arn:aws:iam::"+e.opt.Account+":role/relight":
		return answer{}, &Fault{Code: "NoSuchEntity", Message: "The entity " + principal + " cannot be found.", Status: http.StatusNotFound}
	}
	resources := req.form.members("ResourceArns")
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	var all []simulatedXML
	for _, a := range req.form.members("ActionNames") {
		for _, r := range resources {
			x := simulatedXML{Action: a, Resource: r, Decision: "allowed"}
			if e.denied[a] {
				x.Decision = "explicitDeny"
			}
			if key := e.cat.conditions[a]; key != "" {
				x.Decision, x.Missing = "implicitDeny", []string{key}
			}
			all = append(all, x)
		}
	}
	out := struct {
		Results []simulatedXML `xml:"EvaluationResults>member"`
		More    bool           `xml:"IsTruncated"`
		Marker  string         `xml:"Marker,omitempty"`
	}{}
	from := slices.IndexFunc(all, func(x simulatedXML) bool { return x.Action+" "+x.Resource == req.form.get("Marker") }) + 1
	if out.Results = all[from:]; len(out.Results) > simulatedPage {
		last := all[from+simulatedPage-1]
		out.Results, out.More, out.Marker = all[from:from+simulatedPage], true, last.Action+" "+last.Resource
	}
	return queryReply("https://iam.amazonaws.com/doc/2010-05-08/", req.action, out)
}

// TurnOn has the policy that allows an action ask for a context key, of which IAM's
// simulator is told nothing.
func (e *Endpoint) TurnOn(action, key string) { e.locked(func() { e.cat.conditions[action] = key }) }
