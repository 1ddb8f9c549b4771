package fakeaws

import (
	"encoding/xml"
	"fmt"
	"net/http"
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

func (e *Endpoint) route53(req request) (answer, error) {
	path := strings.Trim(strings.TrimPrefix(req.http.URL.Path, route53Path), "/")
	parts := strings.Split(path, "/")
	switch {
	case req.http.Method == http.MethodPost && len(parts) == 3 && parts[0] == "hostedzone" && parts[2] == "rrset":
		return e.changeRecords(parts[1], req.body)
	case req.http.Method == http.MethodGet && len(parts) == 3 && parts[0] == "hostedzone" && parts[2] == "rrset":
		return e.listRecords(parts[1], req)
	case req.http.Method == http.MethodGet && len(parts) == 2 && parts[0] == "change":
		return route53Reply("GetChangeResponse", changeInfo(parts[1], e.w.Now()))
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
		key := c.Set.Name + " " + c.Set.Type
		_, is := z.Records[key]
		switch {
		case !strings.HasSuffix(dotted(c.Set.Name), z.Name):
			return answer{}, refuse("InvalidChangeBatch", "RRSet with DNS name %s is not permitted in zone %s", c.Set.Name, z.Name)
		case c.Action == "CREATE" && is:
			return answer{}, refuse("InvalidChangeBatch", "Tried to create resource record set [name='%s', type='%s'] but it already exists", c.Set.Name, c.Set.Type)
		case c.Action == "DELETE" && !is:
			return answer{}, refuse("InvalidChangeBatch", "Tried to delete resource record set [name='%s', type='%s'] but it was not found", c.Set.Name, c.Set.Type)
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
			e.w.SetRecord(strings.TrimSuffix(c.Set.Name, "."), c.Set.Records[0].Value, time.Duration(c.Set.TTL)*time.Second)
		}
	}
	return route53Reply("ChangeResourceRecordSetsResponse", changeInfo(fmt.Sprintf("C%05d", e.next()), e.w.Now()))
}

func dotted(name string) string { return strings.TrimSuffix(name, ".") + "." }

func (e *Endpoint) listRecords(zone string, req request) (answer, error) {
	z := e.cat.zones[zone]
	if z == nil {
		return answer{}, &Fault{Code: "NoSuchHostedZone", Message: "No hosted zone found with ID: " + zone, Status: http.StatusNotFound}
	}
	from := req.http.URL.Query().Get("name")
	var out struct {
		Sets      []recordSet `xml:"ResourceRecordSets>ResourceRecordSet"`
		Truncated bool        `xml:"IsTruncated"`
		Most      int         `xml:"MaxItems"`
	}
	out.Most = 300
	for _, k := range sorted(z.Records) {
		if from == "" || z.Records[k].Name >= dotted(from) {
			out.Sets = append(out.Sets, z.Records[k])
		}
	}
	return route53Reply("ListResourceRecordSetsResponse", out)
}
