package fakeaws

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// outpostAction is the API's name of what a request reads, with the Outpost's id; the
// path's name of it may be an ARN.
func outpostAction(r *http.Request) (action, id string) {
	path, is := strings.CutPrefix(r.URL.Path, "/outposts/")
	if !is || r.Method != http.MethodGet {
		return "", ""
	}
	cut := strings.LastIndexByte(path, '/')
	action = map[string]string{"assets": "ListAssets", "assetInstances": "ListAssetInstances"}[path[cut+1:]]
	id = path[:max(cut, 0)]
	return action, id[strings.LastIndexByte(id, '/')+1:]
}

// outpostPage is how much is told at once.
const outpostPage = 2

// outposts tells of the machines of an Outpost and what runs on them. Which slots a machine
// has is the world's room: those of the types that run there, and one of each type for what
// is still free.
func (e *Endpoint) outposts(req request) (answer, error) {
	action, id := outpostAction(req.http)
	if action == "" {
		return answer{}, refuse("ValidationException", "this endpoint has no %s %s", req.http.Method, req.http.URL.Path)
	}
	site := ""
	for _, s := range e.cat.subnets { // order: all of one Outpost have one site
		if s.OutpostARN != "" && strings.HasSuffix(s.OutpostARN, "/"+id) {
			site = s.Site
		}
	}
	if site == "" {
		return answer{}, &Fault{Code: "NotFoundException", Message: "No outpost found with ID " + id, Status: http.StatusNotFound}
	}
	assets, instances := e.assets(site)
	query, key := req.http.URL.Query(), "Assets"
	for k := range query {
		if k != "NextToken" {
			return answer{}, refuse("ValidationException", "this endpoint does not know the parameter %s", k)
		}
	}
	all := assets
	if action == "ListAssetInstances" {
		all, key = instances, "AssetInstances"
	}
	from, _ := strconv.Atoi(query.Get("NextToken")) // none is the beginning
	out := map[string]any{}
	all = all[min(max(from, 0), len(all)):]
	if len(all) > outpostPage {
		all = all[:outpostPage]
		out["NextToken"] = strconv.Itoa(from + outpostPage)
	}
	out[key] = all
	return jsonReply(out)
}

// assets are the machines below a site, and the instances on them.
func (e *Endpoint) assets(site string) (assets, instances []map[string]any) {
	assets, instances = []map[string]any{}, []map[string]any{}
	for _, host := range e.w.HostsOf(site) {
		count := map[string]int{}
		for _, i := range e.w.OnHost(host) {
			if m := e.cat.machines[i.ID]; m != nil && !gone(i) && i.State != "stopped" {
				count[m.Type]++
				instances = append(instances, map[string]any{"InstanceId": i.ID, "InstanceType": m.Type, "AssetId": host, "AccountId": e.opt.Account, "AwsServiceName": "EC2"})
			}
		}
		for _, kind := range sorted(e.cat.types) {
			free := e.w.Host(host).Units - e.w.UsedUnits(host)
			if pool, is := e.w.Capacity(site, kind); is {
				free = min(free, pool)
			}
			count[kind] += max(free, 0)
		}
		slots := []map[string]any{}
		for _, kind := range sorted(count) {
			slots = append(slots, map[string]any{"InstanceType": kind, "Count": count[kind]})
		}
		state := "ACTIVE"
		if !e.w.Host(host).Runs() {
			state = "ISOLATED"
		}
		assets = append(assets, map[string]any{"AssetId": host, "AssetType": "COMPUTE", "ComputeAttributes": map[string]any{"State": state, "InstanceTypeCapacities": slots}})
	}
	return assets, slices.Clip(instances)
}
