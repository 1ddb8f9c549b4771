package fakeaws

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hostedZone holds the records that were asked for; what name servers answer, and
// when, is the world's.
type hostedZone struct {
	ID, Name string
	Records  map[string]recordSet // by name and type
}

type recordSet struct {
	Name    string      `xml:"Name"`
	Type    string      `xml:"Type"`
	TTL     int64       `xml:"TTL,omitempty"`
	Records []recordXML `xml:"ResourceRecords>ResourceRecord"`
}

type recordXML struct {
	Value string `xml:"Value"`
}

// AddZone adds a hosted zone; its name ends with a dot.
func (e *Endpoint) AddZone(id, name string) {
	e.locked(func() { e.cat.zones[id] = &hostedZone{ID: id, Name: name, Records: map[string]recordSet{}} })
}

const route53Path = "/2013-04-01/"

// recordAction is the API's name of what a request does, by its method and path; empty if
// this endpoint has no such action.
func recordAction(method string, path []string) string {
	switch {
	case len(path) == 3 && path[0] == "hostedzone" && path[2] == "rrset" && method == http.MethodPost:
		return "ChangeResourceRecordSets"
	case len(path) == 3 && path[0] == "hostedzone" && path[2] == "rrset" && method == http.MethodGet:
		return "ListResourceRecordSets"
	case len(path) == 1 && path[0] == "hostedzone" && method == http.MethodGet:
		return "ListHostedZones"
	case len(path) == 2 && path[0] == "change" && method == http.MethodGet:
		return "GetChange"
	default:
		return ""
	}
}

func (e *Endpoint) route53(req request) (answer, error) {
	path := strings.Split(strings.Trim(strings.TrimPrefix(req.http.URL.Path, route53Path), "/"), "/")
	switch recordAction(req.http.Method, path) {
	case "ChangeResourceRecordSets":
		return e.changeRecords(path[1], req.body)
	case "ListResourceRecordSets":
		return e.listRecords(path[1], req)
	case "ListHostedZones":
		return e.listZones()
	case "GetChange":
		return route53Reply("GetChangeResponse", changeInfo(path[1], e.w.Now()))
	default:
		return answer{}, refuse("InvalidAction", "this endpoint has no %s %s", req.http.Method, req.http.URL.Path)
	}
}

type changeInfoXML struct {
	ID        string    `xml:"ChangeInfo>Id"`
	Status    string    `xml:"ChangeInfo>Status"`
	Submitted time.Time `xml:"ChangeInfo>SubmittedAt"`
}

func changeInfo(id string, at time.Time) changeInfoXML {
	return changeInfoXML{"/change/" + id, "PENDING", at}
}

func route53Reply(name string, v any) (answer, error) {
	inner, err := fields(v)
	if err != nil {
		return answer{}, err
	}
	return answer{contentType: "text/xml", body: []byte(xml.Header + "<" + name + ` xmlns="https://route53.amazonaws.com/doc/2013-04-01/">` + string(inner) + "</" + name + ">")}, nil
}

func (e *Endpoint) changeRecords(zone string, body []byte) (answer, error) {
	z := e.cat.zones[zone]
	if z == nil {
		return answer{}, &Fault{Code: "NoSuchHostedZone", Message: "No hosted zone found with ID: " + zone, Status: http.StatusNotFound}
	}
	var in struct {
		Changes []struct {
			Action string    `xml:"Action"`
			Set    recordSet `xml:"ResourceRecordSet"`
		} `xml:"ChangeBatch>Changes>Change"`
	}
	if err := xml.Unmarshal(body, &in); err != nil {
		return answer{}, refuse("InvalidInput", "%v", err)
	}
	for _, c := range in.Changes {
		was, is := z.Records[dotted(c.Set.Name)+" "+c.Set.Type]
		switch {
		case !strings.HasSuffix(dotted(c.Set.Name), z.Name):
			return answer{}, refuse("InvalidChangeBatch", "RRSet with DNS name %s is not permitted in zone %s", c.Set.Name, z.Name)
		case c.Action == "CREATE" && is:
			return answer{}, refuse("InvalidChangeBatch", "Tried to create resource record set [name='%s', type='%s'] but it already exists", c.Set.Name, c.Set.Type)
		case c.Action == "DELETE" && !is:
			return answer{}, refuse("InvalidChangeBatch", "Tried to delete resource record set [name='%s', type='%s'] but it was not found", c.Set.Name, c.Set.Type)
		case c.Action == "DELETE" && (was.TTL != c.Set.TTL || !slices.Equal(was.Records, c.Set.Records)):
			return answer{}, refuse("InvalidChangeBatch", "Tried to delete resource record set [name='%s', type='%s'] but the values provided do not match the current values", c.Set.Name, c.Set.Type)
		case c.Action != "DELETE" && misfit(c.Set) != "":
			return answer{}, refuse("InvalidChangeBatch", "[Invalid Resource Record: 'FATAL problem: %s (Value is not valid) encountered with '%s'']", misfit(c.Set), c.Set.Records[0].Value)
		case c.Action != "CREATE" && c.Action != "DELETE" && c.Action != "UPSERT":
			return answer{}, refuse("InvalidInput", "action %q", c.Action)
		}
	}
	for _, c := range in.Changes {
		c.Set.Name = dotted(c.Set.Name)
		key := c.Set.Name + " " + c.Set.Type
		if c.Action == "DELETE" {
			delete(z.Records, key)
			continue
		}
		z.Records[key] = c.Set
		if len(c.Set.Records) > 0 {
			e.w.SetRecord(worldName(c.Set), c.Set.Records[0].Value, time.Duration(c.Set.TTL)*time.Second)
		}
	}
	return route53Reply("ChangeResourceRecordSetsResponse", changeInfo(fmt.Sprintf("C%05d", e.next()), e.w.Now()))
}

// worldName is a record's name in the world, which has one record of a name: that of IPv6
// is beside it under "NAME AAAA".
func worldName(r recordSet) string {
	name := strings.TrimSuffix(r.Name, ".")
	if r.Type == "AAAA" {
		name += " AAAA"
	}
	return name
}

// misfit is Route 53's word for a value that is no address of the record's family; empty
// if all are.
func misfit(r recordSet) string {
	for _, x := range r.Records {
		ip, err := netip.ParseAddr(x.Value)
		switch {
		case r.Type == "A" && (err != nil || !ip.Is4()):
			return "ARRDATAIllegalIPv4Address"
		case r.Type == "AAAA" && (err != nil || !ip.Is6()):
			return "AAAARRDATAIllegalIPv6Address"
		}
	}
	return ""
}

type zoneSetXML struct {
	ID     string `xml:"Id"`
	Name   string `xml:"Name"`
	Caller string `xml:"CallerReference"`
}

func (e *Endpoint) listZones() (answer, error) {
	var out struct {
		Zones     []zoneSetXML `xml:"HostedZones>HostedZone"`
		Truncated bool         `xml:"IsTruncated"`
		Most      int          `xml:"MaxItems"`
	}
	out.Most = 100
	for _, id := range sorted(e.cat.zones) {
		out.Zones = append(out.Zones, zoneSetXML{"/hostedzone/" + id, e.cat.zones[id].Name, id})
	}
	return route53Reply("ListHostedZonesResponse", out)
}

func dotted(name string) string { return strings.TrimSuffix(name, ".") + "." }

// listRecords lists a zone's records in Route 53's order, from a name and type on.
func (e *Endpoint) listRecords(zone string, req request) (answer, error) {
	q := req.http.URL.Query()
	for k := range q {
		if k != "name" && k != "type" && k != "maxitems" {
			return answer{}, refuse("InvalidInput", "this endpoint does not know the parameter %s", k)
		}
	}
	z := e.cat.zones[zone]
	if z == nil {
		return answer{}, &Fault{Code: "NoSuchHostedZone", Message: "No hosted zone found with ID: " + zone, Status: http.StatusNotFound}
	}
	most := mostRecords
	if n, err := strconv.Atoi(q.Get("maxitems")); err == nil {
		most = min(n, most)
	}
	var out struct {
		Sets      []recordSet `xml:"ResourceRecordSets>ResourceRecordSet"`
		Truncated bool        `xml:"IsTruncated"`
		NextName  string      `xml:"NextRecordName,omitempty"`
		NextType  string      `xml:"NextRecordType,omitempty"`
		Most      int         `xml:"MaxItems"`
	}
	out.Most = most
	all := slices.SortedFunc(maps.Values(z.Records), byName)
	from := recordSet{Name: dotted(q.Get("name")), Type: q.Get("type")}
	for _, r := range all {
		if q.Get("name") != "" && byName(r, from) < 0 {
			continue
		}
		if len(out.Sets) == most {
			out.Truncated, out.NextName, out.NextType = true, r.Name, r.Type
			break
		}
		out.Sets = append(out.Sets, r)
	}
	return route53Reply("ListResourceRecordSetsResponse", out)
}

// mostRecords is how many one call lists.
const mostRecords = 300

// byName orders records by their labels, the last one first, as Route 53 lists them.
func byName(a, b recordSet) int {
	labels := func(name string) []string {
		out := strings.Split(strings.TrimSuffix(name, "."), ".")
		slices.Reverse(out)
		return out
	}
	return cmp.Or(slices.Compare(labels(a.Name), labels(b.Name)), cmp.Compare(a.Type, b.Type))
}
