package ontap

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"relight/internal/array/arraytest"
)

func (c *cluster) listLUNs(q url.Values) (records []any) {
	luns := slices.Clone(c.luns)
	if q.Get("order_by") == "name" {
		slices.SortFunc(luns, func(a, b lun) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, l := range luns {
		if fits, _ := path.Match(q.Get("name"), l.Name); fits {
			if !strings.Contains(q.Get("fields"), "create_time") {
				l.Created = time.Time{}
			}
			if !strings.Contains(q.Get("fields"), "status.state") {
				l.Enabled, l.Status.State, l.Comment = false, "", ""
			}
			records = append(records, l)
		}
	}
	return records
}

// enable takes a LUN on or off line.
func (c *cluster) enable(r *http.Request) answer {
	var k change
	at := slices.IndexFunc(c.luns, func(l lun) bool { return l.UUID == path.Base(r.URL.Path) })
	if at < 0 || read(r, &k) != nil || len(k.Comment) > 254 {
		return no(400, "262186", "bad request")
	}
	l := &c.luns[at]
	l.Enabled, l.Comment, l.Status.State = k.Enabled, k.Comment, map[bool]string{true: "online", false: "offline"}[k.Enabled]
	return answer{200, map[string]any{}}
}

// comment changes that of a group.
func (c *cluster) comment(r *http.Request) answer {
	var k igroup
	at := slices.IndexFunc(c.groups, func(g igroup) bool { return g.UUID == path.Base(r.URL.Path) })
	if at < 0 || read(r, &k) != nil || k.Name != "" || len(k.Initiators) > 0 || len(k.Comment) > 254 {
		return no(400, "262186", "bad request")
	}
	c.groups[at].Comment = k.Comment
	return answer{200, map[string]any{}}
}

func (c *cluster) off(uuid string) bool {
	return slices.ContainsFunc(c.luns, func(l lun) bool { return l.UUID == uuid && !l.Enabled })
}

// clone makes a LUN of another, or overwrites one with it.
func (c *cluster) clone(r *http.Request) answer {
	var k cloned
	if read(r, &k) != nil || k.Clone.Source.Name == "" {
		return no(400, "262186", "bad request")
	}
	source := slices.IndexFunc(c.luns, func(l lun) bool { return l.Name == k.Clone.Source.Name })
	if source < 0 {
		return no(404, "5374875", "no such LUN")
	}
	from := c.luns[source]
	if r.Method == http.MethodPatch {
		to := c.disks[path.Base(r.URL.Path)]
		if to == nil || k.Name != "" || k.SVM != nil {
			return no(400, "262186", "bad request")
		}
		to.Overwrite(c.disks[from.UUID])
		return answer{200, map[string]any{}}
	}
	if !ours(k.SVM) || !strings.HasPrefix(k.Name, "/vol/vol1/") {
		return no(400, "262186", "bad request")
	}
	if slices.ContainsFunc(c.luns, func(o lun) bool { return o.Name == k.Name }) {
		return no(500, "5374000", "failed")
	}
	from.Name, from.UUID, from.Created = k.Name, c.uuid(), time.Unix(int64(1e9+c.next), 0)
	c.luns, c.disks[from.UUID] = append(c.luns, from), arraytest.NewDisk(from.Space.Size)
	c.disks[from.UUID].Overwrite(c.disks[c.luns[source].UUID])
	return answer{201, map[string]any{}}
}

// removeLUN refuses one that has a map, as the array does unless it is forced.
func (c *cluster) removeLUN(uuid string) answer {
	if slices.ContainsFunc(c.maps, func(m lunMap) bool { return m.LUN.UUID == uuid }) {
		return no(409, "5374874", "LUN is mapped")
	}
	n := len(c.luns)
	c.luns = slices.DeleteFunc(c.luns, func(l lun) bool { return l.UUID == uuid })
	if n == len(c.luns) {
		return no(404, codeNotFound, "entry doesn't exist")
	}
	delete(c.disks, uuid)
	return answer{200, map[string]any{}}
}
