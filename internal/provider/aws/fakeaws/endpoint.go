package fakeaws

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// Options are what an Endpoint needs. World, Account and Region are required.
type Options struct {
	World *world.World
	// Account is twelve digits, Region a name such as eu-west-1.
	Account, Region string
	// Wait holds a reply back that comes late; nil answers at once.
	Wait func(context.Context, time.Duration)
	// OnCall hears of each call after it was answered, under no lock. Nil means nobody.
	OnCall func(Entry)
}

// Endpoint answers the calls of one account in one region. It is an http.Handler,
// safe for concurrent use; everything that it knows is guarded by the world's lock.
type Endpoint struct {
	opt Options
	w   *world.World
	cat *catalogue

	ledger []Entry
	denied map[string]bool
	seq    int
	// ended is set when a machine has ended since the last look.
	ended bool
}

// Entry is one call in the ledger.
type Entry struct {
	At              time.Time
	Service, Action string
	// Code is the error's, or empty.
	Code string
	// Form is what was asked, for the query protocols.
	Form url.Values
}

// New returns an endpoint without resources; see the Add methods.
func New(o Options) *Endpoint {
	e := &Endpoint{opt: o, w: o.World, cat: newCatalogue(), denied: map[string]bool{}}
	o.World.Watch(func(ev world.Event) {
		e.ended = e.ended || ev.What == string(fleet.InstanceTerminated)
		e.publish(ev)
	})
	return e
}

// sweep deletes what EC2 deletes with an instance: the interface that it made for it,
// with which an elastic address loses its way.
func (e *Endpoint) sweep() {
	if !e.ended {
		return
	}
	e.ended = false
	for _, id := range sorted(e.cat.machines) {
		m := e.cat.machines[id]
		n := e.cat.interfaces[m.Primary]
		if !gone(e.w.Instance(id)) || n == nil || !n.DeleteOnEnd {
			continue
		}
		for _, a := range e.cat.addresses { // order: each is changed by itself
			if e.w.Address(a.IP).Interface == m.Primary {
				e.w.Disassociate(a.IP)
			}
		}
		if e.w.DeleteInterface(m.Primary) == nil {
			delete(e.cat.interfaces, m.Primary)
		}
	}
}

// Ledger returns all calls so far, oldest first.
func (e *Endpoint) Ledger() []Entry {
	e.w.Lock()
	defer e.w.Unlock()
	return append([]Entry(nil), e.ledger...)
}

// Deny has calls of an action ("ec2:RunInstances") refused for want of rights.
func (e *Endpoint) Deny(action string) {
	e.locked(func() { e.Refuse(action, true) })
}

// Allow ends a Deny.
func (e *Endpoint) Allow(action string) {
	e.locked(func() { e.Refuse(action, false) })
}

// Refuse is Deny, or Allow, for those who hold the world's lock.
func (e *Endpoint) Refuse(action string, is bool) { e.denied[action] = is }

// Services are those that this endpoint has, by the names that rights of IAM begin with.
func (e *Endpoint) Services() []string {
	var out []string
	for name := range e.actions() {
		out = append(out, cmp.Or(rightsOf[name], name))
	}
	slices.Sort(out)
	return out
}

// rightsOf are the services that IAM calls otherwise than signatures do.
var rightsOf = map[string]string{"monitoring": "cloudwatch"}

// right is what IAM calls the action.
func (req request) right() string {
	action := req.action
	if req.service == "route53" {
		action = recordAction(req.http.Method, strings.Split(strings.Trim(strings.TrimPrefix(req.http.URL.Path, route53Path), "/"), "/"))
	}
	return cmp.Or(rightsOf[req.service], req.service) + ":" + action
}

// request is one call as it came.
type request struct {
	service, action string
	form            form
	body            []byte
	http            *http.Request
}

// answer is what goes back: a body with its type, or an error of AWS.
type answer struct {
	contentType string
	body        []byte
	header      http.Header
}

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	req, err := parse(r)
	var (
		out  answer
		late time.Duration
	)
	if err == nil {
		e.await(r.Context(), req)
		out, late, err = e.serve(req)
	}
	code := e.note(req, err)
	if late > 0 && e.opt.Wait != nil {
		e.opt.Wait(r.Context(), late)
	}
	switch {
	case code == codeNoReply:
		// A reply that is lost: the connection ends without a word.
		panic(http.ErrAbortHandler)
	case err != nil:
		err = worded(req, asFault(err))
		out = fault(req, err)
	}
	for k, v := range out.header {
		rw.Header()[k] = v
	}
	rw.Header().Set("Content-Type", out.contentType)
	if err != nil {
		rw.WriteHeader(statusOf(err))
	}
	_, _ = rw.Write(out.body) // whoever hung up wants no answer
}

// note writes the ledger and returns the error's code.
func (e *Endpoint) note(req request, err error) string {
	code := ""
	if err != nil {
		code = asFault(err).Code
	}
	e.w.Lock()
	entry := Entry{At: e.w.Now(), Service: req.service, Action: req.action, Code: code, Form: req.form.values}
	e.ledger = append(e.ledger, entry)
	e.w.Unlock()
	if e.opt.OnCall != nil {
		e.opt.OnCall(entry)
	}
	return code
}

// maxBody is more than any request of ours.
const maxBody = 1 << 20

// parse finds the service by the signature's scope and the action by the protocol.
func parse(r *http.Request) (request, error) {
	req := request{http: r, service: scopeOf(r.Header.Get("Authorization"))}
	if req.service == "" {
		return req, &Fault{Code: "MissingAuthenticationToken", Message: "the request is not signed", Status: http.StatusForbidden}
	}
	if r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor" {
		// CloudWatch's newest clients speak it; botocore and ours do not.
		return req, &Fault{Code: "UnsupportedProtocol", Message: "this endpoint does not speak CBOR"}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return req, &Fault{Code: "RequestTimeout", Message: err.Error()}
	}
	req.body = body
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		_, req.action, _ = strings.Cut(target, ".")
		return req, nil
	}
	switch req.service {
	case "route53":
		req.action = r.Method + " " + r.URL.Path
		return req, nil
	case "outposts":
		req.action, _ = outpostAction(r)
		return req, nil
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return req, &Fault{Code: "MalformedQueryString", Message: err.Error()}
	}
	for k, v := range r.URL.Query() {
		values[k] = v
	}
	req.form = form{values: values}
	req.action = values.Get("Action")
	if req.action == "" {
		return req, &Fault{Code: "MissingAction", Message: "the request names no action"}
	}
	return req, nil
}

// scopeOf returns the service of a version 4 signature.
func scopeOf(authorization string) string {
	_, credential, ok := strings.Cut(authorization, "Credential=")
	parts := strings.Split(credential, "/")
	if !ok || len(parts) < 5 {
		return ""
	}
	return parts[3]
}

// serve carries a call out as the world allows.
func (e *Endpoint) serve(req request) (answer, time.Duration, error) {
	act, known := e.actions()[req.service]
	if !known {
		return answer{}, 0, &Fault{Code: "UnknownService", Message: "this endpoint has no service " + req.service}
	}
	if err := req.form.unknown(req.action); err != nil {
		return answer{}, 0, err
	}
	e.w.Lock()
	defer e.w.Unlock()
	e.w.RunUntil(e.w.Now()) // behind a wall clock, what is due happens first
	e.sweep()
	if e.denied[req.right()] {
		return answer{}, 0, e.unauthorized(req)
	}
	var out answer
	reply := e.w.Call(world.Call{API: bucketOf(req), Sites: e.sitesOf(req), Objects: objectsOf(req)}, func() error {
		var err error
		out, err = act(req)
		return err
	})
	return out, reply.After, reply.Err
}

// actions are the services with their dispatchers.
func (e *Endpoint) actions() map[string]func(request) (answer, error) {
	return map[string]func(request) (answer, error){
		"ec2":                  e.ec2,
		"elasticloadbalancing": e.elb,
		"route53":              e.route53,
		"sts":                  e.sts,
		"autoscaling":          e.autoscaling,
		"servicequotas":        e.servicequotas,
		"sqs":                  e.sqs,
		"kms":                  e.kms,
		"monitoring":           e.monitoring,
		"iam":                  e.iam,
		"outposts":             e.outposts,
	}
}

// crowded are the lists that have a smaller bucket where they name nothing and are not paged.
var crowded = []string{"DescribeInstances", "DescribeInstanceStatus", "DescribeVolumes", "DescribeNetworkInterfaces"}

// bucketOf is the token bucket of a call: Route 53 has one for all.
func bucketOf(req request) string {
	if req.service == "route53" {
		return world.Route53
	}
	if req.service != "ec2" || !slices.Contains(crowded, req.action) {
		return req.action
	}
	for k := range req.form.values {
		if strings.HasPrefix(k, "Filter.") || k == "MaxResults" || strings.Contains(k, "Id.") || k == "NextToken" {
			return req.action
		}
	}
	return req.action + world.Unfiltered
}

// objectsOf is how many resource tokens a call costs.
func objectsOf(req request) int {
	switch req.action {
	case "RunInstances":
		return req.form.peekInt("MinCount", 1)
	case "StartInstances", "StopInstances", "TerminateInstances":
		return len(req.form.peekList("InstanceId"))
	default:
		return 0
	}
}

// next makes the number of a fresh identifier.
func (e *Endpoint) next() int {
	e.seq++
	return e.seq
}
