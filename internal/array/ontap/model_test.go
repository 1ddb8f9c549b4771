package ontap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"relight/internal/array/arraytest"
	"relight/internal/array/iscsi"
)

const (
	svmName   = "svm1"
	svmUUID   = "02c9e252-41be-11e9-81d5-00a0986138f7"
	targetIQN = "iqn.1992-08.com.netapp:sn.1:vs.2"
	room      = 1 << 30
)

// cluster is a strict model of the API: unknown paths, parameters, fields and
// references are errors, lists have short pages, and it keeps to the rules that
// the reference names for each call.
type cluster struct {
	mu          sync.Mutex
	next        int
	luns        []lun
	disks       map[string]*arraytest.Disk
	groups      []igroup
	maps        []lunMap
	credentials []credential
	plane       *arraytest.Plane
	requests    []string
}

func newCluster() *cluster {
	c := &cluster{disks: map[string]*arraytest.Disk{}, credentials: []credential{{Initiator: "default", Type: "deny"}}}
	c.plane = &arraytest.Plane{Admit: c.admit, Sees: c.sees}
	return c
}

type answer struct {
	status int
	body   any
}

func no(status int, code, message string) answer {
	return answer{status, map[string]any{"error": map[string]string{"code": code, "message": message}}}
}

// params are what each list may be asked by.
var params = map[string][]string{
	pathLUNs:        {"svm.name", "name", "fields", "order_by"},
	pathVolumes:     {"svm.name", "name", "fields"},
	pathGroups:      {"svm.name", "name", "initiators.name", "fields"},
	pathMaps:        {"svm.name", "igroup.uuid", "lun.uuid", "fields"},
	pathCredentials: {"svm.name", "initiator", "fields"},
	pathSessions:    {"svm.name", "initiator.name", "fields"},
	pathServices:    {"svm.name", "fields"},
}

// ServeHTTP implements http.Handler.
func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r.Method+" "+r.URL.Path)
	a := c.route(r)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

func (c *cluster) route(r *http.Request) answer {
	if user, password, _ := r.BasicAuth(); user != "relight" || password != "letmein" {
		return no(401, "6691623", "User is not authorized.")
	}
	switch {
	case r.Method == http.MethodGet && params[r.URL.Path] != nil:
		return c.list(r)
	case r.Method == http.MethodPost && len(r.URL.Query()) == 0:
		return c.post(r)
	case r.Method == http.MethodDelete && len(r.URL.Query()) == 0:
		return c.remove(r.URL.Path)
	case r.Method == http.MethodPatch && path.Dir(r.URL.Path) == pathCredentials+"/"+svmUUID:
		return c.patch(r)
	case r.Method == http.MethodPatch && path.Dir(r.URL.Path) == pathGroups && len(r.URL.Query()) == 0:
		return c.comment(r)
	case r.Method == http.MethodPatch && path.Dir(r.URL.Path) == pathLUNs && len(r.URL.Query()) == 0:
		body, err := io.ReadAll(r.Body)
		if r.Body = io.NopCloser(bytes.NewReader(body)); err == nil && bytes.Contains(body, []byte(`"enabled"`)) {
			return c.enable(r)
		}
		return c.clone(r)
	}
	return no(404, "3", "API not found")
}

func (c *cluster) list(r *http.Request) answer {
	q := r.URL.Query()
	for k := range q {
		if k != "page" && !slices.Contains(params[r.URL.Path], k) {
			return no(400, "262197", "unexpected parameter "+k)
		}
	}
	if q.Get("svm.name") != svmName {
		return answer{200, page[any]{}}
	}
	var records []any
	switch r.URL.Path {
	case pathLUNs:
		records = c.listLUNs(q)
	case pathVolumes:
		if q.Get("name") == "vol1" {
			v := volume{named: named{"v-1", "vol1"}}
			v.Space.Available = c.left()
			records = append(records, v)
		}
	case pathGroups:
		records = c.listGroups(q)
	case pathMaps:
		for _, m := range c.maps {
			if q.Has("igroup.uuid") && m.Igroup.UUID == q.Get("igroup.uuid") || q.Has("lun.uuid") && m.LUN.UUID == q.Get("lun.uuid") {
				records = append(records, m)
			}
		}
	case pathCredentials:
		for _, k := range c.credentials {
			if k.Initiator == q.Get("initiator") {
				if k.CHAP != nil {
					k.CHAP = &chap{login{User: k.CHAP.Inbound.User}}
				}
				records = append(records, k)
			}
		}
	case pathSessions:
		for _, s := range c.plane.Sessions() {
			if s.Config.Initiator == q.Get("initiator.name") {
				records = append(records, session{SVM: named{svmUUID, svmName}, Group: "lif1", TSIH: s.ID, ISID: "80:00", Initiator: named{Name: s.Config.Initiator}})
			}
		}
	case pathServices:
		records = append(records, service{SVM: named{svmUUID, svmName}, Target: named{Name: targetIQN}})
	}
	return answer{200, onePage(r.URL, records)}
}

// onePage gives one record at a time.
func onePage(u *url.URL, records []any) any {
	var p page[any]
	at, _ := strconv.Atoi(u.Query().Get("page"))
	if at < len(records) {
		p.Records = records[at : at+1]
	}
	if at+1 < len(records) {
		q := u.Query()
		q.Set("page", strconv.Itoa(at+1))
		p.Links.Next.Href = u.Path + "?" + q.Encode()
	}
	return p
}

func (c *cluster) listGroups(q url.Values) (records []any) {
	for _, g := range c.groups {
		name, pattern := true, q.Get("name")
		if pattern != "" {
			name, _ = path.Match(pattern, g.Name)
		}
		has := q.Get("initiators.name") == "" || slices.ContainsFunc(g.Initiators, func(i named) bool { return i.Name == q.Get("initiators.name") })
		if name && has {
			if q.Get("fields") != "initiators.name,comment" {
				g.Initiators, g.Comment = nil, "" // fields come only if they are asked for
			}
			records = append(records, g)
		}
	}
	return records
}

func (c *cluster) left() int64 {
	left := int64(room)
	for _, l := range c.luns {
		left -= l.Space.Size
	}
	return left
}

func (c *cluster) uuid() string { c.next++; return fmt.Sprintf("u-%d", c.next) }

// read decodes a body and refuses fields that it does not know.
func read(r *http.Request, into any) error {
	if r.Header.Get("Content-Type") != "application/json" {
		return fmt.Errorf("content type %q", r.Header.Get("Content-Type"))
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func ours(s *named) bool { return s != nil && s.Name == svmName }

func (c *cluster) post(r *http.Request) answer {
	created := answer{201, map[string]any{}}
	bad := no(400, "262186", "bad request")
	switch r.URL.Path {
	case pathLUNs:
		body, err := io.ReadAll(r.Body)
		if r.Body = io.NopCloser(bytes.NewReader(body)); err != nil || bytes.Contains(body, []byte(`"clone"`)) {
			return c.clone(r)
		}
		var l lun
		if read(r, &l) != nil || !ours(l.SVM) || l.OSType != "linux" || !strings.HasPrefix(l.Name, "/vol/vol1/") || l.Space.Guarantee == nil || !l.Space.Guarantee.Requested {
			return bad
		}
		if l.Space.Size > c.left() || slices.ContainsFunc(c.luns, func(o lun) bool { return o.Name == l.Name }) {
			return no(500, "5374000", "failed")
		}
		l.UUID, l.Enabled, l.Status.State = c.uuid(), true, "online"
		c.luns, c.disks[l.UUID] = append(c.luns, l), arraytest.NewDisk(l.Space.Size)
	case pathGroups:
		var g igroup
		if read(r, &g) != nil || !ours(g.SVM) || g.OSType != "linux" || g.Protocol != "iscsi" || len(g.Name) > 96 || g.Name == "" {
			return bad
		}
		if slices.ContainsFunc(c.groups, func(o igroup) bool { return o.Name == g.Name }) {
			return no(409, "5374028", "exists")
		}
		g.UUID = c.uuid()
		c.groups = append(c.groups, g)
	case pathMaps:
		var m lunMap
		if read(r, &m) != nil || !ours(m.SVM) || c.disks[m.LUN.UUID] == nil || !slices.ContainsFunc(c.groups, func(o igroup) bool { return o.UUID == m.Igroup.UUID }) {
			return bad
		}
		if slices.ContainsFunc(c.maps, func(o lunMap) bool {
			return o.Igroup.UUID == m.Igroup.UUID && (o.Number == m.Number || o.LUN.UUID == m.LUN.UUID)
		}) {
			return no(409, "5374000", "mapped")
		}
		for _, o := range c.groups {
			if o.UUID == m.Igroup.UUID {
				m.Igroup.Name = o.Name
			}
		}
		c.maps = append(c.maps, m)
	case pathCredentials:
		var k credential
		if read(r, &k) != nil || !ours(k.SVM) || k.Type != "chap" || k.CHAP == nil || k.CHAP.Inbound.User == "" || k.CHAP.Inbound.Password == "" || !strings.HasPrefix(k.Initiator, "iqn.") {
			return bad
		}
		if slices.ContainsFunc(c.credentials, func(o credential) bool { return o.Initiator == k.Initiator }) {
			return no(409, "5374144", "exists")
		}
		c.credentials = append(c.credentials, k)
	case pathShutdown:
		var s shutdown
		if read(r, &s) != nil || s.Vserver != svmName || s.Group != "lif1" {
			return bad
		}
		c.plane.Kill(func(l arraytest.Listed) bool { return l.ID == s.TSIH })
		return answer{200, map[string]any{}}
	default:
		return no(404, "3", "API not found")
	}
	return created
}

func (c *cluster) patch(r *http.Request) answer {
	var k credential
	name := path.Base(r.URL.Path)
	at := slices.IndexFunc(c.credentials, func(o credential) bool { return o.Initiator == name })
	if at < 0 || read(r, &k) != nil || k.Type != "chap" || k.CHAP == nil {
		return no(400, "262186", "bad request")
	}
	c.credentials[at].CHAP = k.CHAP
	return answer{200, map[string]any{}}
}

func (c *cluster) remove(p string) answer {
	ok := answer{200, map[string]any{}}
	part := strings.Split(strings.TrimPrefix(p, "/api/protocols/san/"), "/")
	switch {
	case path.Dir(p) == pathLUNs:
		return c.removeLUN(path.Base(p))
	case part[0] == "lun-maps" && len(part) == 3:
		n := len(c.maps)
		c.maps = slices.DeleteFunc(c.maps, func(m lunMap) bool { return m.LUN.UUID == part[1] && m.Igroup.UUID == part[2] })
		if n == len(c.maps) {
			return no(404, codeNoMap, "no map")
		}
		return ok
	case part[0] == "iscsi" && part[1] == "credentials" && len(part) == 4 && part[2] == svmUUID:
		if part[3] == "default" {
			return no(400, "5374148", "the default cannot be deleted")
		}
		n := len(c.credentials)
		c.credentials = slices.DeleteFunc(c.credentials, func(k credential) bool { return k.Initiator == part[3] })
		if n == len(c.credentials) {
			return no(404, codeNoCredential, "no credential")
		}
		return ok
	case part[0] == "igroups" && len(part) >= 2:
		at := slices.IndexFunc(c.groups, func(g igroup) bool { return g.UUID == part[1] })
		switch {
		case at < 0:
			return no(404, codeNoGroup, "no group")
		case slices.ContainsFunc(c.maps, func(m lunMap) bool { return m.Igroup.UUID == part[1] }):
			return no(409, codeMapped, "mapped")
		case len(part) == 2:
			c.groups = slices.Delete(c.groups, at, at+1)
			return ok
		case len(part) == 4 && part[2] == "initiators":
			g := &c.groups[at]
			n := len(g.Initiators)
			g.Initiators = slices.DeleteFunc(slices.Clone(g.Initiators), func(i named) bool { return i.Name == part[3] })
			if n == len(g.Initiators) {
				return no(404, codeNotMember, "not a member")
			}
			return ok
		}
	}
	return no(404, "3", "API not found")
}

// admit is the array's login: by the initiator's own credential, else the default.
func (c *cluster) admit(cfg iscsi.Config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cfg.Target != targetIQN {
		return &iscsi.LoginError{Class: 2, Detail: 3}
	}
	at := slices.IndexFunc(c.credentials, func(k credential) bool { return k.Initiator == cfg.Initiator })
	if at < 0 {
		at = 0
	}
	switch k := c.credentials[at]; {
	case k.Type == "deny":
		return &iscsi.LoginError{Class: 2, Detail: 2}
	case k.Type == "chap" && (k.CHAP.Inbound != login{cfg.User, cfg.Secret}):
		return &iscsi.LoginError{Class: 2, Detail: 1}
	}
	return nil
}

// sees is the array's map, which it looks up with each command.
func (c *cluster) sees(cfg iscsi.Config, unit int) *arraytest.Disk {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.maps {
		for _, g := range c.groups {
			if m.Igroup.UUID == g.UUID && m.Number == unit && slices.ContainsFunc(g.Initiators, func(i named) bool { return i.Name == cfg.Initiator }) {
				if c.off(m.LUN.UUID) {
					return nil
				}
				return c.disks[m.LUN.UUID]
			}
		}
	}
	return nil
}
